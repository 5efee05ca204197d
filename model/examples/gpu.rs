//! `make gpu`: what only a machine with a card can show. The logits against
//! the processor's, memory over many passes, and how fast it is, beside PyTorch
//! if that is installed; a table to paste, and a status of 1 when something is
//! wrong. `--quick` does a little of each.

use std::collections::HashMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use model::cuda::{CudaPlan, Number, Placement};
use model::graph::Graph;
use model::plan::{Input, Numbers, Plan};
use model::{Cores, Level, Tuning, build, family};
use weights::{Checkpoint, Facts, Recipe, synthetic};

type Failure = Box<dyn std::error::Error>;

/// Rows that between them use every kind of step.
const ROWS: [&str; 10] = [
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

/// Number types, and how far from the processor's f32 the logits may be, as a
/// part of the largest; four times as far after group norms, which divide by
/// what little the maps vary.
const NUMBERS: [(Number, f32); 3] = [
    (Number::F32, 1e-4),
    (Number::F16, 1e-2),
    (Number::Bf16, 8e-2),
];

/// A network with made-up weights.
struct Network {
    graph: Graph,
    checkpoint: Checkpoint,
}

impl Network {
    fn new(name: &str) -> Result<Self, Failure> {
        let row = family::find(name).ok_or("no such row")?;
        let graph = build::build(row, row.input, row.classes);
        let parameters = graph.parameters();
        Ok(Self {
            checkpoint: Checkpoint::synthetic(row.name, Facts::default(), parameters)?,
            graph,
        })
    }

    fn on_card(&self, placement: &Placement) -> Result<CudaPlan, Failure> {
        let recipe = Recipe::imagenet();
        Ok(CudaPlan::new(
            &self.graph,
            &self.checkpoint,
            &recipe,
            placement,
        )?)
    }

    fn side(&self) -> usize {
        self.graph.shape(0).height
    }
}

fn placement(number: Number, largest: usize, lanes: usize) -> Placement {
    Placement {
        cards: vec![0],
        lanes,
        largest,
        number,
        tuning: Tuning::Measure(None),
    }
}

fn main() -> Result<ExitCode, Failure> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if let Some(reason) = CudaPlan::missing() {
        println!("no card can be used: {reason}");
        return Ok(ExitCode::FAILURE);
    }
    let mut sound = logits(quick)?;
    sound &= soak(quick)?;
    speed(quick)?;
    println!(
        "\n{}",
        if sound {
            "all well"
        } else {
            "SOMETHING IS WRONG, see above"
        }
    );
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Logits against the processor's plan in f32.
fn logits(quick: bool) -> Result<bool, Failure> {
    println!("\nlogits: largest difference over the largest logit, from the processor's in f32\n");
    println!("| network | f32 | f16 | bf16 |\n|---|---|---|---|");
    let cores = Cores::new(std::thread::available_parallelism()?.get())?;
    let mut sound = true;
    let rows = if quick { &ROWS[9..] } else { &ROWS[..] };
    for name in rows {
        let network = Network::new(name)?;
        let slack = if name.ends_with("_bit") { 4.0 } else { 1.0 };
        let inputs = Inputs::new(network.side());
        let recipe = Recipe::imagenet();
        let plan = Plan::new(
            &network.graph,
            &network.checkpoint,
            &recipe,
            Numbers::f32(Level::best()),
            &cores,
        )?;
        let expected = inputs.logits(|input| plan.forward(input))?;
        let mut line = format!("| {name} |");
        for (number, tolerance) in NUMBERS {
            line += &match network.on_card(&placement(number, 4, 1)) {
                Ok(plan) => {
                    let logits = inputs.logits(|input| plan.forward(input))?;
                    let pairs = logits.iter().zip(&expected);
                    let error = pairs.fold(0f32, |m, (a, b)| m.max(difference(a, b)));
                    let well = error <= slack * tolerance;
                    sound &= well;
                    format!(" {error:.1e}{} |", if well { "" } else { " WRONG" })
                }
                // bf16 before compute capability 8.0
                Err(reason) if number == Number::Bf16 => format!(" {reason} |"),
                Err(reason) => return Err(reason),
            };
        }
        println!("{line}");
    }
    Ok(sound)
}

/// What the networks are asked: planes, and pixels in batches that fill a bucket
/// of the card's and that do not.
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

    /// The logits of each.
    fn logits(
        &self,
        forward: impl Fn(Input) -> model::Result<Vec<f32>>,
    ) -> model::Result<Vec<Vec<f32>>> {
        let images: Vec<&[u8]> = self.pixels.iter().map(Vec::as_slice).collect();
        let pixels = [1, 3, 4].map(|n| Input::Pixels(&images[..n]));
        let inputs = std::iter::once(Input::Planes(&self.planes)).chain(pixels);
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

/// Many passes on two lanes at once: the same logits every time, and no more
/// memory at the end than at the start.
fn soak(quick: bool) -> Result<bool, Failure> {
    let network = Network::new(if quick { "cifar_resnet20" } else { "resnet50" })?;
    let plan = network.on_card(&placement(Number::F16, 16, 2))?;
    let pixels = pixels(network.side(), 16);
    let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
    let expected = plan.forward(Input::Pixels(&images))?;
    let alone = plan.forward(Input::Pixels(&images[..1]))?;
    let before = plan.memory_in_use();
    let passes = if quick { 10 } else { 5000 };
    let same = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (plan, images, expected, alone) = (&plan, &images, &expected, &alone);
                scope.spawn(move || {
                    (0..passes).all(|pass| {
                        let one = (pass + thread) % 5 == 0;
                        let n = if one { 1 } else { images.len() };
                        let logits = plan.forward(Input::Pixels(&images[..n]));
                        logits.is_ok_and(|l| l == *if one { alone } else { expected })
                    })
                })
            })
            .collect();
        threads.into_iter().all(|t| t.join().unwrap_or(false))
    });
    let grown = plan.memory_in_use().saturating_sub(before);
    let sound = same && grown == 0 && plan.fault().is_none();
    println!(
        "\nsoak: {} passes from 3 threads on 2 lanes: {}; memory grew by {grown} bytes",
        3 * passes,
        if same {
            "the same logits every time"
        } else {
            "LOGITS DIFFER"
        }
    );
    Ok(sound)
}

