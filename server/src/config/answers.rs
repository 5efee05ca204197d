//! What the answers of a command contain.

use crate::config::settings::Settings;
use crate::core::answer::probability;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Answers")]
pub struct AnswerFlags {
    /// Lowest probability of the category in an answer, from 0 to 1: the most
    /// specific category of the hierarchy that reaches it is printed or
    /// returned [default: 0.8]
    #[arg(long, env = "RESNET_MIN_CONFIDENCE", value_name = "PROBABILITY")]
    min_confidence: Option<String>,
}

impl AnswerFlags {
    /// Reads the lowest probability of a category.
    pub fn read(&self, settings: &mut Settings) -> f64 {
        let given = self.min_confidence.as_deref();
        settings.read("min-confidence", given, "0.8", fraction)
    }
}

/// A number from 0 to 1, as clap and [`Settings`] parse it.
pub(crate) fn fraction(text: &str) -> Result<f64, &'static str> {
    probability(text).ok_or("must be a number from 0 to 1")
}
