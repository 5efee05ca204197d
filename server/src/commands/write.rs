//! The last step of `convert` and `quantize`: writes the new checkpoint.

use std::path::Path;
use std::process::ExitCode;

use indicatif::ProgressBar;
use weights::{Checkpoint, Metadata, StoredDtype};

use crate::commands::error::Error;
use crate::commands::output::print_line;

/// Writes the file and prints what it contains; `details` follow the name of
/// the architecture.
pub(super) fn write(
    checkpoint: &Checkpoint,
    metadata: &Metadata,
    numbers: StoredDtype,
    to: &Path,
    details: &str,
) -> Result<ExitCode, Error> {
    let bar = ProgressBar::new(0);
    weights::write(checkpoint, metadata, numbers, to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let architecture = metadata.architecture.as_deref().unwrap_or_default();
    print_line!("{} written: {architecture}{details}", to.display())?;
    Ok(ExitCode::SUCCESS)
}
