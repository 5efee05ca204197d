//! `resnet inspect`: prints the layers of a model, its operations and its memory.

use std::io;
use std::process::ExitCode;

use clap::Args;
use model::table::{Layer, layers};
use model::{Decisions, Model, family};
use weights::Resize;

use crate::commands::error::Error;
use crate::commands::load::load_or_generate;
use crate::commands::output::print_line;
use crate::config::model::ModelFlags;
use crate::config::settings::Settings;

/// The flags of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Model to inspect: a source as for `--model`, or an architecture
    #[arg(value_name = "MODEL")]
    name: Option<String>,

    /// Print the steps of the plan with their memory too
    #[arg(long)]
    steps: bool,

    /// Number of images in the forward pass whose memory is printed
    #[arg(long, default_value = "1")]
    batch: usize,

    #[command(flatten)]
    model: ModelFlags,
}

/// Prints the layers.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut settings = Settings::default();
    let config = flags.model.read(flags.name.as_deref(), &mut settings);
    let config = settings.errors.none_or(config)?;
    let (model, _) = load_or_generate(&config)?;
    print_line!(
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
        print_line!("{}", line(&layer))?;
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

/// What was decided about the model, and from what.
fn decisions(model: &Model) -> io::Result<()> {
    let info = model.info();
    let Decisions {
        architecture,
        preprocessing,
        labels,
        activation,
        notes,
    } = &info.decisions;
    let recipe = model.preprocessing();
    let resize = match recipe.resize {
        Resize::ShortSide(side) => format!("short side to {side}"),
        Resize::Exact(side) => format!("{side}x{side}"),
    };
    print_line!("")?;
    print_line!("architecture   {} ({architecture})", info.architecture)?;
    print_line!(
        "preprocessing  {resize}, {:?}, crop {}, mean {:?}, std {:?} ({preprocessing})",
        recipe.interpolation,
        recipe.crop,
        recipe.mean,
        recipe.std
    )?;
    print_line!(
        "activation     {} ({activation})",
        model.activation().name()
    )?;
    print_line!("labels         {} ({labels})", model.labels().len())?;
    for note in notes {
        print_line!("note           {note}")?;
    }
    Ok(())
}

fn summary(model: &Model, batch: usize) -> io::Result<()> {
    let info = model.info();
    let plan = model.backend();
    decisions(model)?;
    print_line!(
        "model          {} ({}), weights {}",
        info.name,
        info.architecture,
        info.digest
    )?;
    print_line!("parameters     {:.2} M", info.parameters as f64 / 1e6)?;
    print_line!(
        "multiply-adds  {:.2}e9{}",
        info.multiply_adds as f64 / 1e9,
        published(&info.architecture)
    )?;
    print_line!(
        "runs on        {}, {}, {}",
        info.device,
        info.dtype,
        info.isa
    )?;
    print_line!(
        "memory         {:.1} MB of packed weights, {:.1} MB of feature maps for a batch of {batch}",
        plan.weight_bytes() as f64 / 1e6,
        plan.arena_bytes(batch) as f64 / 1e6
    )
}

/// The FLOPs that the paper states for the architecture.
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
    print_line!("")?;
    print_line!(
        "{:<24} {:>16} {:>6} {:>10} {:>10}  runs as",
        "step",
        "output",
        "slot",
        "weights KB",
        "maps KB"
    )?;
    for step in model.backend().steps() {
        let [c, h, w] = step.output;
        print_line!(
            "{:<24} {:>16} {:>6} {:>10.1} {:>10.1}  {}",
            step.name,
            format!("{h}x{w}x{c}"),
            step.slot
                .map_or_else(|| "-".to_owned(), |slot| slot.to_string()),
            step.weight_bytes as f64 / 1e3,
            (step.moved_bytes * batch) as f64 / 1e3,
            step.runs_as
        )?;
    }
    Ok(())
}
