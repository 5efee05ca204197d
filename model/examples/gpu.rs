//! `make gpu`: the checks that need a GPU. Compares logits with those of the CPU,
//! checks memory use over many passes, and measures speed, also of PyTorch if it is
//! installed. Prints Markdown tables and exits with status 1 if a check fails.
//! `--quick` runs a small part of each.

use std::collections::HashMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use resnet_model::cuda::{CudaPlan, Placement};
use resnet_model::graph::Graph;
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{
    Backend, Dtype, Input, Outputs, SupportedIsa, ThreadPool, Tuning, build, family,
};
use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

type AnyError = Box<dyn std::error::Error>;

/// Architectures that together use every kind of step.
const ARCHITECTURES: [&str; 10] = [
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "resnet50d",
    "seresnet50",
    "ecaresnet50d",
    "resnetv2_50",
    "highway18",
    "resnetv2_50x1_bit",
    "cifar_resnet20",
];

/// The dtypes, and the tolerance of the difference to the CPU's f32 logits,
/// relative to the largest logit. The tolerance is four times as large for networks
/// with group norms, which divide by small standard deviations.
const DTYPES: [(Dtype, f32); 3] = [(Dtype::F32, 1e-4), (Dtype::F16, 1e-2), (Dtype::Bf16, 8e-2)];

/// A network with random weights.
struct Network {
    graph: Graph,
    checkpoint: Checkpoint,
}

impl Network {
    fn new(name: &str) -> Result<Self, AnyError> {
        let row = family::find(name).ok_or("there is no such architecture")?;
        let graph = build::build(row, row.input, row.classes);
        let parameters = graph.parameters();
        Ok(Self {
            checkpoint: Checkpoint::synthetic(row.name, Metadata::default(), parameters)?,
            graph,
        })
    }

    fn on_gpu(&self, placement: &Placement) -> Result<CudaPlan, AnyError> {
        let preprocessing = Preprocessing::imagenet();
        Ok(CudaPlan::new(
            &self.graph,
            &self.checkpoint,
            &preprocessing,
            placement,
        )?)
    }

    fn side(&self) -> usize {
        self.graph.shape(0).height
    }
}

fn placement(dtype: Dtype, largest_batch: usize, streams: usize) -> Placement {
    Placement {
        gpus: vec![0],
        streams,
        largest_batch,
        dtype,
        tuning: Tuning::Measure(None),
    }
}

fn main() -> Result<ExitCode, AnyError> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if let Some(reason) = CudaPlan::missing() {
        println!("no GPU can be used: {reason}");
        return Ok(ExitCode::FAILURE);
    }
    let mut passed = logits(quick)?;
    passed &= soak(quick)?;
    speed(quick)?;
    println!(
        "\n{}",
        if passed {
            "all checks passed"
        } else {
            "A CHECK FAILED, see above"
        }
    );
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares logits with those of the CPU plan in f32.
fn logits(quick: bool) -> Result<bool, AnyError> {
    println!("\nlogits: largest difference from the CPU in f32, relative to the largest logit\n");
    println!("| network | f32 | f16 | bf16 |\n|---|---|---|---|");
    let threads = ThreadPool::new(std::thread::available_parallelism()?.get())?;
    let mut passed = true;
    let names = if quick {
        &ARCHITECTURES[9..]
    } else {
        &ARCHITECTURES[..]
    };
    for name in names {
        let network = Network::new(name)?;
        let factor = if name.ends_with("_bit") { 4.0 } else { 1.0 };
        let inputs = Inputs::new(network.side());
        let preprocessing = Preprocessing::imagenet();
        let plan = CpuPlan::new(
            &network.graph,
            &network.checkpoint,
            &preprocessing,
            CpuConfig::f32(SupportedIsa::best()),
            &threads,
        )?;
        let expected = inputs.logits(&plan)?;
        let mut line = format!("| {name} |");
        for (dtype, tolerance) in DTYPES {
            line += &match network.on_gpu(&placement(dtype, 4, 1)) {
                Ok(plan) => {
                    let logits = inputs.logits(&plan)?;
                    let pairs = logits.iter().zip(&expected);
                    let error = pairs.fold(0f32, |m, (a, b)| m.max(difference(a, b)));
                    let within = error <= factor * tolerance;
                    passed &= within;
                    format!(" {error:.1e}{} |", if within { "" } else { " TOO LARGE" })
                }
                // no bf16 below compute capability 8.0
                Err(reason) if dtype == Dtype::Bf16 => format!(" {reason} |"),
                Err(reason) => return Err(reason),
            };
        }
        println!("{line}");
    }
    Ok(passed)
}

