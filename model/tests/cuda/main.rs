//! The CUDA executor without a card: the real code, from candle's device down
//! to each launch, on a driver and a cuDNN of our own that check every call.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "cubins")]
mod cubins;
mod fake;
mod faults;
mod logits;
mod missing;
mod networks;
mod rows;
mod running;
mod told;
