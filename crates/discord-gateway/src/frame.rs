//! Gateway frames, read as far as this bot uses them. Everything else is a name for a counter.
//!
//! Discord documents the frames at <https://docs.discord.com/developers/events/gateway-events>.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use twilight_model::gateway::event::GatewayEventDeserializer;

/// The first millisecond of 2015, from which Discord's ids count.
const EPOCH_MS: u64 = 1_420_070_400_000;

/// A Discord id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snowflake(pub u64);

impl Snowflake {
    /// When it was made, in Unix milliseconds.
    #[must_use]
    pub const fn at_ms(self) -> u64 {
        (self.0 >> 22) + EPOCH_MS
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Snowflake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer).map(Self)
    }
}

/// What stands around the data of a frame.
#[derive(Debug)]
pub struct Header<'a> {
    /// The opcode.
    pub op: u8,
    /// The sequence number of a dispatch.
    pub sequence: Option<u64>,
    /// The name of a dispatch.
    pub name: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    /// Finds opcode, sequence and name without reading the data. `None` when there is no opcode.
    #[must_use]
    pub fn read(frame: &'a str) -> Option<Self> {
        let (op, sequence, name) = GatewayEventDeserializer::from_json(frame)?.into_parts();
        Some(Self { op, sequence, name })
    }
}

/// Reads the data of a frame.
///
/// # Errors
/// When the frame does not have the shape of `T`.
pub fn data<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<T, serde_json::Error> {
    #[derive(Deserialize)]
    struct Frame<T> {
        d: T,
    }
    serde_json::from_str::<Frame<T>>(frame).map(|frame| frame.d)
}

macro_rules! kinds {
    (used: $($used:ident = $used_name:literal)*; counted: $($name:literal)*) => {
        /// What a dispatch is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = concat!("`", $used_name, "`")] $used,)*
            /// Not used.
            Other,
        }

        impl Kind {
            /// The kind with this name, and the name as a label of a metric. Names that are not
            /// documented share one label, so that the labels stay few.
            #[must_use]
            pub fn of(name: &str) -> (Self, &'static str) {
                match name {
                    $($used_name => (Self::$used, $used_name),)*
                    $($name => (Self::Other, $name),)*
                    _ => (Self::Other, "unknown"),
                }
            }
        }
    };
}

