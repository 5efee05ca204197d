//! `resnet bench`: how fast the forward pass is, alone and step by step.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use model::Model;
use serde::Serialize;

use super::Error;
use super::out::say;
use crate::config::{Faults, ModelFlags};

/// The flags of `bench`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Images in a forward pass
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,

    /// How long to measure
    #[arg(long, default_value = "3")]
    seconds: f64,

    /// One JSON object on one line
    #[arg(long)]
    json: bool,

    /// Time each step of the plan
    #[arg(long)]
    layers: bool,

    #[command(flatten)]
    model: ModelFlags,
}

/// What was measured.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    architecture: &'a str,
    batch: u32,
    threads: usize,
    device: &'a str,
    dtype: &'a str,
    isa: &'a str,
    /// Of one image.
    multiply_adds: u64,
    iterations: usize,
    images_per_second: f64,
    milliseconds: f64,
    fastest_milliseconds: f64,
    gflops: f64,
    /// What the processor does in these numbers with everything in L1.
    peak_gflops: f64,
    /// The maps and workspaces of a pass, beside the weights.
    arena_bytes: usize,
    weight_bytes: usize,
}

/// Times forward passes up to the logits: of ready f32 planes `[N, 3, S, S]`
/// on the processor, of pixels on cards, as the server sends them.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut faults = Faults::default();
    let config = flags.model.check(&mut faults);
    let mut config = faults.none_or(config)?;
    config.options.cuda.largest_batch = flags.batch as usize;
    let (model, cores) = config.load_or_synthesize()?;
    let card = model.card();
    let values = flags.batch as usize * 3 * card.input_size * card.input_size;
    let input = weights::synthetic::tensor("input", &[values]);

    let side = card.input_size;
    let pixels: Vec<u8> = (0..side * side * 3).map(|i| (i * 7 % 256) as u8).collect();
    let images = vec![pixels.as_slice(); flags.batch as usize];
    let time = Duration::from_secs_f64(flags.seconds.max(0.0));
    let mut times = match card.device.as_str() {
        // on one of the cores, as a batch's worker has it: nobody is woken
        "cpu" => cores.run(|| measure(time, || model.forward_planes(&input))),
        _ => measure(time, || model.forward(&images)),
    }?;
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    let flops = 2.0 * card.multiply_adds as f64 * f64::from(flags.batch);
    let peak = 2.0 * model.engine().peak();
    let report = Report {
        model: &card.name,
        architecture: &card.architecture,
        batch: flags.batch,
        threads: cores.count(),
        device: &card.device,
        dtype: &card.dtype,
        isa: &card.isa,
        multiply_adds: card.multiply_adds,
        iterations: times.len(),
        images_per_second: f64::from(flags.batch) / median,
        milliseconds: 1e3 * median,
        fastest_milliseconds: 1e3 * times[0].as_secs_f64(),
        gflops: flops / median / 1e9,
        peak_gflops: peak / 1e9,
        arena_bytes: model.engine().arena_bytes(flags.batch as usize),
        weight_bytes: model.engine().weight_bytes(),
    };
    if flags.json {
        say!("{}", serde_json::to_string(&report).unwrap_or_default())?;
    } else {
        say!(
            "{} on {} ({}, {}), batch {}, {} threads: {:.1} images/s, {:.2} ms a pass (median of {}), {:.0} GFLOP/s of {:.0}",
            report.model,
            report.device,
            report.dtype,
            report.isa,
            report.batch,
            report.threads,
            report.images_per_second,
            report.milliseconds,
            report.iterations,
            report.gflops,
            report.peak_gflops,
        )?;
    }
    if flags.layers {
        layers(&model, &input, times.len().min(50), peak)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Durations of `pass` after a warm-up, for `time` and at least three times.
fn measure<T, E>(
    time: Duration,
    mut pass: impl FnMut() -> Result<T, E>,
) -> Result<Vec<Duration>, E> {
    for _ in 0..3 {
        pass()?;
    }
    let mut times = Vec::new();
    let end = Instant::now() + time;
    while times.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        pass()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// The median time of each step, with what it computes and moves. Winograd's
/// steps count the direct convolution's multiplications, and may pass the peak.
fn layers(model: &Model, input: &[f32], passes: usize, peak: f64) -> Result<(), Error> {
    let steps = model.engine().steps();
    let batch = input.len() / (3 * model.card().input_size * model.card().input_size);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); steps.len()];
    for _ in 0..passes.max(3) {
        // an early step runs several times in a pass
        let mut pass = vec![Duration::ZERO; steps.len()];
        model.forward_timed(input, &mut |step, time| pass[step] += time)?;
        times
            .iter_mut()
            .zip(pass)
            .for_each(|(all, time)| all.push(time));
    }
    say!(
        "{:<24} {:>16} {:>9} {:>7} {:>9} {:>7} {:>9}",
        "step",
        "output",
        "ms",
        "%",
        "GFLOP/s",
        "of peak",
        "MB moved"
    )?;
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        })
        .collect();
    let total: f64 = medians.iter().sum();
    for (step, time) in steps.iter().zip(medians) {
        let flops = 2.0 * step.multiply_adds as f64 * batch as f64;
        // a pool that runs with the step before takes no time of its own
        let rate = if time > 0.0 { flops / time } else { 0.0 };
        let [c, h, w] = step.output;
        say!(
            "{:<24} {:>16} {:>9.3} {:>7.1} {:>9.1} {:>7.2} {:>9.2}",
            step.name,
            format!("{h}x{w}x{c}"),
            1e3 * time,
            100.0 * time / total,
            rate / 1e9,
            rate / peak,
            (step.moved_bytes * batch + step.weight_bytes) as f64 / 1e6,
        )?;
    }
    Ok(())
}
