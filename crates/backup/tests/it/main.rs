//! The backup in process, with a real restic, a real nats-server, a real SQLite with writers, a real PostgreSQL.
//!
//! Where restic or PostgreSQL is not installed, or a small disk cannot be mounted, the tests that need it say that
//! they were skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod archive;
mod clock;
mod damage;
mod database;
mod elsewhere;
mod folders;
mod full_disk;
mod killed;
mod lost;
mod old;
mod orders;
mod postgres;
mod program;
mod programs;
mod restore;
mod servers;
mod world;
