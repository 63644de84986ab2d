//! Carries one action out: what it asks of Discord, and what becomes of it.

use std::{sync::Arc, time::Duration};

use actions::{Act, Carried, Errand, Sent};
use protocol::{Action, ActionBody, ActionId, Content, DropReason, MessageId, Platform};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use twilight_http::{Client, request::channel::reaction::RequestReactionType};
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, MessageMarker},
};

use crate::{
    frame::Snowflake,
    refusals::Refusals,
    render::{nobody, render},
    rest::{Call, Place, Reply, Rest, RestError},
};

/// A wait that a person would not call "at once" any more.
const NOTICEABLE: Duration = Duration::from_secs(1);
/// Bytes of the hash in a nonce: twice as many characters, of which Discord takes 25.
const NONCE_BYTES: usize = 12;
/// Discord's words for what matters here.
const UNKNOWN_MESSAGE: u64 = 10008;
const INVALID_FORM: u64 = 50035;
const NO_HISTORY: u64 = 160_002;
const BLOCKED_BY_AUTOMOD: std::ops::RangeInclusive<u64> = 200_000..=200_001;

const CREATE: &str = "POST /channels/{id}/messages";
/// The same route; a reply can be refused where a plain message is not.
const REPLY: &str = "POST /channels/{id}/messages (reply)";
const EDIT: &str = "PATCH /channels/{id}/messages/{id}";
const DELETE: &str = "DELETE /channels/{id}/messages/{id}";
const REACT: &str = "PUT /channels/{id}/messages/{id}/reactions/{emoji}/@me";

/// Carries actions out.
#[derive(Debug)]
pub struct Executor {
    rest: Arc<Rest>,
    builder: Arc<Client>,
    refusals: Refusals,
}

type Channel = Id<ChannelMarker>;
type Message = Id<MessageMarker>;

impl Act for Executor {
    const PLATFORM: Platform = Platform::Discord;

    async fn act(&self, action: &Action, errand: &Errand<'_>) -> Carried {
        let on_wait = |wait| {
            if wait >= NOTICEABLE {
                errand.queued(wait);
            }
        };
        tokio::select! {
            biased;
            // A message has its nonce, and the other kinds may be done twice.
            () = errand.lost() => Carried::Left,
            carried = self.execute(action, errand.until(), &on_wait) => carried,
        }
    }
}

impl Executor {
    /// An executor that sends by `rest`.
    #[must_use]
    pub fn new(rest: Arc<Rest>, builder: Arc<Client>) -> Self {
        Self { rest, builder, refusals: Refusals::default() }
    }