kinds! {
    used:
        Ready = "READY"
        Resumed = "RESUMED"
        GuildCreate = "GUILD_CREATE"
        GuildUpdate = "GUILD_UPDATE"
        GuildDelete = "GUILD_DELETE"
        RoleCreate = "GUILD_ROLE_CREATE"
        RoleUpdate = "GUILD_ROLE_UPDATE"
        RoleDelete = "GUILD_ROLE_DELETE"
        Message = "MESSAGE_CREATE"
        Interaction = "INTERACTION_CREATE";
    counted:
        "APPLICATION_COMMAND_PERMISSIONS_UPDATE" "AUTO_MODERATION_ACTION_EXECUTION"
        "AUTO_MODERATION_RULE_CREATE" "AUTO_MODERATION_RULE_DELETE" "AUTO_MODERATION_RULE_UPDATE"
        "CHANNEL_CREATE" "CHANNEL_DELETE" "CHANNEL_PINS_UPDATE" "CHANNEL_UPDATE" "ENTITLEMENT_CREATE"
        "ENTITLEMENT_DELETE" "ENTITLEMENT_UPDATE" "GUILD_AUDIT_LOG_ENTRY_CREATE" "GUILD_BAN_ADD"
        "GUILD_BAN_REMOVE" "GUILD_EMOJIS_UPDATE" "GUILD_INTEGRATIONS_UPDATE" "GUILD_MEMBER_ADD"
        "GUILD_MEMBER_REMOVE" "GUILD_MEMBER_UPDATE" "GUILD_MEMBERS_CHUNK"
        "GUILD_SCHEDULED_EVENT_CREATE" "GUILD_SCHEDULED_EVENT_DELETE" "GUILD_SCHEDULED_EVENT_UPDATE"
        "GUILD_SCHEDULED_EVENT_USER_ADD" "GUILD_SCHEDULED_EVENT_USER_REMOVE"
        "GUILD_SOUNDBOARD_SOUND_CREATE" "GUILD_SOUNDBOARD_SOUND_DELETE"
        "GUILD_SOUNDBOARD_SOUND_UPDATE" "GUILD_SOUNDBOARD_SOUNDS_UPDATE" "GUILD_STICKERS_UPDATE"
        "INTEGRATION_CREATE" "INTEGRATION_DELETE" "INTEGRATION_UPDATE" "INVITE_CREATE" "INVITE_DELETE"
        "MESSAGE_DELETE" "MESSAGE_DELETE_BULK" "MESSAGE_POLL_VOTE_ADD" "MESSAGE_POLL_VOTE_REMOVE"
        "MESSAGE_REACTION_ADD" "MESSAGE_REACTION_REMOVE" "MESSAGE_REACTION_REMOVE_ALL"
        "MESSAGE_REACTION_REMOVE_EMOJI" "MESSAGE_UPDATE" "PRESENCE_UPDATE" "RATE_LIMITED"
        "SOUNDBOARD_SOUNDS" "STAGE_INSTANCE_CREATE" "STAGE_INSTANCE_DELETE" "STAGE_INSTANCE_UPDATE"
        "SUBSCRIPTION_CREATE" "SUBSCRIPTION_DELETE" "SUBSCRIPTION_UPDATE" "THREAD_CREATE"
        "THREAD_DELETE" "THREAD_LIST_SYNC" "THREAD_MEMBER_UPDATE" "THREAD_MEMBERS_UPDATE"
        "THREAD_UPDATE" "TYPING_START" "USER_UPDATE" "VOICE_CHANNEL_EFFECT_SEND"
        "VOICE_CHANNEL_STATUS_UPDATE" "VOICE_SERVER_UPDATE" "VOICE_STATE_UPDATE" "WEBHOOKS_UPDATE"
}

/// `READY`
#[derive(Debug, Deserialize)]
pub struct Ready {
    /// The bot's account.
    pub user: IdOnly,
    /// The session.
    pub session_id: String,
    /// Where to resume it.
    pub resume_gateway_url: String,
    /// The guilds of this shard, all of them unavailable at first.
    #[serde(default)]
    pub guilds: Vec<IdOnly>,
}

/// Anything of which only the id matters.
#[derive(Debug, Deserialize)]
pub struct IdOnly {
    /// The id.
    pub id: Snowflake,
}

/// `GUILD_CREATE`, `GUILD_UPDATE`, and the answer of `GET /guilds/{id}`.
#[derive(Debug, Deserialize)]
pub struct Guild {
    /// The id.
    pub id: Snowflake,
    /// Who owns it; missing when it is unavailable.
    pub owner_id: Option<Snowflake>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<Role>,
}

/// A role, as far as it says what its members may do.
#[derive(Debug, Deserialize)]
pub struct Role {
    /// The id; that of `@everyone` is the guild's.
    pub id: Snowflake,
    /// A bit set.
    #[serde(deserialize_with = "number")]
    pub permissions: u64,
}

/// `GUILD_DELETE`
#[derive(Debug, Deserialize)]
pub struct GuildGone {
    /// The id.
    pub id: Snowflake,
    /// An outage, not a farewell.
    #[serde(default)]
    pub unavailable: bool,
}

/// `GUILD_ROLE_CREATE`, `GUILD_ROLE_UPDATE`
#[derive(Debug, Deserialize)]
pub struct RoleChange {
    /// The guild.
    pub guild_id: Snowflake,
    /// The role as it is now.
    pub role: Role,
}

/// `GUILD_ROLE_DELETE`
#[derive(Debug, Deserialize)]
pub struct RoleGone {
    /// The guild.
    pub guild_id: Snowflake,
    /// The role that was.
    pub role_id: Snowflake,
}

