//! What the platforms say about the tokens of a bot: whose they are and what they allow; and the time
//! that they show. Nothing is changed there, and no secret is shown.

mod discord;
mod twitch;

pub(crate) use discord::{Bot, bare as bare_discord_token, discord, invitation};
pub(crate) use twitch::{APP_SCOPES, Held, SCOPES, app, bare as bare_twitch_token, twitch};

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, header::DATE};
use serde_json::Value;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

/// How long a platform may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// What Discord demands of every program: <https://docs.discord.com/developers/reference#user-agent>.
const AGENT: &str =
    concat!("DiscordBot (", env!("CARGO_PKG_REPOSITORY"), ", ", env!("CARGO_PKG_VERSION"), ")");

/// Where Discord is, unless `DISCORD_API_URL` says otherwise.
pub(crate) const DISCORD_API_URL: &str = "https://discord.com";
/// Where Twitch's tokens are looked at, unless `TWITCH_AUTH_URL` says otherwise.
pub(crate) const TWITCH_AUTH_URL: &str = "https://id.twitch.tv";

/// Why a platform says nothing about a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// It does not know the token, or no longer.
    #[error("refuses the token")]
    Refused,
    /// It cannot be reached.
    #[error("does not answer: {0}")]
    Silent(String),
    /// It says something else than it should.
    #[error("answers {0}")]
    Odd(String),
}

/// What a platform said, and by how much this machine's clock differs from its own.
#[derive(Debug)]
pub(crate) struct Heard<T> {
    pub answer: Result<T, Trouble>,
    /// Positive when this machine is ahead; exact to half a second and half of the way there and back.
    pub skew_ms: Option<i64>,
}

/// Asks the platforms.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder().timeout(PATIENCE).user_agent(AGENT).build()
}

/// Sends the request; `read` takes from the answer what is of interest.
async fn ask<T>(request: RequestBuilder, read: impl FnOnce(&Value) -> T) -> Heard<T> {
    let sent = OffsetDateTime::now_utc();
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Heard { answer: Err(Trouble::Silent(innermost(&error))), skew_ms: None },
    };
    let skew_ms = skew_ms(&answer, sent, OffsetDateTime::now_utc());
    let answer = match answer.status() {
        StatusCode::OK => body(answer).await.map(|value| read(&value)),
        StatusCode::UNAUTHORIZED => Err(Trouble::Refused),
        status => Err(Trouble::Odd(status.to_string())),
    };
    Heard { answer, skew_ms }
}

async fn body(mut answer: Response) -> Result<Value, Trouble> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| Trouble::Silent(innermost(&error)))? {
        bytes.extend_from_slice(&part);
        if bytes.len() > MAX_ANSWER {
            return Err(Trouble::Odd(format!("with more than {MAX_ANSWER} bytes")));
        }
    }
    serde_json::from_slice(&bytes).map_err(|_| Trouble::Odd("something else than expected".to_owned()))
}

/// The URL of a request may hold what must not be shown, and its cause says more anyway.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("nothing came within {} s", PATIENCE.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn skew_ms(answer: &Response, sent: OffsetDateTime, received: OffsetDateTime) -> Option<i64> {
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    // The form that RFC 9110 asks servers to send.
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let theirs = PrimitiveDateTime::parse(date, format).ok()?.assume_utc();
    // The header has whole seconds: on average the platform is half a second further.
    let ours = sent + (received - sent) / 2;
    let ahead: time::Duration = ours - theirs;
    i64::try_from(ahead.whole_milliseconds() - 500).ok()
}
