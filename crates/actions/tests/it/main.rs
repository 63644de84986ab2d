//! Actions with a platform that does what a test tells it, against a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod once;
mod order;
mod partitions;
mod points;
mod rig;
