//! Tests of the CUDA backend without a GPU. The backend runs unchanged, including
//! candle's device and every launch, on a fake driver and a fake cuDNN that check
//! every call.

#![allow(clippy::unwrap_used)]

mod architectures;
#[cfg(feature = "cubins")]
mod cubins;
mod failures;
mod fake_driver;
mod forward;
mod inspection;
mod logits;
mod networks;
mod outputs;
mod requirements;
mod self_check;
#[path = "../small/mod.rs"]
mod small;
