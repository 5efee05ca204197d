//! The HTTP transport: it translates requests into calls of the serving core,
//! and results and errors into responses.

mod admin;
mod body;
mod classify;
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
