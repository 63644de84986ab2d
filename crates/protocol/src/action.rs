//! Something to do on a platform.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    content::Content,
    id::{ActionId, ChannelId, CommunityId, EventId, MessageId, Platform},
    wire::versioned,
};

/// How long after it was decided an answer may be given, in milliseconds. See [`Action::expires_at_ms`].
pub const ACTION_LIFE_MS: u64 = 30_000;

/// Something to do. A gateway carries it out under the platform's limits and reports an
/// [`Outcome`](crate::Outcome), whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// The version of this payload.
    pub v: u16,
    /// The same however often it is asked for: it is done once.
    pub id: ActionId,
    /// Where.
    pub platform: Platform,
    /// The community it concerns.
    pub community: CommunityId,
    /// The channel it happens in. Actions in one channel keep their order.
    pub channel: ChannelId,
    /// The event that caused it.
    pub cause: EventId,
    /// When the gateway read the causing event, in Unix microseconds.
    pub cause_received_us: u64,
    /// Not to be done after this time, in Unix milliseconds: a late answer is worse than none.
    pub expires_at_ms: u64,
    /// What to do when it is not known whether it was done.
    pub delivery: Delivery,
    /// What to do.
    pub body: ActionBody,
}
versioned!(Action, "action");

/// What to do when a gateway died while it carried the action out. It matters only on Twitch, which
/// has no idempotency key for chat; Discord drops the second of two messages with one nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Rather not at all than twice: chat.
    #[default]
    AtMostOnce,
    /// Rather twice than not at all: thanks for something paid, moderation.
    AtLeastOnce,
}

/// The kinds of actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionBody {
    /// Answers a message; sends plainly when that message is gone.
    Reply {
        /// The message to answer.
        to: MessageId,
        /// What to say.
        content: Content,
    },
    /// Says something.
    Send {
        /// What to say.
        content: Content,
    },
    /// Changes a message of the bot. Not on Twitch.
    Edit {
        /// The message.
        message: MessageId,
        /// What it says from now on.
        content: Content,
    },
    /// Deletes a message. On Twitch only through Helix.
    Delete {
        /// The message.
        message: MessageId,
    },
    /// Puts a reaction under a message. Not on Twitch.
    React {
        /// The message.
        message: MessageId,
        /// A Unicode emoji.
        emoji: String,
    },
}

impl ActionBody {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Reply { .. } => "reply",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
            Self::React { .. } => "react",
        }
    }
}
