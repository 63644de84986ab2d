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
    /// Twitch took it for a repetition of what was said before: in other words it may be said.
    pub repeated: bool,
}

impl Failure {
    /// A failure that is final, or after which nobody knows.
    #[must_use]
    pub fn new(reason: DropReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), unsent: None, repeated: false }
    }

    /// Nothing was sent; it may be tried again after `pause`.
    #[must_use]
    pub fn unsent(reason: DropReason, detail: impl Into<String>, pause: Duration) -> Self {
        Self { unsent: Some(Instant::now() + pause), ..Self::new(reason, detail) }
    }

    /// Twitch drops what was said in a channel a moment ago, by whichever gateway, and nothing was sent.
    #[must_use]
    pub fn repeated(detail: impl Into<String>) -> Self {
        Self { repeated: true, ..Self::unsent(DropReason::Refused, detail, Duration::ZERO) }
    }
}

impl From<Failure> for Carried {
    fn from(failure: Failure) -> Self {
        Self::dropped(failure.reason, failure.detail)
    }
}
