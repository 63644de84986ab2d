//! Requests to Discord's REST API: how one is described, how it is sent, what can go wrong.
//!
//! `twilight-http` builds and validates requests; this sends them, because twilight's own limiter
//! reads the limit headers only of 429s and does not obey `Retry-After` of the global limit.

pub mod budget;
mod client;
mod counts;
pub mod headers;
mod limiter;

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use twilight_http::request::TryIntoRequest;

pub use client::{Reply, Rest};
pub use counts::Counts;
pub use limiter::{Limiter, Permit, Place, TooLong};

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it is limited by, and called in metrics and traces.
    pub place: Place,
    /// The method.
    pub method: Method,
    /// Path and query below `/api/v10/`.
    pub path: String,
    /// A JSON body.
    pub body: Option<Bytes>,
    /// Whether it carries the bot's token.
    pub authorized: bool,
    /// Whether the limits of the bot hold for it; they do not for interactions.
    pub limited: bool,
    /// Whether it may be sent again when nobody knows what became of it.
    pub repeatable: bool,
}

/// What keeps all requests back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Discord refused the bot's token.
    TokenRefused,
    /// Too many requests were refused; see [`budget`].
    BudgetSpent {
        /// Until when, in Unix milliseconds.
        until_ms: u64,
    },
}

/// Why there is no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// It cannot be asked so.
    #[error("the request cannot be made: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// 401.
    #[error("discord refused DISCORD_TOKEN (401); copy it anew from the developer portal, page Bot")]
    TokenRefused,
    /// The budget of invalid requests is spent.
    #[error(
        "discord refused too many requests within 10 minutes; none is sent for {} s",
        until_ms.saturating_sub(service::clock::unix_ms()) / 1000
    )]
    BudgetSpent {
        /// Until when, in Unix milliseconds.
        until_ms: u64,
    },
    /// The limit would be waited for longer than allowed.
    #[error("the rate limit asks to wait {} ms longer than the time that is left", wait.as_millis())]
    RateLimited {
        /// How long at least.
        wait: Duration,
    },
    /// Discord said no.
    #[error("discord answered {status}: {message} (code {code})")]
    Refused {
        /// The status.
        status: u16,
        /// Discord's own code: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#json>.
        code: u64,
        /// Discord's own words.
        message: String,
    },
    /// Discord failed, or could not be reached.
    #[error("discord cannot be reached: {reason}")]
    Unreachable {
        /// Why, as far as it is known.
        reason: String,
    },
}

impl RestError {
    /// Reads an answer with a 4xx status.
    fn refused(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            code: u64,
            #[serde(default)]
            message: String,
            errors: Option<Box<serde_json::value::RawValue>>,
        }
        /// Enough of Discord's words to find the mistake, in characters.
        const ENOUGH: usize = 300;
        let body = serde_json::from_slice::<Body>(body).unwrap_or(Body {
            code: 0,
            message: status.canonical_reason().unwrap_or_default().to_owned(),
            errors: None,
        });
        let errors = body.errors.map(|errors| format!(" {errors}")).unwrap_or_default();
        let message = body.message.chars().chain(errors.chars()).take(ENOUGH).collect();
        Self::Refused { status: status.as_u16(), code: body.code, message }
    }

    /// Discord's own code, when it gave one.
    #[must_use]
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl Call {
    /// What `request`, built by twilight, asks at `route`.
    ///
    /// # Errors
    /// [`RestError::Invalid`] when twilight finds that Discord would refuse it.
    pub fn new(route: &'static str, top: u64, request: impl TryIntoRequest) -> Result<Self, RestError> {
        let request = request.try_into_request().map_err(|error| {
            let mut reason = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(cause) = next {
                reason = format!("{reason}: {cause}");
                next = cause.source();
            }
            RestError::Invalid { reason }
        })?;
        let method = Method::from_bytes(request.method().name().as_bytes())
            .map_err(|error| RestError::Invalid { reason: error.to_string() })?;
        Ok(Self {
            place: Place { route, top },
            method,
            path: request.path().to_owned(),
            body: request.body().map(Bytes::copy_from_slice),
            authorized: request.use_authorization_token(),
            limited: true,
            repeatable: true,
        })
    }

    /// The same, sent again only when Discord surely did not take it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// The same, answering an interaction: the interaction's own token is in the path, and the bot's
    /// limits do not hold.
    #[must_use]
    pub fn of_interaction(mut self) -> Self {
        self.limited = false;
        self.authorized = false;
        self
    }
}

/// Waits of a call that nobody needs to know of.
pub fn silently(_: Duration) {}
