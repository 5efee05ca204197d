//! The HTTP transport: it translates requests into calls of the serving core,
//! and results and errors into responses.

mod accept;
mod admin;
mod body;
mod call;
mod classify;
mod connection;
mod dialect;
mod embed;
mod encoding;
mod explain;
mod forms;
mod head;
mod health;
pub mod listen;
mod models;
mod observe;
mod oip;
mod pages;
pub mod problem;
pub mod protocol;
mod query;
pub mod response;
mod room;
pub mod routes;
mod seat;
mod socket;
mod target;
