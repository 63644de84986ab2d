//! The health check in process, and once as a program, against a real NATS server and real receivers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ages;
mod discord;
mod email;
mod machine;
mod mailbox;
mod news;
mod people;
mod program;
mod receiver;
mod restart;
mod secured;
mod services;
mod silences;
mod witness;
mod world;
