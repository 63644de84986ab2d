//! The Twitch gateway against a real NATS and the local Twitch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod actions;
mod binary;
mod company;
mod connections;
mod events;
mod fallback;
mod helix;
mod limits;
mod lines;
mod points;
mod rig;
mod stopping;
mod tokens;
