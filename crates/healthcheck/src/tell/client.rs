//! HTTP to the outside, bounded, and failures without the address, which is a secret.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url, redirect::Policy};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// So much of a refusal is shown.
const SHOWN_CHARACTERS: usize = 200;
/// Such an answer is not read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Why somebody was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For a person.
    pub reason: String,
    /// When it is worth trying again.
    pub again: Again,
}

/// When it is worth trying again what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Soon: it may pass by itself.
    Soon,
    /// Now and then: it was refused, until somebody mends the other side.
    Late,
    /// Not before the next start: whoever was asked wants it so.
    Never,
}

impl Failure {
    /// One that may pass.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: Again::Soon }
    }
}

/// A client; it follows no redirect, since a message is for nobody but whom it is addressed to.
#[derive(Clone, Debug)]
pub struct Client(reqwest::Client);

impl Client {
    /// Reads the certificates that this machine trusts.
    ///
    /// # Errors
    /// When TLS cannot be started.
    pub fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_LIMIT)
            .redirect(Policy::none())
            .user_agent(concat!("vigie/", env!("CARGO_PKG_VERSION")))
            // An alarm a day keeps no connection warm.
            .pool_max_idle_per_host(0);
        Ok(Self(client.build()?))
    }

    /// A `POST`, to be sent with [`send`](Self::send).
    pub fn post(&self, url: Url) -> RequestBuilder {
        self.0.request(Method::POST, url)
    }

    /// A `GET`, to be sent with [`send`](Self::send).
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.0.request(Method::GET, url)
    }

    /// Sends it, once.
    ///
    /// # Errors
    /// When nobody answers, or the answer is not a success.
    pub async fn send(&self, request: RequestBuilder) -> Result<(), Failure> {
        let answer = request.send().await.map_err(|error| {
            // The address is a secret.
            Failure::passing(service::chain(&error.without_url()))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = match answer.content_length() {
            Some(length) if length <= MAX_ANSWER_BYTES => answer.text().await.unwrap_or_default(),
            _ => String::new(),
        };
        let said: String = said.chars().take(SHOWN_CHARACTERS).collect();
        let colon = if said.trim().is_empty() { "" } else { ": " };
        let reason = format!("{status}{colon}{}", crate::words::harmless(said.trim()));
        Err(Failure { reason, again: if is_refusal(status) { Again::Late } else { Again::Soon } })
    }
}

/// The address is gone, or not ours; a proxy before it that is being set up says so as well.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    )
}
