//! The gateway against real servers: NATS, the sandbox's Discord, and small servers that misbehave on
//! purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod actions;
mod captured;
mod chat;
mod fake;
mod frames;
mod interactions;
mod limits;
mod points;
mod restart;
mod rig;
mod settings;
mod several;
mod storms;
