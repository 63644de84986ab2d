//! Chat over IRC: what a client may say and what it hears.

pub(crate) mod channel;
pub(crate) mod connection;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod notice;
pub(crate) mod privmsg;
pub(crate) mod send;
pub(crate) mod tags;
pub(crate) mod usernotice;

/// Capabilities a client can hold, as bits.
/// Source: dev.twitch.tv/docs/chat/irc, "Requesting Twitch Capabilities".
pub(crate) mod caps {
    /// Lines carry tags.
    pub(crate) const TAGS: u8 = 1;
    /// Twitch's own commands are sent: NOTICE, CLEARCHAT, USERSTATE, ROOMSTATE and the rest.
    pub(crate) const COMMANDS: u8 = 2;
    /// JOIN and PART of others are sent.
    pub(crate) const MEMBERSHIP: u8 = 4;

    /// What `CAP LS` lists.
    pub(crate) const ALL: &str = "twitch.tv/commands twitch.tv/membership twitch.tv/tags";

    /// The bit of a capability by its name.
    pub(crate) fn named(name: &str) -> Option<u8> {
        match name {
            "twitch.tv/tags" => Some(TAGS),
            "twitch.tv/commands" => Some(COMMANDS),
            "twitch.tv/membership" => Some(MEMBERSHIP),
            _ => None,
        }
    }
}
