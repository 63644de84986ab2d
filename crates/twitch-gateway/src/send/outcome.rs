//! What may become of a message, and what is asked of those who gave it.

use std::time::Duration;

use protocol::{DropReason, MessageId};
use tokio::time::Instant;

/// A message that Twitch took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id, where Twitch tells.
    pub message: Option<MessageId>,
    /// How long Twitch took to answer.
    pub took: Duration,
}

/// A message that was not sent, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: DropReason,
    /// Twitch's words, or what a person should know.
    pub detail: String,
    /// It was certainly not sent, and may be tried again from then on.
    pub unsent: Option<Instant>,
}

impl Failure {
    /// A failure that is final, or after which nobody knows.
    #[must_use]
    pub fn new(reason: DropReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), unsent: None }
    }

    /// Nothing was sent; it may be tried again after `pause`.
    #[must_use]
    pub fn unsent(reason: DropReason, detail: impl Into<String>, pause: Duration) -> Self {
        Self { unsent: Some(Instant::now() + pause), ..Self::new(reason, detail) }
    }
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It was done.
    Done(Sent),
    /// It was not done and will not be.
    Dropped(Failure),
    /// It may be somebody else's by now: it is left to them.
    Left,
    /// The service stops before anything was done: somebody else may do it.
    Interrupted,
}

/// Why an action may not be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncommitted {
    /// It may be somebody else's by now.
    Left,
    /// It is too late, or not known whose it is.
    Dropped(Failure),
}

/// What an action needs of those who gave it.
pub trait Errand: Send + Sync {
    /// The action is about to be done. What may be done once only must not come again from here on.
    fn commit(&mut self) -> impl Future<Output = Result<(), Uncommitted>> + Send;
    /// It waits, for at least so long.
    fn queued(&self, wait: Duration) -> impl Future<Output = ()> + Send;
}
