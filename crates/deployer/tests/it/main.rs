//! The deployer in process, against a real NATS server, real git over HTTP, and a program that stands for Docker: every
//! failure and every death at every command can be had from it. The real engine is tried by `cargo xtask test --compose`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod binaries;
mod build;
mod deaths;
mod images;
mod list;
mod program;
mod pull;
mod remote;
mod schedule;
mod secured;
mod ssh;
mod succession;
mod world;
