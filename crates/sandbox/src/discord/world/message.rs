//! One message, as it is remembered.

use std::time::Instant;

use serde_json::Value;

use crate::discord::snowflake::Id;

/// Only the person who asked sees it.
pub const EPHEMERAL: u64 = 1 << 6;
/// An answer that is still being worked on.
pub const LOADING: u64 = 1 << 7;
/// Embeds are hidden.
pub const SUPPRESS_EMBEDS: u64 = 1 << 2;
/// Nobody is notified.
pub const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;
/// It is made of components alone.
pub const COMPONENTS_V2: u64 = 1 << 15;

/// `type` of a message that somebody wrote.
pub const DEFAULT: u8 = 0;
/// `type` of a message that answers another one.
pub const REPLY: u8 = 19;
/// `type` of the answer to a slash command.
pub const COMMAND: u8 = 20;

/// The interaction that a message belongs to.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The interaction.
    pub interaction: Id,
    /// Its type.
    pub kind: u8,
    /// The command as it was typed, or the custom id.
    pub name: String,
    /// Who asked.
    pub user: Id,
    /// The first answer, when this is a follow-up.
    pub original: Option<Id>,
}

/// One emoji under a message.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// The emoji itself.
    pub emoji: String,
    /// Who reacted with it.
    pub users: Vec<Id>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Snowflake.
    pub id: Id,
    /// Where it is.
    pub channel: Id,
    /// The guild of the channel.
    pub guild: Option<Id>,
    /// Who wrote it.
    pub author: Id,
    /// [`DEFAULT`], [`REPLY`] or [`COMMAND`].
    pub kind: u8,
    /// The text.
    pub content: String,
    /// In Discord's shape.
    pub embeds: Vec<Value>,
    /// In Discord's shape.
    pub components: Vec<Value>,
    /// In Discord's shape; the bytes themselves are not kept.
    pub attachments: Vec<Value>,
    /// Bit set.
    pub flags: u64,
    /// Read aloud.
    pub tts: bool,
    /// At the top of the channel's pins.
    pub pinned: bool,
    /// Users that it mentions.
    pub mentions: Vec<Id>,
    /// Roles that it mentions.
    pub mention_roles: Vec<Id>,
    /// It mentions everybody.
    pub mention_everyone: bool,
    /// The message that it answers.
    pub reference: Option<Id>,
    /// What the sender gave to know it again.
    pub nonce: Option<Value>,
    /// The interaction that it answers.
    pub cause: Option<Cause>,
    /// Emojis under it.
    pub reactions: Vec<Reaction>,
    /// When it was edited, in Unix milliseconds.
    pub edited_ms: Option<u64>,
    /// When somebody began to send it.
    pub at: Instant,
    /// Microseconds from what it answers until it arrived.
    pub latency_us: Option<u64>,
}

impl Message {
    /// Whether only the person who asked sees it.
    pub const fn ephemeral(&self) -> bool {
        self.flags & EPHEMERAL != 0
    }

    /// Whether it is an answer that is still being worked on.
    pub const fn loading(&self) -> bool {
        self.flags & LOADING != 0
    }
}
