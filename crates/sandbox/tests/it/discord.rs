//! The local Discord, seen by a raw WebSocket and HTTP client.

mod bot;
mod commands;
mod gateway;
mod intents;
mod interactions;
mod limits;
mod members;
mod messages;
mod resume;
mod transport;
