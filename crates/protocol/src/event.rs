//! What happened on a platform, in words that no platform owns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{ChannelId, CommunityId, EventId, MessageId, Platform, UserId},
    wire::versioned,
};

/// How long after it was asked a command may be answered, in milliseconds: later, the chat has moved on.
pub const COMMAND_LIFE_MS: u64 = 60_000;

/// Something that happened in a community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The version of this payload.
    pub v: u16,
    /// The same for every delivery of the same happening.
    pub id: EventId,
    /// Where it happened.
    pub platform: Platform,
    /// The community it happened in.
    pub community: CommunityId,
    /// When the platform says it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// When the gateway read it, in Unix microseconds.
    pub received_us: u64,
    /// What it is.
    pub body: EventBody,
}
versioned!(Event, "event");

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// A chat message that is not a command. Travels in a [`Batch`].
    Message(ChatMessage),
    /// A chat message that starts with the command prefix.
    Command(Command),
    /// Another channel sent its viewers over.
    Raid(Raid),
    /// Somebody subscribed, or renewed.
    Subscription(Subscription),
    /// Somebody gave subscriptions away.
    Gift(Gift),
}

impl EventBody {
    /// The `<kind>` token of the event's subject.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Command(_) => "command",
            Self::Raid(_) => "raid",
            Self::Subscription(_) => "subscription",
            Self::Gift(_) => "gift",
        }
    }
}

/// Chatter, many events in one message. One message each would cost the bus more than all the rest
/// of the work on it. The events of one channel are in order; an event may come again in a later
/// batch after a gateway was killed, so a consumer goes by [`Event::id`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// The version of this payload.
    pub v: u16,
    /// Where they happened.
    pub platform: Platform,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}
versioned!(Batch, "batch");

/// What somebody may do in a community, from least to most.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Anybody.
    #[default]
    Everyone,
    /// Discord: may moderate members or manage messages. Twitch: moderator or lead moderator.
    Moderator,
    /// Discord: owns the guild or may manage it. Twitch: the broadcaster.
    Owner,
    /// Runs the bot, by the setting `OWNER_ID`. No gateway knows: what one says counts as owner at most.
    Operator,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Author {
    /// The account.
    pub id: UserId,
    /// The name people see.
    pub name: String,
    /// Rights in the community.
    #[serde(default)]
    pub rank: Rank,
    /// Another bot. A gateway never reports what its own account wrote.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bot: bool,
}

/// A chat message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it was written.
    pub channel: ChannelId,
    /// Who wrote it.
    pub author: Author,
    /// What was written; hostile until proved otherwise.
    pub text: String,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
}

/// A chat message that asks the bot for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// The whole message.
    pub message: ChatMessage,
    /// The prefix it started with.
    pub prefix: String,
}

impl Command {
    /// What follows the prefix: the command's name and its arguments.
    #[must_use]
    pub fn line(&self) -> &str {
        self.message.text.strip_prefix(&self.prefix).unwrap_or(&self.message.text).trim()
    }
}

/// Another channel sent its viewers over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raid {
    /// Whose channel they came from.
    pub from: Author,
    /// How many.
    pub viewers: u32,
}

/// Somebody subscribed, or renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    /// Who.
    pub user: Author,
    /// Twitch's name of the tier: `Prime`, `1000`, `2000` or `3000`.
    pub plan: String,
    /// For how many months altogether, this one included.
    pub months: u32,
    /// Who paid for it, when it was a gift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gifted_by: Option<Author>,
}

/// Somebody gave subscriptions away to several people at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gift {
    /// Who gave; without it the giver stays unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Author>,
    /// Twitch's name of the tier.
    pub plan: String,
    /// How many.
    pub count: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
