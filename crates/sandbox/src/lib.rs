//! A local Discord and a local Twitch that speak the platforms' own wire, with a chat page and
//! fault knobs. It imports nothing of Vigie but `service`, so that it cannot agree with our own
//! mistakes; other people's clients prove its likeness (`cargo xtask conformance`).

pub mod counters;
pub mod discord;
pub mod feed;
pub mod people;
pub mod twitch;
