//! What became of an action. Every action has one outcome, or `queued` first and one more later.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{ActionId, CommunityId, MessageId, Platform},
    wire::versioned,
};

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The version of this payload.
    pub v: u16,
    /// The action.
    pub action: ActionId,
    /// Where.
    pub platform: Platform,
    /// The community it concerned.
    pub community: CommunityId,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What became of it.
    pub body: OutcomeBody,
}
versioned!(Outcome, "outcome");

/// The kinds of outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeBody {
    /// The platform took it.
    Sent {
        /// The message that came of it, where the platform tells.
        message: Option<MessageId>,
        /// How long the platform took to answer, in microseconds.
        platform_us: u64,
        /// From reading the causing event to the platform's answer, in microseconds.
        total_us: u64,
    },
    /// It waits for a rate limit longer than a person would call "at once".
    Queued {
        /// How long at least, in milliseconds.
        wait_ms: u64,
    },
    /// It was not and will not be done.
    Dropped {
        /// Why.
        reason: DropReason,
        /// The platform's own words, or what a person should know.
        detail: String,
    },
}

/// Why an action was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Its time was over before it could be done.
    Expired,
    /// It may have been done before a gateway died; the action said "rather not at all than twice".
    Uncertain,
    /// The platform's rate limit would have been exceeded for longer than the action lives.
    RateLimited,
    /// The bot may not do this there.
    Forbidden,
    /// The channel or message is gone.
    NotFound,
    /// The platform says that the request is wrong.
    Invalid,
    /// The platform has no such thing.
    Unsupported,
    /// The platform took the request and did not do it (held by AutoMod, duplicate, banned, ...).
    Refused,
    /// The platform could not be reached, or failed, for longer than the action lives.
    Unreachable,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Uncertain => "uncertain",
            Self::RateLimited => "rate_limited",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        })
    }
}
