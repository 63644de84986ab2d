//! How things look on the wire: Discord's JSON of users, members, messages, channels and guilds.

pub mod guild;
pub mod message;

use serde::Serialize;

use super::{
    snowflake::{Id, Timestamp},
    world::{APPLICATION, User, guild::Member},
};

/// A user, as others see it.
#[derive(Serialize)]
pub struct UserJson<'a> {
    id: Id,
    username: &'a str,
    discriminator: &'static str,
    global_name: Option<&'a str>,
    avatar: Option<()>,
    avatar_decoration_data: Option<()>,
    banner: Option<()>,
    accent_color: Option<()>,
    primary_guild: Option<()>,
    public_flags: u64,
    flags: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Box<MemberJson<'a>>>,
}

impl<'a> UserJson<'a> {
    /// A user alone.
    pub fn new(user: &'a User) -> Self {
        let bot = user.id == APPLICATION;
        Self {
            id: user.id,
            username: &user.username,
            // Only bots still have a discriminator.
            discriminator: if bot { "4207" } else { "0" },
            global_name: user.global_name.as_deref(),
            avatar: None,
            avatar_decoration_data: None,
            banner: None,
            accent_color: None,
            primary_guild: None,
            public_flags: 0,
            flags: 0,
            bot,
            member: None,
        }
    }

    /// A mentioned user with what it is in the guild.
    pub fn mention(user: &'a User, member: Option<&'a Member>) -> Self {
        Self { member: member.map(MemberJson::partial).map(Box::new), ..Self::new(user) }
    }
}

/// A member of a guild.
#[derive(Serialize)]
pub struct MemberJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<String>,
    roles: &'a [Id],
    nick: Option<&'a str>,
    avatar: Option<()>,
    banner: Option<()>,
    joined_at: Timestamp,
    premium_since: Option<()>,
    communication_disabled_until: Option<&'a str>,
    pending: bool,
    deaf: bool,
    mute: bool,
    flags: u64,
}

impl<'a> MemberJson<'a> {
    /// Without the user, as beside a message's author.
    pub fn partial(member: &'a Member) -> Self {
        Self {
            user: None,
            guild_id: None,
            permissions: None,
            roles: &member.roles,
            nick: member.nick.as_deref(),
            avatar: None,
            banner: None,
            joined_at: Timestamp(member.joined_ms),
            premium_since: None,
            communication_disabled_until: member.timeout_until.as_deref(),
            pending: false,
            deaf: false,
            mute: false,
            flags: 0,
        }
    }

    /// With the user.
    pub fn full(user: &'a User, member: &'a Member) -> Self {
        Self { user: Some(UserJson::new(user)), ..Self::partial(member) }
    }

    /// With the guild, as in an event of its own.
    pub fn in_guild(self, guild: Id) -> Self {
        Self { guild_id: Some(guild), ..self }
    }

    /// With what the member may do in the channel of an interaction.
    pub fn with_permissions(self, permissions: u64) -> Self {
        Self { permissions: Some(permissions.to_string()), ..self }
    }
}
