//! The last step of `convert` and `quantize`: writes the new checkpoint.

use std::ops::ControlFlow;
use std::process::ExitCode;

use indicatif::ProgressBar;
use weights::{Checkpoint, Metadata, StoredDtype, Target};

use crate::commands::error::Error;
use crate::commands::output::{self, print_line};
use crate::shutdown::Interrupt;

/// Writes the file and prints what it contains; `details` follow the name of
/// the architecture.
pub(super) fn write(
    checkpoint: &Checkpoint,
    metadata: &Metadata,
    numbers: StoredDtype,
    to: &Target,
    details: &str,
) -> Result<ExitCode, Error> {
    let interrupt = Interrupt::install()?;
    let bar = ProgressBar::new(0);
    let written = weights::write(checkpoint, metadata, numbers, to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        match interrupt.signal() {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    });
    bar.finish_and_clear();
    if let (Err(error @ weights::Error::Interrupted { .. }), Some(signal)) =
        (&written, interrupt.signal())
    {
        output::warn(format_args!("{error}"));
        // The exit status that a shell reports for a process killed by a signal.
        return Ok(ExitCode::from(128 + signal));
    }
    written?;
    let architecture = metadata.architecture.as_deref().unwrap_or_default();
    print_line!("{} written: {architecture}{details}", to.path.display())?;
    Ok(ExitCode::SUCCESS)
}