/// Inputs: planes, and pixels in batches that do and do not fill a bucket.
struct Inputs {
    planes: Vec<f32>,
    pixels: Vec<Vec<u8>>,
}

impl Inputs {
    fn new(side: usize) -> Self {
        let planes = synthetic::tensor("images", &[3, 3 * side * side]);
        Self {
            planes: planes.iter().map(|v| v * 10.0).collect(),
            pixels: pixels(side, 4),
        }
    }

    /// The logits of every input.
    fn logits(&self, backend: &dyn Backend) -> resnet_model::Result<Vec<Vec<f32>>> {
        let images: Vec<&[u8]> = self.pixels.iter().map(Vec::as_slice).collect();
        let pixels = [1, 3, 4].map(|n| Input::Pixels(&images[..n]));
        let inputs = std::iter::once(Input::Planes(&self.planes)).chain(pixels);
        let forward = |input| Ok(backend.forward(input, Outputs::LOGITS)?.logits);
        inputs.map(forward).collect()
    }
}

fn difference(got: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = got.iter().zip(expected);
    pairs.fold(0f32, |m, (a, b)| {
        let d = (a - b).abs() / largest;
        if d.is_nan() { f32::INFINITY } else { m.max(d) }
    })
}

fn pixels(side: usize, n: usize) -> Vec<Vec<u8>> {
    let image = |n| (0..side * side * 3).map(move |i| ((i * 7 + n * 31) % 256) as u8);
    (0..n).map(|n| image(n).collect()).collect()
}

/// Runs many passes on two streams at once. The logits must be the same every time,
/// and memory use must not grow.
fn soak(quick: bool) -> Result<bool, AnyError> {
    let network = Network::new(if quick { "cifar_resnet20" } else { "resnet50" })?;
    let plan = network.on_gpu(&placement(Dtype::F16, 16, 2))?;
    let pixels = pixels(network.side(), 16);
    let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
    let expected = plan.forward(Input::Pixels(&images), Outputs::LOGITS)?;
    let alone = plan.forward(Input::Pixels(&images[..1]), Outputs::LOGITS)?;
    let before = plan.memory_in_use();
    let passes = if quick { 10 } else { 5000 };
    let identical = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (plan, images, expected, alone) = (&plan, &images, &expected, &alone);
                scope.spawn(move || {
                    (0..passes).all(|pass| {
                        let one = (pass + thread) % 5 == 0;
                        let n = if one { 1 } else { images.len() };
                        let logits = plan.forward(Input::Pixels(&images[..n]), Outputs::LOGITS);
                        logits.is_ok_and(|l| l == *if one { alone } else { expected })
                    })
                })
            })
            .collect();
        threads.into_iter().all(|t| t.join().unwrap_or(false))
    });
    let grown = plan.memory_in_use().saturating_sub(before);
    let passed = identical && grown == 0 && plan.failure().is_none();
    println!(
        "\nsoak: {} passes from 3 threads on 2 streams: {}; memory grew by {grown} bytes",
        3 * passes,
        if identical {
            "identical logits every time"
        } else {
            "LOGITS DIFFER"
        }
    );
    Ok(passed)
}

/// PyTorch's images per second by batch size; empty if it is not installed.
fn pytorch(network: &str, batches: &[usize]) -> HashMap<usize, f64> {
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../toolkit/torch_speed.py"
        ))
        .arg(network)
        .args(batches.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    let lines = String::from_utf8_lossy(&text).into_owned();
    let row = |line: &str| {
        let (batch, rate) = line.split_once(' ')?;
        Some((batch.parse().ok()?, rate.parse().ok()?))
    };
    lines.lines().filter_map(row).collect()
}

