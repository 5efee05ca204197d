//! `resnet inspect`: a network's layers as a lecture draws them, and what it
//! costs to hold and to run.

use std::io;
use std::process::ExitCode;

use clap::Args;
use model::table::{Layer, layers};
use model::{Model, family};

use super::Error;
use super::out::say;
use crate::config::{Faults, ModelFlags};

/// The flags of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// What to inspect: as `--model`
    #[arg(value_name = "MODEL")]
    name: Option<String>,

    /// Also the steps of the plan, with their memory
    #[arg(long)]
    steps: bool,

    /// Images in the forward pass whose memory is told
    #[arg(long, default_value = "1")]
    batch: usize,

    #[command(flatten)]
    model: ModelFlags,
}

/// Prints the table.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut faults = Faults::default();
    let mut model = flags.model.clone();
    if let Some(name) = &flags.name {
        model.name(name);
    }
    let config = model.check(&mut faults);
    let config = faults.none_or(config)?;
    let (model, _) = config.load_or_synthesize()?;
    say!(
        "{:<20} {:<15} {:>7} {:>7} {:>8} {:>7}  {:<16}",
        "layer",
        "",
        "kernel",
        "stride",
        "padding",
        "groups",
        "output"
    )?;
    for layer in layers(model.graph()) {
        say!("{}", line(&layer))?;
    }
    summary(&model, flags.batch)?;
    if flags.steps {
        steps(&model, flags.batch)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(layer: &Layer) -> String {
    let Layer {
        name,
        repeat,
        what,
        kernel,
        stride,
        padding,
        groups,
        output: [c, h, w],
    } = layer;
    let times = if *repeat > 1 {
        format!("{name} x{repeat}")
    } else {
        name.clone()
    };
    let or_dash = |shown: bool, text: String| if shown { text } else { "-".into() };
    let windowed = *kernel > 0;
    format!(
        "{times:<20} {what:<15} {:>7} {:>7} {:>8} {:>7}  {:<16}",
        or_dash(windowed, format!("{kernel}x{kernel}")),
        or_dash(windowed, stride.to_string()),
        or_dash(windowed, padding.to_string()),
        or_dash(*groups > 1, groups.to_string()),
        format!("{h}x{w}x{c}"),
    )
}

fn summary(model: &Model, batch: usize) -> io::Result<()> {
    let card = model.card();
    let plan = model.engine();
    say!("")?;
    say!(
        "model          {} ({}), weights {}",
        card.name,
        card.architecture,
        card.digest
    )?;
    say!("parameters     {:.2} M", card.parameters as f64 / 1e6)?;
    say!(
        "multiply-adds  {:.2}e9{}",
        card.multiply_adds as f64 / 1e9,
        published(&card.architecture)
    )?;
    say!(
        "runs on        {}, {}, {}",
        card.device,
        card.dtype,
        card.isa
    )?;
    say!(
        "memory         {:.1} MB of packed weights, {:.1} MB of maps for a batch of {batch}",
        plan.weight_bytes() as f64 / 1e6,
        plan.arena_bytes(batch) as f64 / 1e6
    )
}

/// What the paper says the row costs.
fn published(architecture: &str) -> String {
    let Some(row) = family::find(architecture) else {
        return String::new();
    };
    let Some(flops) = row.published_flops else {
        return String::new();
    };
    let strided =
        row.block == family::Block::Bottleneck && row.stride_on == family::StrideOn::Conv2;
    let where_ = if strided {
        " with the stride on the first 1x1"
    } else {
        ""
    };
    format!(" (the paper's FLOPs: {:.1}e9{where_})", flops / 1e9)
}

fn steps(model: &Model, batch: usize) -> io::Result<()> {
    say!("")?;
    say!(
        "{:<24} {:>16} {:>6} {:>10} {:>10}  runs as",
        "step",
        "output",
        "slot",
        "weights KB",
        "maps KB"
    )?;
    for step in model.engine().steps() {
        let [c, h, w] = step.output;
        say!(
            "{:<24} {:>16} {:>6} {:>10.1} {:>10.1}  {}",
            step.name,
            format!("{h}x{w}x{c}"),
            step.slot,
            step.weight_bytes as f64 / 1e3,
            (step.moved_bytes * batch) as f64 / 1e3,
            step.runs_as
        )?;
    }
    Ok(())
}
