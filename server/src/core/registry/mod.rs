//! The models of the server: which exist, which are loaded, and which one a
//! request gets.
//!
//! [`registry`] finds the instance for a request, `loads` loads, replaces,
//! unloads and evicts, `reconcile` follows the configuration and the files,
//! `edit` changes the models on request, [`watch`] calls it when files change, and [`checkpoints`] reads them.

pub mod checkpoints;
mod edit;
mod entry;
pub mod loader;
mod loads;
pub mod reconcile;
// The registry itself is the file of that name.
#[allow(clippy::module_inception, reason = "the file named after its type")]
pub mod registry;
pub mod slot;
mod split;
pub mod status;
pub mod watch;