    /// Carries an action out before `deadline`. `on_wait` is told of every wait for a limit.
    pub async fn execute(
        &self,
        action: &Action,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Carried {
        let outcome = match id(action.channel.as_str()) {
            Ok(channel) => self.unless_refused(action, channel, deadline, on_wait).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(reply) => Carried::Done(Sent { message: message_of(action, &reply), took: reply.took }),
            Err(error) => Carried::dropped(reason(&error), error.to_string()),
        }
    }

    async fn unless_refused(
        &self,
        action: &Action,
        channel: Channel,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Result<Reply, RestError> {
        let place = Place { route: route(&action.body), top: channel.get() };
        if let Some(refusal) = self.refusals.of(place) {
            return Err(refusal);
        }
        let outcome = self.send(action, channel, deadline, on_wait).await;
        if let Err(error) = &outcome {
            self.refusals.note(place, error);
        }
        outcome
    }

    async fn send(
        &self,
        action: &Action,
        channel: Channel,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Result<Reply, RestError> {
        let call = match &action.body {
            ActionBody::Send { content } => self.create(channel, None, content, &action.id)?,
            ActionBody::Reply { to, content } => {
                let to = id(to.as_str())?;
                let place = Place { route: REPLY, top: channel.get() };
                if self.refusals.of(place).is_none() {
                    let call = self.create(channel, Some(to), content, &action.id)?;
                    match self.rest.call(&call, deadline, on_wait).await {
                        Err(error) if cannot_be_replied_to(&error) => self.refusals.note(place, &error),
                        outcome => return outcome,
                    }
                }
                self.create(channel, None, content, &action.id)?
            }
            ActionBody::Edit { message, content } => self.edit(channel, id(message.as_str())?, content)?,
            ActionBody::Delete { message } => {
                let request = self.builder.delete_message(channel, id(message.as_str())?);
                let call = Call::new(DELETE, channel.get(), request)?;
                return match self.rest.call(&call, deadline, on_wait).await {
                    // Somebody was faster, maybe this very action before a restart.
                    Err(error) if error.code() == Some(UNKNOWN_MESSAGE) => {
                        Ok(Reply { body: bytes::Bytes::new(), took: Duration::ZERO })
                    }
                    outcome => outcome,
                };
            }
            ActionBody::React { message, emoji } => {
                let emoji = RequestReactionType::Unicode { name: emoji };
                let request = self.builder.create_reaction(channel, id(message.as_str())?, &emoji);
                Call::new(REACT, channel.get(), request)?
            }
        };
        self.rest.call(&call, deadline, on_wait).await
    }

    fn create(
        &self,
        channel: Channel,
        to: Option<Message>,
        content: &Content,
        action: &ActionId,
    ) -> Result<Call, RestError> {
        let (rendered, mentions) = (render(content), nobody());
        let mut request = self.builder.create_message(channel).allowed_mentions(Some(&mentions));
        if !rendered.text.is_empty() {
            request = request.content(&rendered.text);
        }
        if !rendered.embeds.is_empty() {
            request = request.embeds(&rendered.embeds);
        }
        if !rendered.components.is_empty() {
            request = request.components(&rendered.components);
        }
        if let Some(to) = to {
            request = request.reply(to).fail_if_not_exists(false);
        }
        let mut call = Call::new(CREATE, channel.get(), request)?;
        call.body = call.body.map(|body| with_nonce(&body, action));
        Ok(call)
    }

    fn edit(&self, channel: Channel, message: Message, content: &Content) -> Result<Call, RestError> {
        let (rendered, mentions) = (render(content), nobody());
        let request = self
            .builder
            .update_message(channel, message)
            .content(Some(&rendered.text))
            .embeds(Some(&rendered.embeds))
            .components(Some(&rendered.components))
            .allowed_mentions(Some(&mentions));
        Call::new(EDIT, channel.get(), request)
    }
}

/// The same for the same action, however often it is asked for.
#[must_use]
pub fn nonce(action: &ActionId) -> String {
    let hash = Sha256::digest(action.as_str());
    hash.iter().take(NONCE_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Puts the nonce into a body. twilight knows only numbers as nonces and no `enforce_nonce`, with
/// which Discord answers a second message with the first one instead of sending it.
fn with_nonce(body: &[u8], action: &ActionId) -> bytes::Bytes {
    let Some(fields) = body.strip_suffix(b"}") else { return bytes::Bytes::copy_from_slice(body) };
    let separator = if fields == b"{" { "" } else { "," };
    let nonce = format!("{separator}\"nonce\":\"{}\",\"enforce_nonce\":true}}", nonce(action));
    [fields, nonce.as_bytes()].concat().into()
}

fn id<T>(text: &str) -> Result<Id<T>, RestError> {
    text.parse()
        .ok()
        .and_then(Id::new_checked)
        .ok_or_else(|| RestError::Invalid { reason: format!("{text} is not a discord id") })
}

const fn route(body: &ActionBody) -> &'static str {
    match body {
        ActionBody::Send { .. } | ActionBody::Reply { .. } => CREATE,
        ActionBody::Edit { .. } => EDIT,
        ActionBody::Delete { .. } => DELETE,
        ActionBody::React { .. } => REACT,
    }
}

/// The message is gone, or the bot may not read the channel's history, which replying takes. A plain
/// message may still be sent.
fn cannot_be_replied_to(error: &RestError) -> bool {
    match error {
        RestError::Refused { code, message, .. } => {
            matches!(*code, UNKNOWN_MESSAGE | NO_HISTORY)
                || *code == INVALID_FORM && message.contains("message_reference")
        }
        _ => false,
    }
}

fn reason(error: &RestError) -> DropReason {
    match error {
        RestError::Invalid { .. } => DropReason::Invalid,
        RestError::TokenRefused | RestError::Unreachable { .. } => DropReason::Unreachable,
        RestError::BudgetSpent { .. } | RestError::RateLimited { .. } => DropReason::RateLimited,
        RestError::Refused { code, .. } if BLOCKED_BY_AUTOMOD.contains(code) => DropReason::Refused,
        RestError::Refused { status: 403, .. } => DropReason::Forbidden,
        RestError::Refused { status: 404, .. } => DropReason::NotFound,
        RestError::Refused { status: 400 | 413, .. } => DropReason::Invalid,
        RestError::Refused { .. } => DropReason::Refused,
    }
}

fn message_of(action: &Action, reply: &Reply) -> Option<MessageId> {
    #[derive(Deserialize)]
    struct Made {
        id: Snowflake,
    }
    match &action.body {
        ActionBody::Reply { .. } | ActionBody::Send { .. } => {
            reply.json::<Made>().ok().map(|made| made.id.0.into())
        }
        ActionBody::Edit { message, .. } => Some(message.clone()),
        ActionBody::Delete { .. } | ActionBody::React { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::EventId;

    use super::*;

    #[test]
    fn a_nonce_is_short_and_always_the_same() {
        let action = EventId::of_platform(Platform::Discord, "1234567890123456789").unwrap().action(0);
        assert_eq!(nonce(&action), nonce(&action));
        assert_eq!(nonce(&action).len(), 24);
        let body = with_nonce(br#"{"content":"a}"}"#, &action);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["content"], &body["enforce_nonce"]), (&"a}".into(), &true.into()));
    }

    #[test]
    fn without_the_right_to_read_the_history_a_plain_message_is_sent() {
        let refused = |code| RestError::Refused { status: 403, code, message: String::new() };
        assert!(cannot_be_replied_to(&refused(160_002)));
        assert!(!cannot_be_replied_to(&refused(50013)));
    }
}
