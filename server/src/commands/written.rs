//! How `convert` and `quantize` end: the new file, its bar, its line.

use std::path::Path;
use std::process::ExitCode;

use indicatif::ProgressBar;
use weights::{Checkpoint, Facts, Numbers};

use super::Error;
use super::out::say;

/// Writes the file and tells what is in it.
pub(super) fn write(
    checkpoint: &Checkpoint,
    facts: &Facts,
    numbers: Numbers,
    to: &Path,
    how: &str,
) -> Result<ExitCode, Error> {
    let bar = ProgressBar::new(0);
    weights::write(checkpoint, facts, numbers, to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let architecture = facts.architecture.as_deref().unwrap_or_default();
    say!("{} written: {architecture}{how}", to.display())?;
    Ok(ExitCode::SUCCESS)
}
