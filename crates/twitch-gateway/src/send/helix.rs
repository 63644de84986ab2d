//! Sending and deleting by Twitch's API. It answers whether a message was taken, which chat does not
//! say for sure, and gives the bot its badge.

use std::{pin::pin, time::Duration};

use actions::Sent;
use protocol::{ChannelId, DropReason, MessageId};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use service::chain;
use tokio::time::{Instant, timeout};

use crate::{
    body::{self, words},
    limiter::SENT_WITHIN,
    tokens::{AppToken, Identity, TokenError},
};

use super::{
    Failure,
    breaker::{Breaker, Pass},
    irc::REPEATED,
};

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take. Until there is one nothing was asked for.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A request that takes longer is still waited for, but it is the last one for a while.
const SLOW: Duration = Duration::from_secs(2);
/// How long the application's token may take; a message that can go by chat does not wait for longer.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// A client that waits no longer than that.
///
/// # Errors
/// When the system's certificates cannot be used.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .connect_timeout(CONNECT_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("vigie/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What Twitch's API says.
#[derive(Debug)]
pub enum Refusal {
    /// The API did not take the message.
    Failed(Failure),
    /// The API does not work. The message was not sent, or perhaps not.
    Broken(Failure),
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
    /// Whether it works.
    pub breaker: Breaker,
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
    /// The application's token, another one than `refused`.
    ///
    /// # Errors
    /// What is wrong, and whether it is that Twitch does not know the application; else it could not be
    /// asked.
    pub async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, (String, bool)> {
        match timeout(TOKEN_WITHIN, self.app.get(refused)).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err((chain(&error), matches!(error, TokenError::Refused { .. }))),
            Err(_elapsed) => Err((format!("TWITCH_AUTH_URL: no token within {TOKEN_WITHIN:?}"), false)),
        }
    }

    /// Asks the API a question that changes nothing.
    ///
    /// # Errors
    /// Why the API does not work.
    pub async fn look(&self, sender: &str, token: &SecretString) -> Result<(), String> {
        let request = self.request(Method::GET, "users", token).query(&[("id", sender)]).timeout(SLOW);
        let answer = request.send().await.map_err(|error| no_answer(error).detail)?;
        match answer.status().as_u16() {
            status @ (429 | 500..) => Err(failed_with(status)),
            _ => Ok(()),
        }
    }

    /// Sends one message to a channel at once, as an answer to `reply_to`
    /// (<https://dev.twitch.tv/docs/api/reference/#send-chat-message>), and tells `pass` whether the API
    /// works.
    ///
    /// # Errors
    /// [`Refusal`]; a failure is `Uncertain` when nobody knows whether the message was sent, and `unsent`
    /// when it certainly was not.
    pub async fn send(
        &self,
        pass: &mut Pass,
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
        let mut sending = pin!(self.post(token, &request));
        let sent = match timeout(SLOW, &mut sending).await {
            Ok(sent) => sent,
            Err(_elapsed) => {
                pass.failed(&format!("no answer within {SLOW:?}"));
                sending.await
            }
        };
        match &sent {
            Err(Refusal::Broken(failure)) => pass.failed(&failure.detail),
            _ => pass.worked(),
        }
        sent
    }

    async fn post(&self, token: &SecretString, request: &Request<'_>) -> Result<Sent, Refusal> {
        let started = Instant::now();
        let posted = self.request(Method::POST, "chat/messages", token).json(request).timeout(SENT_WITHIN);
        let answer = posted.send().await.map_err(|error| Refusal::Broken(no_answer(error)))?;
        match answer.status().as_u16() {
            200 => taken(answer, started).await,
            // The API's own limit, not that of messages: it was not even looked at.
            429 => {
                let detail = "twitch's API asks to wait for longer";
                Err(Refusal::Broken(Failure::unsent(DropReason::RateLimited, detail, Duration::ZERO)))
            }
            // Whoever stands before the API says 502, 503 and 504 too when it got no answer to what it had
            // passed on.
            status @ 500.. => Err(Refusal::Broken(Failure::new(DropReason::Uncertain, failed_with(status)))),
            status => Err(refusal(status, request.reply_parent_message_id.is_some(), words(answer).await)),
        }
    }

    fn request(&self, method: Method, path: &str, token: &SecretString) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/helix/{path}", self.api_url));
        request.header("Client-Id", self.app.client_id()).bearer_auth(token.expose_secret())
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

async fn taken(answer: reqwest::Response, started: Instant) -> Result<Sent, Refusal> {
    let uncertain = |detail: String| Refusal::Broken(Failure::new(DropReason::Uncertain, detail));
    let answer: Answer = body::json(answer).await.map_err(|error| uncertain(chain(&error)))?;
    let took = started.elapsed();
    match answer.data.into_iter().next() {
        Some(Taken { is_sent: true, message_id, .. }) => {
            Ok(Sent { message: MessageId::new(message_id).ok(), took })
        }
        Some(Taken { drop_reason, .. }) => {
            let Dropped { code, message } = drop_reason.unwrap_or_default();
            let words = format!("{message} ({code})");
            Err(Refusal::Failed(match code.as_str() {
                REPEATED => Failure::repeated(words),
                "msg_ratelimit" | "rate_limited" => Failure::new(DropReason::RateLimited, words),
                _ => Failure::new(DropReason::Refused, words),
            }))
        }
        None => Err(uncertain("twitch's API did not say what became of it".to_owned())),
    }
}

fn refusal(status: u16, is_reply: bool, words: String) -> Refusal {
    match status {
        401 => Refusal::Token { words },
        403 => Refusal::NotAllowed { words },
        400 | 404 if is_reply => Refusal::NoParent,
        400 | 404 | 422 => Refusal::Failed(Failure::new(DropReason::Invalid, words)),
        // What this means for the message nobody knows.
        _ => {
            Refusal::Failed(Failure::new(DropReason::Uncertain, format!("{}: {words}", failed_with(status))))
        }
    }
}

/// Without a connection nothing was asked for; otherwise it is not known whether the request was done.
fn no_answer(error: reqwest::Error) -> Failure {
    let is_connect = error.is_connect();
    let detail = format!("TWITCH_API_URL: no answer: {}", chain(&error.without_url()));
    match is_connect {
        true => Failure::unsent(DropReason::Unreachable, detail, Duration::ZERO),
        false => Failure::new(DropReason::Uncertain, detail),
    }
}

fn failed_with(status: u16) -> String {
    format!("twitch's API answers with status {status}")
}
