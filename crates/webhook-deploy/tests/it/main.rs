//! The service in process, and once as a program, over real sockets, with a real NATS server and a deployer that
//! only answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod deliveries;
mod forgery;
mod list;
mod pressure;
mod program;
mod random;
mod secured;
mod world;
