//! The local Twitch as its clients see it.

mod chat;
mod client;
mod eventsub;
mod faults;
mod helix;
mod limits;
mod login;
mod moderation;
mod oauth;
mod transport;
