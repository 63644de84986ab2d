//! Which intents there are and what each one lets through.
//! Source: <https://docs.discord.com/developers/events/gateway#gateway-intents>.

/// Guilds, roles, channels.
pub const GUILDS: u64 = 1;
/// Members; privileged.
pub const GUILD_MEMBERS: u64 = 1 << 1;
/// Bans.
pub const GUILD_MODERATION: u64 = 1 << 2;
/// Presences; privileged.
pub const GUILD_PRESENCES: u64 = 1 << 8;
/// Messages in guilds.
pub const GUILD_MESSAGES: u64 = 1 << 9;
/// Reactions in guilds.
pub const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
/// Typing in guilds.
pub const GUILD_MESSAGE_TYPING: u64 = 1 << 11;
/// Direct messages.
pub const DIRECT_MESSAGES: u64 = 1 << 12;
/// Reactions in direct messages.
pub const DIRECT_MESSAGE_REACTIONS: u64 = 1 << 13;
/// Typing in direct messages.
pub const DIRECT_MESSAGE_TYPING: u64 = 1 << 14;
/// The content of messages; privileged, and no event of its own.
pub const MESSAGE_CONTENT: u64 = 1 << 15;

/// Every bit that Discord defines; any other one closes with 4013.
pub const KNOWN: u64 = ((1 << 17) - 1) | (1 << 20) | (1 << 21) | (1 << 24) | (1 << 25);

/// The intent for something about messages, in a guild or in direct messages.
pub const fn messages(in_guild: bool) -> u64 {
    if in_guild { GUILD_MESSAGES } else { DIRECT_MESSAGES }
}

/// The intent for reactions.
pub const fn reactions(in_guild: bool) -> u64 {
    if in_guild { GUILD_MESSAGE_REACTIONS } else { DIRECT_MESSAGE_REACTIONS }
}

/// The intent for typing.
pub const fn typing(in_guild: bool) -> u64 {
    if in_guild { GUILD_MESSAGE_TYPING } else { DIRECT_MESSAGE_TYPING }
}
