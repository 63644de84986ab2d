//! The payloads as another program would see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ids;
mod payloads;
mod subjects;
mod trace;
