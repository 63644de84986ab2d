//! Runs the real binaries of Vigie against a real nats-server and the sandbox, for tests across
//! processes. The tests are in `tests/it`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod process;
mod stack;

pub use process::{Ended, Process, command, run_to_end};
pub use stack::{Stack, StackOptions};