/// Images a second of PyTorch by batch; nothing where it is not installed.
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

/// Speed by batch, on one lane and on two.
fn speed(quick: bool) -> Result<(), Failure> {
    let names = if quick {
        vec!["cifar_resnet20"]
    } else {
        vec!["resnet18", "resnet50", "resnet152"]
    };
    let largest = if quick { 2 } else { 128 };
    let time = Duration::from_millis(if quick { 1 } else { 2000 });
    println!(
        "\nupload hidden: at most what part of a batch's upload runs while another batch computes: \
         all that a batch on two lanes is faster than its upload and computing on one"
    );
    for name in names {
        let network = Network::new(name)?;
        println!("\n{name} in f16, pixels to logits\n");
        println!(
            "| batch | lanes | images/s | ms a batch | 99th ms | upload, % of computing | upload hidden, at most | of the card's peak | PyTorch's images/s | ours / PyTorch |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let batches: Vec<usize> = std::iter::successors(Some(1), |n| Some(n * 2))
            .take_while(|&n| n <= largest)
            .collect();
        let torch = pytorch(name, &batches);
        let mut alone = HashMap::new();
        for lanes in [1, 2] {
            let plan = network.on_card(&placement(Number::F16, largest, lanes))?;
            for &batch in &batches {
                let speed = measure(&plan, network.side(), batch, lanes, time)?;
                let alone = *alone.entry(batch).or_insert(speed);
                let hidden = (lanes > 1).then(|| speed.hidden(&alone));
                let torch = torch.get(&batch).copied();
                println!(
                    "| {batch} | {lanes} | {} |",
                    speed.line(&plan, hidden, torch)
                );
            }
            if lanes == 1 {
                for card in plan.cards() {
                    println!("<!-- {card:?}, {} -->", CudaPlan::versions());
                }
            }
        }
    }
    Ok(())
}

/// What was measured of one size of batch; seconds of a batch.
#[derive(Clone, Copy)]
struct Speed {
    /// Images a second.
    rate: f64,
    /// From call to answer: half are below, and 99 of a hundred.
    median: f64,
    slow: f64,
    /// From one answer to the next.
    apart: f64,
    upload: f64,
    compute: f64,
}

impl Speed {
    /// The part of its upload that more lanes hide, when `alone` is one lane's.
    fn hidden(&self, alone: &Self) -> f64 {
        let saved = alone.upload + alone.compute - self.apart;
        (saved / alone.upload.max(1e-9)).clamp(0.0, 1.0)
    }

    /// Its part of a line; `torch` is PyTorch's rate.
    fn line(&self, plan: &CudaPlan, hidden: Option<f64>, torch: Option<f64>) -> String {
        let hidden = hidden.map_or("-".into(), |part| format!("{:.0} %", 100.0 * part));
        let torch = torch.map_or("- | -".into(), |theirs| {
            format!("{theirs:.0} | {:.2}", self.rate / theirs)
        });
        let done = self.rate * plan.graph().multiply_adds() as f64;
        format!(
            "{:.0} | {:.3} | {:.3} | {:.0} | {hidden} | {:.1} % | {torch}",
            self.rate,
            1e3 * self.median,
            1e3 * self.slow,
            100.0 * self.upload / self.compute.max(1e-9),
            100.0 * done / plan.peak()
        )
    }
}

/// Batches from `callers` at once.
fn measure(
    plan: &CudaPlan,
    side: usize,
    batch: usize,
    callers: usize,
    time: Duration,
) -> Result<Speed, Failure> {
    let pixels = pixels(side, batch);
    let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
    for _ in 0..5 {
        plan.forward(Input::Pixels(&images))?;
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
                        plan.forward(Input::Pixels(&images))?;
                        times.push(began.elapsed());
                    }
                    Ok::<_, model::Error>(times)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|t| t.join());
        joined
            .map(|times| {
                times
                    .map_err(|_| "a thread panicked")?
                    .map_err(Failure::from)
            })
            .collect::<Result<Vec<_>, Failure>>()
    })?
    .concat();
    let (elapsed, usage) = (start.elapsed().as_secs_f64(), plan.take_usage());
    let batches = times.len() as f64;
    times.sort_unstable();
    Ok(Speed {
        rate: batches * batch as f64 / elapsed,
        median: times[times.len() / 2].as_secs_f64(),
        slow: times[times.len() * 99 / 100].as_secs_f64(),
        apart: elapsed / batches,
        upload: usage.upload.as_secs_f64() / batches,
        compute: usage.compute.as_secs_f64() / batches,
    })
}
