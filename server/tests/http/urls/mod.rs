//! Images by URL.

mod hostile;
mod responses;
mod web;
