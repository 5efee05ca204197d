//! The HTTP transport: it translates requests into calls of the serving core,
//! and results and errors into responses.

mod accept;
mod admin;
mod body;
mod classify;
mod embed;
mod explain;
mod forms;
mod health;
pub mod listen;
mod models;
mod observe;
mod pages;
pub mod problem;
mod query;
pub mod response;
pub mod routes;
mod target;
