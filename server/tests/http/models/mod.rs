//! Several models and versions: which one serves a request, and how models are
//! loaded, replaced, unloaded and evicted.

mod admin;
mod configuration;
mod describe;
mod eviction;
mod fairness;
mod on_demand;
mod readiness;
mod reload;
mod routing;
mod stress;
mod versions;
mod watching;
