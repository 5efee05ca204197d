//! `resnet bench`: measures the time of a forward pass and of each of its steps.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use model::{Model, Outputs};
use serde::Serialize;

use crate::commands::error::Error;
use crate::commands::load::load_or_generate;
use crate::commands::output::print_line;
use crate::config::model::ModelFlags;
use crate::config::settings::Settings;
use crate::config::units::LONGEST_TIME;

/// The flags of `bench`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Number of images in a forward pass
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,

    /// Duration of the measurement in seconds, at most 86400
    #[arg(long, default_value = "3", value_parser = seconds, allow_hyphen_values = true)]
    seconds: Duration,

    /// Print the result as one JSON object on one line
    #[arg(long)]
    json: bool,

    /// Measure each step of the plan too
    #[arg(long)]
    layers: bool,

    #[command(flatten)]
    model: ModelFlags,
}

/// The result of the measurement.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    architecture: &'a str,
    batch: u32,
    threads: usize,
    engine: String,
    device: String,
    dtype: &'a str,
    isa: &'a str,
    /// For one image.
    multiply_adds: u64,
    iterations: usize,
    images_per_second: f64,
    milliseconds: f64,
    fastest_milliseconds: f64,
    gflops: f64,
    /// The peak of the CPU in this data type, with all data in the L1 cache; null
    /// where it is not known.
    peak_gflops: Option<f64>,
    /// Feature maps and workspaces of a forward pass, without the weights.
    arena_bytes: usize,
    weight_bytes: usize,
}

/// Measures forward passes from the input to the logits. The input is normalised
/// f32 planes `[N, 3, S, S]` on the CPU, and pixels on GPUs, as in the server.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut settings = Settings::default();
    let config = flags.model.read(None, &mut settings);
    let mut config = settings.errors.none_or(config)?;
    config.run.options.cuda.largest_batch = flags.batch as usize;
    let (model, pool) = load_or_generate(&config)?;
    let info = model.info();
    let values = flags.batch as usize * 3 * info.input_size * info.input_size;
    let input = weights::synthetic::tensor("input", &[values]);

    let side = info.input_size;
    let pixels: Vec<u8> = (0..side * side * 3).map(|i| (i * 7 % 256) as u8).collect();
    let images = vec![pixels.as_slice(); flags.batch as usize];
    let outputs = Outputs::LOGITS;
    let mut times = if info.device.is_cpu() {
        // on a thread of the pool, where the batch worker runs forward passes
        pool.run(|| measure(flags.seconds, || model.forward_planes(&input, outputs)))
    } else {
        measure(flags.seconds, || model.forward(&images, outputs))
    }?;
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    let flops = 2.0 * info.multiply_adds as f64 * f64::from(flags.batch);
    let peak = model.backend().peak().map(|peak| 2.0 * peak);
    let report = Report {
        model: &info.name,
        architecture: &info.architecture,
        batch: flags.batch,
        threads: pool.count(),
        engine: info.engine.to_string(),
        device: info.device.to_string(),
        dtype: info.dtype.name(),
        isa: &info.isa,
        multiply_adds: info.multiply_adds,
        iterations: times.len(),
        images_per_second: f64::from(flags.batch) / median,
        milliseconds: 1e3 * median,
        fastest_milliseconds: 1e3 * times[0].as_secs_f64(),
        gflops: flops / median / 1e9,
        peak_gflops: peak.map(|peak| peak / 1e9),
        arena_bytes: model.backend().arena_bytes(flags.batch as usize),
        weight_bytes: model.backend().weight_bytes(),
    };
    let of_peak = report.peak_gflops.map(|peak| format!(" of {peak:.0}"));
    if flags.json {
        print_line!("{}", serde_json::to_string(&report).unwrap_or_default())?;
    } else {
        print_line!(
            "{} on {} ({}, {}), batch {}, {} threads: {:.1} images/s, {:.2} ms per forward pass (median of {}), {:.0} GFLOP/s{}",
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
            of_peak.unwrap_or_default(),
        )?;
    }
    if flags.layers {
        layers(&model, &input, times.len().min(50), peak)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The number of seconds on the command line.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= LONGEST_TIME)
        .ok_or("must be a number of seconds from 0 to 86400, such as 3 or 0.5")
}

/// Durations of `pass` after a warm-up, for the given time and at least three
/// times.
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

/// Prints the median time of each step, its operations and its memory traffic.
/// The operations of a Winograd step are those of the direct convolution, so its
/// rate can exceed the peak.
fn layers(model: &Model, input: &[f32], passes: usize, peak: Option<f64>) -> Result<(), Error> {
    let steps = model.backend().steps();
    let batch = input.len() / (3 * model.info().input_size * model.info().input_size);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); steps.len()];
    for _ in 0..passes.max(3) {
        // the first steps run several times in a forward pass
        let mut pass = vec![Duration::ZERO; steps.len()];
        model.forward_timed(input, &mut |step, time| pass[step] += time)?;
        times
            .iter_mut()
            .zip(pass)
            .for_each(|(all, time)| all.push(time));
    }
    print_line!(
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
        // a pool that is fused with the step before it takes no time
        let rate = if time > 0.0 { flops / time } else { 0.0 };
        let [c, h, w] = step.output;
        print_line!(
            "{:<24} {:>16} {:>9.3} {:>7.1} {:>9.1} {:>7} {:>9.2}",
            step.name,
            format!("{h}x{w}x{c}"),
            1e3 * time,
            100.0 * time / total,
            rate / 1e9,
            peak.map_or_else(|| "-".to_owned(), |peak| format!("{:.2}", rate / peak)),
            (step.moved_bytes * batch + step.weight_bytes) as f64 / 1e6,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        bench: Flags,
    }

    #[test]
    fn a_duration_that_cannot_be_measured_is_a_usage_error() {
        let parse = |seconds: &str| Command::try_parse_from(["bench", "--seconds", seconds]);
        for valid in ["0", "3", "0.5", "86400", "1e-3"] {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        for invalid in ["inf", "-inf", "nan", "-1", "1e300", "86401", "3s", ""] {
            let error = parse(invalid).map(drop).unwrap_err();
            assert_eq!(
                error.kind(),
                clap::error::ErrorKind::ValueValidation,
                "{invalid}"
            );
            assert!(error.to_string().contains("from 0 to 86400"), "{error}");
        }
    }

    #[test]
    fn at_least_three_forward_passes_are_measured() {
        let mut passes = 0;
        let times = measure(Duration::ZERO, || {
            passes += 1;
            Ok::<_, Error>(())
        });
        assert_eq!(times.unwrap().len(), 3);
        assert_eq!(passes, 6, "three of them warm up");
    }
}