/// `MESSAGE_CREATE`
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    /// The id.
    pub id: Snowflake,
    /// The channel.
    pub channel_id: Snowflake,
    /// The guild; missing in direct messages.
    pub guild_id: Option<Snowflake>,
    /// Whether somebody wrote it (0, 19, 20, 23) or Discord announces something (all others).
    #[serde(rename = "type", default)]
    pub kind: u16,
    /// What was written.
    #[serde(borrow, default)]
    pub content: Cow<'a, str>,
    /// Who wrote it.
    #[serde(borrow)]
    pub author: User<'a>,
    /// The author in the guild.
    pub member: Option<Member>,
    /// The webhook that wrote it.
    pub webhook_id: Option<Snowflake>,
    /// The message that it answers or forwards.
    pub message_reference: Option<Reference>,
}

impl Message<'_> {
    /// Whether somebody wrote it. The types: default, reply, slash command, context menu command.
    #[must_use]
    pub const fn is_chat(&self) -> bool {
        matches!(self.kind, 0 | 19 | 20 | 23)
    }
}

/// An account.
#[derive(Debug, Deserialize)]
pub struct User<'a> {
    /// The id.
    pub id: Snowflake,
    /// The unique name.
    #[serde(borrow, default)]
    pub username: Cow<'a, str>,
    /// The name people see.
    pub global_name: Option<String>,
    /// Whether it is a bot.
    #[serde(default)]
    pub bot: bool,
}

/// An account in a guild.
#[derive(Debug, Deserialize)]
pub struct Member {
    /// The name there.
    pub nick: Option<String>,
    /// The roles there, without `@everyone`.
    #[serde(default)]
    pub roles: Vec<Snowflake>,
}

/// A message that another one refers to.
#[derive(Debug, Deserialize)]
pub struct Reference {
    /// The message.
    pub message_id: Option<Snowflake>,
    /// 0 for an answer, 1 for a forward.
    #[serde(rename = "type", default)]
    pub kind: u16,
}

/// `INTERACTION_CREATE`
#[derive(Debug, Deserialize)]
pub struct Interaction<'a> {
    /// The id.
    pub id: Snowflake,
    /// The application.
    pub application_id: Snowflake,
    /// 2 slash command, 3 component, 4 autocomplete.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The secret that answers it.
    pub token: String,
    /// What is asked.
    #[serde(borrow)]
    pub data: Option<InteractionData<'a>>,
    /// The guild; missing in direct messages.
    pub guild_id: Option<Snowflake>,
    /// The channel.
    pub channel_id: Option<Snowflake>,
    /// Who asks, in a guild.
    #[serde(borrow)]
    pub member: Option<InteractionMember<'a>>,
    /// Who asks, in a direct message.
    #[serde(borrow)]
    pub user: Option<User<'a>>,
    /// The language of the person's client.
    pub locale: Option<String>,
}

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct InteractionData<'a> {
    /// The command.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// 1 for a slash command; of a component it is the component's type.
    #[serde(rename = "type", default)]
    pub kind: u8,
    /// What was given.
    #[serde(default)]
    pub options: Vec<InteractionOption>,
    /// The button.
    #[serde(borrow, default)]
    pub custom_id: Cow<'a, str>,
    /// What a component is: 2 is a button.
    #[serde(default)]
    pub component_type: u8,
}

/// One option.
#[derive(Debug, Deserialize)]
pub struct InteractionOption {
    /// Its name.
    pub name: String,
    /// What was given; missing for a group.
    pub value: Option<serde_json::Value>,
    /// Whether it has the cursor.
    #[serde(default)]
    pub focused: bool,
}

/// Who asks, with what they may do in the channel.
#[derive(Debug, Deserialize)]
pub struct InteractionMember<'a> {
    /// The account.
    #[serde(borrow)]
    pub user: User<'a>,
    /// The name there.
    pub nick: Option<String>,
    /// A bit set, channel overwrites included.
    #[serde(default, deserialize_with = "number")]
    pub permissions: u64,
}

/// Reads a number that Discord writes as a text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, written as a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }
    }
    deserializer.deserialize_any(Text)
}
