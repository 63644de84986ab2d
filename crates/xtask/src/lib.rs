//! The project's own commands, `cargo xtask <command>`. They need only Rust, Python 3 with pip, and a
//! C compiler; nothing here is part of what an operator installs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these commands talk to a person")]

pub mod bench;
pub mod chaos;
pub mod compose;
pub mod conformance;
pub mod demo;
mod http;
pub mod nats;
pub mod operations;
mod page;
mod parts;
pub mod paths;
mod process;
pub mod schema;
pub mod shell;
pub mod test;
pub mod tidy;
