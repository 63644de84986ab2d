//! A message that was not sent, or perhaps not: why, and whether it may be tried again.

use std::time::Duration;

use actions::Carried;
use protocol::DropReason;
use tokio::time::Instant;

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

impl From<Failure> for Carried {
    fn from(failure: Failure) -> Self {
        Self::dropped(failure.reason, failure.detail)
    }
}
