//! The bus against a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod bucket;
mod cluster;
mod consume;
mod control;
mod dead;
mod discovery;
mod killed;
mod lease;
mod once;
mod outbox;
mod request;
mod snapshot;
mod topology;

use bus::Message;
use protocol::{Catalogue, VERSION};

/// A small payload that is easy to tell from others: its version field apart, it holds nothing.
fn payload() -> Catalogue {
    Catalogue { v: VERSION, commands: Vec::new() }
}

fn message(subject: &str, id: &str) -> Message {
    Message::new(subject, id, &payload()).unwrap()
}
