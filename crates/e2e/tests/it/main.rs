//! Vigie as its users meet it: real processes, a real nats-server, both platforms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod chat;
mod dashboards;
mod half_restored;
mod operate;
mod recovery;
mod secured;
mod several;
mod trace;
mod watch;
