//! How an action ends.

use std::time::Duration;

use protocol::{DropReason, MessageId};

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It was done.
    Done(Sent),
    /// It was not done and will not be.
    Dropped {
        /// Why.
        reason: DropReason,
        /// The platform's words, or what a person should know.
        detail: String,
    },
    /// It may be somebody else's by now: it is left to them.
    Left,
    /// It was asked to stop before anything was done: somebody else may do it.
    Interrupted,
}

/// What the platform took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message that came of it, where the platform tells.
    pub message: Option<MessageId>,
    /// How long the platform took to answer.
    pub took: Duration,
}

impl Carried {
    /// It was not done and will not be.
    #[must_use]
    pub fn dropped(reason: DropReason, detail: impl Into<String>) -> Self {
        Self::Dropped { reason, detail: detail.into() }
    }
}
