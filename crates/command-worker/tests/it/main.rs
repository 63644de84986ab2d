//! The worker in process, against a real NATS server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod events;
mod interactions;
mod life;
mod office;
mod order;
mod orders;
mod points;
mod sample;
mod world;
