//! The serving core: models, admission, decoding, batching and inference. It
//! knows no protocol. A transport translates requests into calls of
//! [`serving::Serving`] and renders the results and [`error::Error`]s.
//!
//! The path of an image: [`admission`] -> [`image`] -> [`instance`] (decode,
//! preprocess) -> [`batch`] -> [`network`] (forward pass) -> [`answer`]. [`request`]
//! is what all protocols have in common.

pub mod admission;
pub mod answer;
pub mod base64;
pub mod batch;
pub mod cache;
pub mod cache_metrics;
pub mod category;
pub mod colormap;
pub mod embedding;
pub mod error;
pub mod explain;
mod histograms;
pub mod image;
pub mod instance;
pub mod keys;
pub mod labels;
pub mod limits;
mod line;
pub mod memory;
pub mod metrics;
pub mod model_metrics;
pub mod network;
pub mod npy;
pub mod overlay;
pub mod process_metrics;
pub mod progress;
pub mod registry;
pub mod request;
pub mod request_metrics;
pub mod round_robin;
pub mod scheduler;
pub mod scores;
pub mod sent;
pub mod serving;
pub mod similarity;
pub mod spans;
pub mod spec;
pub mod statistics;
pub mod tensor;
pub mod top_k;
pub mod totals;
pub mod versions;
