//! A local Discord and a local Twitch that speak the platforms' own wire, with a chat page and
//! fault knobs. It imports nothing of Vigie, so that it cannot agree with our own mistakes; other
//! people's clients prove its likeness (`cargo xtask conformance`).
//!
//! [`Sandbox::start`] runs all of it in process, for tests; the `sandbox` binary is that and a
//! command line. What it can be told over HTTP is listed in this crate's README.

pub mod cli;
mod control;
pub mod counters;
pub mod discord;
pub mod feed;
mod listen;
pub mod load;
mod pace;
mod page;
pub mod people;
pub mod replay;
mod server;
pub mod twitch;

pub use server::{Options, Sandbox, StartError};
