//! Permission bits and how they add up.
//! Source: <https://docs.discord.com/developers/topics/permissions>.

/// Kick members.
pub const KICK_MEMBERS: u64 = 1 << 1;
/// Ban members.
pub const BAN_MEMBERS: u64 = 1 << 2;
/// Everything.
pub const ADMINISTRATOR: u64 = 1 << 3;
/// React with an emoji that nobody has reacted with yet.
pub const ADD_REACTIONS: u64 = 1 << 6;
/// See a channel.
pub const VIEW_CHANNEL: u64 = 1 << 10;
/// Write into a channel.
pub const SEND_MESSAGES: u64 = 1 << 11;
/// Delete messages of others, and their reactions.
pub const MANAGE_MESSAGES: u64 = 1 << 13;
/// Read what was written before.
pub const READ_MESSAGE_HISTORY: u64 = 1 << 16;
/// Mention `@everyone`, `@here` and every role.
pub const MENTION_EVERYONE: u64 = 1 << 17;
/// Change the own nickname.
pub const CHANGE_NICKNAME: u64 = 1 << 26;
/// Change the nicknames of others.
pub const MANAGE_NICKNAMES: u64 = 1 << 27;
/// Give and take roles below the own highest one.
pub const MANAGE_ROLES: u64 = 1 << 28;
/// Use slash commands.
pub const USE_APPLICATION_COMMANDS: u64 = 1 << 31;
/// Time members out.
pub const MODERATE_MEMBERS: u64 = 1 << 40;

/// Every bit that Discord defines today.
pub const ALL: u64 = (1 << 53) - 1;
/// What `@everyone` may do in the demo guild.
pub const EVERYONE: u64 = ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | (1 << 14)
    | (1 << 15)
    | READ_MESSAGE_HISTORY
    | (1 << 18)
    | CHANGE_NICKNAME
    | USE_APPLICATION_COMMANDS;
/// What moderators may do on top.
pub const MODERATOR: u64 =
    KICK_MEMBERS | BAN_MEMBERS | MANAGE_MESSAGES | MENTION_EVERYONE | MANAGE_NICKNAMES | MODERATE_MEMBERS;
/// What the bot may do on top.
pub const BOT: u64 = MODERATOR & !MENTION_EVERYONE | MANAGE_ROLES;

/// What one channel allows or denies to a role or a member.
#[derive(Clone, Copy, Debug)]
pub struct Overwrite {
    /// The role or member.
    pub id: super::snowflake::Id,
    /// 0 for a role, 1 for a member.
    pub kind: u8,
    /// Bits that are added.
    pub allow: u64,
    /// Bits that are taken away.
    pub deny: u64,
}
