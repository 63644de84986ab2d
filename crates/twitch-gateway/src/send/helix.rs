//! Sending and deleting by Twitch's API. It answers whether a message was taken, which chat does not
//! say for sure, and gives the bot its badge.

use std::{fmt::Display, time::Duration};

use actions::Sent;
use protocol::{ChannelId, DropReason, MessageId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use service::chain;
use tokio::time::Instant;

use crate::tokens::{AppToken, Identity, words};

use super::{Failure, irc::REPEATED};

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Before a request that was not done is sent again, when Twitch names no time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest time that Twitch can name; no action lives longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A client that waits no longer than that.
///
/// # Errors
/// When the system's certificates cannot be used.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("vigie/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What Twitch's API says.
#[derive(Debug)]
pub enum Refusal {
    /// The message was not sent, or perhaps not.
    Failed(Failure),
    /// Twitch does not take the application's token, or the bot's account did not grant it to speak.
    Token {
        /// Twitch's words.
        words: String,
    },
    /// The application may not speak in this channel; chat may do.
    NotAllowed {
        /// Twitch's words.
        words: String,
    },
    /// The message it should answer is gone.
    NoParent,
}

/// Speaks as the bot, in the name of an application.
#[derive(Debug)]
pub struct Helix {
    /// Without a slash at the end.
    pub api_url: String,
    /// The application.
    pub app: AppToken,
    /// How HTTP is spoken.
    pub http: reqwest::Client,
}

#[derive(Serialize)]
struct Request<'a> {
    broadcaster_id: &'a str,
    sender_id: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_parent_message_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Taken>,
}

#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    message_id: String,
    is_sent: bool,
    #[serde(default)]
    drop_reason: Option<Dropped>,
}

#[derive(Default, Deserialize)]
struct Dropped {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Helix {
    /// Sends one message to a channel at once, as an answer to `reply_to`
    /// (<https://dev.twitch.tv/docs/api/reference/#send-chat-message>).
    ///
    /// # Errors
    /// [`Refusal`]; a failure is `Uncertain` when no answer came, and `unsent` when it may come again.
    pub async fn send(
        &self,
        channel: &ChannelId,
        sender: &str,
        token: &SecretString,
        text: &str,
        reply_to: Option<&MessageId>,
    ) -> Result<Sent, Refusal> {
        let request = Request {
            broadcaster_id: channel.as_str(),
            sender_id: sender,
            message: text,
            reply_parent_message_id: reply_to.map(MessageId::as_str),
        };
        let started = Instant::now();
        let answer = self
            .http
            .post(format!("{}/helix/chat/messages", self.api_url))
            .header("Client-Id", self.app.client_id())
            .bearer_auth(token.expose_secret())
            .json(&request)
            .send()
            .await
            .map_err(|error| Refusal::Failed(no_answer(error)))?;
        match answer.status().as_u16() {
            200 => taken(answer, started).await.map_err(Refusal::Failed),
            // Neither was done, so both may be done again.
            429 => Err(later(DropReason::RateLimited, "twitch's API asks to wait for longer", &answer)),
            503 => Err(later(DropReason::Unreachable, "twitch's API is not available", &answer)),
            status => Err(refusal(status, reply_to.is_some(), words(answer).await)),
        }
    }
}

/// Deletes a message with the bot's own token
/// (<https://dev.twitch.tv/docs/api/reference/#delete-chat-messages>).
///
/// # Errors
/// [`Failure`].
pub async fn delete(
    http: &reqwest::Client,
    api_url: &str,
    token: &SecretString,
    identity: &Identity,
    channel: &ChannelId,
    message: &MessageId,
) -> Result<Sent, Failure> {
    let started = Instant::now();
    let query = [
        ("broadcaster_id", channel.as_str()),
        ("moderator_id", &identity.user_id),
        ("message_id", message.as_str()),
    ];
    let answer = http
        .delete(format!("{api_url}/helix/moderation/chat"))
        .header("Client-Id", &identity.client_id)
        .bearer_auth(token.expose_secret())
        .query(&query)
        .send()
        .await
        .map_err(no_answer)?;
    let reason = match answer.status().as_u16() {
        200 | 204 => return Ok(Sent { message: None, took: started.elapsed() }),
        400 => DropReason::Invalid,
        401 | 403 => DropReason::Forbidden,
        404 => DropReason::NotFound,
        429 => DropReason::RateLimited,
        _ => DropReason::Unreachable,
    };
    Err(Failure::new(reason, words(answer).await))
}

async fn taken(answer: reqwest::Response, started: Instant) -> Result<Sent, Failure> {
    let answer: Answer = answer.json().await.map_err(no_answer)?;
    let took = started.elapsed();
    match answer.data.into_iter().next() {
        Some(Taken { is_sent: true, message_id, .. }) => {
            Ok(Sent { message: MessageId::new(message_id).ok(), took })
        }
        Some(Taken { drop_reason, .. }) => {
            let Dropped { code, message } = drop_reason.unwrap_or_default();
            let reason = match code.as_str() {
                REPEATED => return Err(Failure::repeated(format!("{message} ({code})"))),
                "msg_ratelimit" | "rate_limited" => DropReason::RateLimited,
                _ => DropReason::Refused,
            };
            Err(Failure::new(reason, format!("{message} ({code})")))
        }
        None => Err(Failure::new(DropReason::Uncertain, "twitch's API did not say what became of it")),
    }
}

fn refusal(status: u16, is_reply: bool, words: String) -> Refusal {
    match status {
        401 => Refusal::Token { words },
        403 => Refusal::NotAllowed { words },
        400 | 404 if is_reply => Refusal::NoParent,
        400 | 404 | 422 => dropped(DropReason::Invalid, words),
        _ => dropped(DropReason::Unreachable, format!("twitch's API failed with status {status}: {words}")),
    }
}

/// Without a connection nothing was asked for; otherwise it is not known whether the request was done.
fn no_answer(error: reqwest::Error) -> Failure {
    let is_connect = error.is_connect();
    let detail = format!("TWITCH_API_URL: no answer: {}", chain(&error.without_url()));
    match is_connect {
        true => Failure::unsent(DropReason::Unreachable, detail, PAUSE),
        false => Failure::new(DropReason::Uncertain, detail),
    }
}

fn dropped(reason: DropReason, detail: impl Display) -> Refusal {
    Refusal::Failed(Failure::new(reason, detail.to_string()))
}

/// Twitch names the second in which a new window begins (<https://dev.twitch.tv/docs/api/guide/#twitch-rate-limits>).
fn later(reason: DropReason, detail: &str, answer: &reqwest::Response) -> Refusal {
    let reset =
        answer.headers().get("Ratelimit-Reset").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let now_s = service::clock::unix_ms() / 1000;
    let wait = reset.map_or(PAUSE, |reset| Duration::from_secs(reset.saturating_sub(now_s)));
    // No answer makes anybody wait for ever.
    Refusal::Failed(Failure::unsent(reason, detail, wait.clamp(PAUSE, LONGEST_PAUSE)))
}