/// Measures the speed for each batch size, on one stream and on two.
fn speed(quick: bool) -> Result<(), AnyError> {
    let names = if quick {
        vec!["cifar_resnet20"]
    } else {
        vec!["resnet18", "resnet50", "resnet152"]
    };
    let largest = if quick { 2 } else { 128 };
    let time = Duration::from_millis(if quick { 1 } else { 2000 });
    println!(
        "\nupload hidden: upper bound of the part of a batch's upload that overlaps with the \
         computation of another batch. It is the time per batch saved by the second stream, \
         relative to the upload"
    );
    for name in names {
        let network = Network::new(name)?;
        println!("\n{name} in f16, pixels to logits\n");
        println!(
            "| batch | streams | images/s | median ms | p99 ms | upload, % of compute | upload hidden, at most | of peak | PyTorch images/s | ratio to PyTorch |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let batches: Vec<usize> = std::iter::successors(Some(1), |n| Some(n * 2))
            .take_while(|&n| n <= largest)
            .collect();
        let torch = pytorch(name, &batches);
        let mut alone = HashMap::new();
        for streams in [1, 2] {
            let plan = network.on_gpu(&placement(Dtype::F16, largest, streams))?;
            for &batch in &batches {
                let speed = measure(&plan, network.side(), batch, streams, time)?;
                let alone = *alone.entry(batch).or_insert(speed);
                let hidden = (streams > 1).then(|| speed.hidden(&alone));
                let torch = torch.get(&batch).copied();
                println!(
                    "| {batch} | {streams} | {} |",
                    speed.line(&plan, hidden, torch)
                );
            }
            if streams == 1 {
                for gpu in plan.gpus() {
                    println!("<!-- {gpu:?}, {} -->", CudaPlan::versions());
                }
            }
        }
    }
    Ok(())
}

/// Measurements of one batch size; times are seconds per batch.
#[derive(Clone, Copy)]
struct Speed {
    /// Images per second.
    rate: f64,
    /// Latency of `forward`: median and 99th percentile.
    median: f64,
    p99: f64,
    /// Wall time divided by the number of batches.
    interval: f64,
    upload: f64,
    compute: f64,
}

impl Speed {
    /// The part of the upload that several streams hide; `alone` is the measurement
    /// on one stream.
    fn hidden(&self, alone: &Self) -> f64 {
        let saved = alone.upload + alone.compute - self.interval;
        (saved / alone.upload.max(1e-9)).clamp(0.0, 1.0)
    }

    /// The columns of a table row; `torch` is PyTorch's rate.
    fn line(&self, plan: &CudaPlan, hidden: Option<f64>, torch: Option<f64>) -> String {
        let hidden = hidden.map_or("-".into(), |part| format!("{:.0} %", 100.0 * part));
        let torch = torch.map_or("- | -".into(), |torch| {
            format!("{torch:.0} | {:.2}", self.rate / torch)
        });
        let multiply_adds = self.rate * plan.graph().multiply_adds() as f64;
        let of_peak = plan.peak().map_or("-".into(), |peak| {
            format!("{:.1} %", 100.0 * multiply_adds / peak)
        });
        format!(
            "{:.0} | {:.3} | {:.3} | {:.0} | {hidden} | {of_peak} | {torch}",
            self.rate,
            1e3 * self.median,
            1e3 * self.p99,
            100.0 * self.upload / self.compute.max(1e-9),
        )
    }
}

/// Measures batches from `callers` concurrent threads.
fn measure(
    plan: &CudaPlan,
    side: usize,
    batch: usize,
    callers: usize,
    time: Duration,
) -> Result<Speed, AnyError> {
    let pixels = pixels(side, batch);
    let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
    for _ in 0..5 {
        plan.forward(Input::Pixels(&images), Outputs::LOGITS)?;
    }
    let _ = plan.take_usage();
    let start = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while times.is_empty() || start.elapsed() < time {
                        let began = Instant::now();
                        plan.forward(Input::Pixels(&images), Outputs::LOGITS)?;
                        times.push(began.elapsed());
                    }
                    Ok::<_, resnet_model::Error>(times)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|t| t.join());
        joined
            .map(|times| {
                times
                    .map_err(|_| "a thread panicked")?
                    .map_err(AnyError::from)
            })
            .collect::<Result<Vec<_>, AnyError>>()
    })?
    .concat();
    let (elapsed, usage) = (
        start.elapsed().as_secs_f64(),
        plan.take_usage().unwrap_or_default(),
    );
    let batches = times.len() as f64;
    times.sort_unstable();
    Ok(Speed {
        rate: batches * batch as f64 / elapsed,
        median: times[times.len() / 2].as_secs_f64(),
        p99: times[times.len() * 99 / 100].as_secs_f64(),
        interval: elapsed / batches,
        upload: usage.upload.as_secs_f64() / batches,
        compute: usage.compute.as_secs_f64() / batches,
    })
}
