//! The sandbox as its clients see it: real sockets, real frames.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod binary;
mod bot;
mod control;
mod discord;
mod page;
mod twitch;
