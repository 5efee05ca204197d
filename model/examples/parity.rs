//! The Rust half of `make parity`: loads checkpoints as the server does, in f32 on
//! the CPU (with `auto`, in the dtype that the server chooses), and prints their
//! logits. Reads a JSON object per line from the standard input, and writes one to
//! the standard output:
//!
//! ```text
//! {"model": "PATH", "planes": "PATH", "runs": 0, "auto": false}
//! {"architecture": "resnet50", "why": "...", "logits": [...], "multiply_adds": 1, "seconds": 0.1}
//! {"error": "..."}
//! ```
//!
//! The planes are f32 `[N, 3, S, S]` in little-endian order. With `runs`, the
//! forward pass is repeated, and `seconds` is the fastest.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use resnet_model::{Choice, Dtype, Model, Options, Outputs, ThreadPool};
use serde::{Deserialize, Serialize};
use weights::{Hub, Source};

type AnyError = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Job {
    model: String,
    planes: PathBuf,
    runs: usize,
    auto: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Logits {
        architecture: String,
        why: String,
        logits: Vec<f32>,
        multiply_adds: u64,
        seconds: f64,
    },
    Refused {
        error: String,
    },
}

fn answer(job: &Job, threads: &ThreadPool) -> Result<Answer, AnyError> {
    let source = Source::parse(&job.model)?;
    let checkpoint = source.open(&Hub::from_env(), &mut |_| {})?;
    let options = Options {
        dtype: if job.auto {
            Choice::Auto
        } else {
            Choice::Named(Dtype::F32)
        },
        ..Options::default()
    };
    let model = Model::load(&checkpoint, &options, threads)?;
    let bytes = std::fs::read(&job.planes)?;
    let planes: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let logits = model.forward_planes(&planes, Outputs::LOGITS)?.logits;
    let mut fastest = Duration::MAX;
    for _ in 0..job.runs {
        let start = Instant::now();
        model.forward_planes(&planes, Outputs::LOGITS)?;
        fastest = fastest.min(start.elapsed());
    }
    let info = model.info();
    let side = info.input_size;
    Ok(Answer::Logits {
        architecture: info.architecture.clone(),
        why: info.decisions.architecture.clone(),
        logits,
        multiply_adds: info.multiply_adds * (planes.len() / (3 * side * side)) as u64,
        seconds: fastest.as_secs_f64(),
    })
}

fn main() -> Result<(), AnyError> {
    let threads = ThreadPool::new(std::thread::available_parallelism()?.get())?;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let answer = answer(&job, &threads).unwrap_or_else(|error| Answer::Refused {
            error: error.to_string(),
        });
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}
