//! The local Twitch.
