//! Carrying out actions: which text, by which way, when.

pub mod helix;
pub mod irc;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{Action, ActionBody, ChannelId, Content, Delivery, DropReason, MessageId};
use secrecy::SecretString;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use crate::{
    chat::Chat,
    limiter::{Limiter, Standing},
    text,
    tokens::Validity,
};
use helix::{Helix, Refusal};

/// A wait that a person would not call "at once" any more.
const NOTICEABLE: Duration = Duration::from_secs(2);
/// How long chat is used after the API said that the application may not speak.
const FALL_BACK_FOR: Duration = Duration::from_secs(10 * 60);
/// How long Twitch takes a text for a repetition of the one before it: 30 s, with margin.
const REPETITION: Duration = Duration::from_secs(32);
/// Channels whose last text, or whose way, is remembered before the list is swept.
const SWEEP_AT: usize = 256;
/// How often a message that may be sent twice is tried when it is not known whether it was sent.
const TRIES: u32 = 3;

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
}

impl Failure {
    /// A failure.
    #[must_use]
    pub fn new(reason: DropReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It was done.
    Done(Sent),
    /// It was not done and will not be.
    Dropped(Failure),
    /// The service stops before anything was done: somebody else may do it.
    Interrupted,
}

/// What an action needs of those who gave it.
pub trait Errand {
    /// The action is about to be done. What may be done once only must not come again from here on.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
    /// It waits, for at least so long.
    fn queued(&self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// Speaks for the account.
#[derive(Debug)]
pub struct Speaker {
    /// The account on chat.
    pub chat: Arc<Chat>,
    /// The application that speaks in its name, if there is one.
    pub helix: Option<Helix>,
    /// The account's limits.
    pub limiter: Limiter,
    /// How HTTP is spoken.
    pub http: reqwest::Client,
    /// Twitch's API, without a slash at the end.
    pub api_url: String,
    /// The account's token.
    pub token: SecretString,
    /// Whose it is.
    pub validity: watch::Receiver<Validity>,
    /// What is remembered of channels.
    pub memory: Memory,
    /// No new action is begun once this is cancelled.
    pub shutdown: CancellationToken,
}

/// What is remembered of channels.
#[derive(Debug, Default)]
pub struct Memory {
    last_said: Mutex<HashMap<ChannelId, (Instant, String)>>,
    /// Until when chat is used; `None` stands for all channels.
    fall_back: Mutex<HashMap<Option<ChannelId>, Instant>>,
}

/// What several parts of one message have in common.
struct Say<'a> {
    channel: &'a ChannelId,
    reply_to: Option<&'a MessageId>,
    until: Instant,
    delivery: Delivery,
}

impl Speaker {
    /// Does what an action says, before `until`.
    pub async fn carry_out(
        &self,
        action: &Action,
        until: Instant,
        errand: &mut (impl Errand + Send),
    ) -> Carried {
        let unsupported = |what: &str| Carried::Dropped(Failure::new(DropReason::Unsupported, what));
        match &action.body {
            ActionBody::Reply { to, content } => self.say(action, content, Some(to), until, errand).await,
            ActionBody::Send { content } => self.say(action, content, None, until, errand).await,
            ActionBody::Delete { message } => self.delete(action, message, errand).await,
            ActionBody::Edit { .. } => unsupported("a Twitch message cannot be changed"),
            ActionBody::React { .. } => unsupported("Twitch has no reactions"),
        }
    }

    async fn say(
        &self,
        action: &Action,
        content: &Content,
        reply_to: Option<&MessageId>,
        until: Instant,
        errand: &mut (impl Errand + Send),
    ) -> Carried {
        let say = Say { channel: &action.channel, reply_to, until, delivery: action.delivery };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Carried::Interrupted,
            () = self.known(&say) => {}
        }
        let parts = text::render(content);
        let count = parts.len();
        let mut first: Option<Sent> = None;
        for (index, part) in parts.into_iter().enumerate() {
            match self.part(&say, &part, index == 0, errand).await {
                Carried::Done(sent) => {
                    let whole = first.get_or_insert_with(|| Sent { took: Duration::ZERO, ..sent.clone() });
                    whole.took += sent.took;
                }
                Carried::Dropped(mut failure) => {
                    if count > 1 {
                        failure.detail = format!("part {} of {count}: {}", index + 1, failure.detail);
                    }
                    return Carried::Dropped(failure);
                }
                Carried::Interrupted if index == 0 => return Carried::Interrupted,
                Carried::Interrupted => {
                    let detail = format!("the gateway stopped after {index} of {count} parts");
                    return Carried::Dropped(Failure::new(DropReason::Uncertain, detail));
                }
            }
        }
        match first {
            Some(sent) => Carried::Done(sent),
            None => {
                Carried::Dropped(Failure::new(DropReason::Invalid, "nothing in it can be shown on Twitch"))
            }
        }
    }

    async fn part(
        &self,
        say: &Say<'_>,
        part: &str,
        is_first: bool,
        errand: &mut (impl Errand + Send),
    ) -> Carried {
        let mut tries = 0;
        loop {
            let login = self.chat.rooms.login(say.channel);
            let standing = login.map(|login| self.chat.rooms.standing(&login)).unwrap_or_default();
            let wait = self.limiter.estimate(say.channel.as_str(), standing);
            if wait > NOTICEABLE && is_first && tries == 0 {
                errand.queued(wait).await;
            }
            let allowed = tokio::select! {
                biased;
                allowed = self.limiter.acquire(say.channel.as_str(), standing, say.until) => allowed,
                () = self.shutdown.cancelled() => return Carried::Interrupted,
            };
            if let Err(exceeded) = allowed {
                return Carried::Dropped(Failure::new(DropReason::RateLimited, exceeded.to_string()));
            }
            if let Err(failure) = errand.commit().await {
                return Carried::Dropped(failure);
            }
            tries += 1;
            let text = self.memory.distinct(say.channel, part, standing);
            let outcome = self.send(say, &text).await;
            if matches!(&outcome, Err(failure) if failure.reason == DropReason::RateLimited) {
                // Somebody else speaks for the account too. To go on now could cost it an hour.
                self.limiter.exhaust();
            }
            match outcome {
                Ok(sent) => return Carried::Done(sent),
                Err(failure) if tries < TRIES && may_try_again(say, &failure) => {
                    warn!(channel = %say.channel, reason = %failure.reason, detail = failure.detail, "trying again");
                }
                Err(failure) => return Carried::Dropped(failure),
            }
        }
    }

    /// Waits until the account is known and, where chat is the way, the channel: a service that has
    /// just started finds actions before it has joined anything.
    async fn known(&self, say: &Say<'_>) {
        let mut validity = self.validity.clone();
        let checked = validity.wait_for(|validity| *validity != Validity::Unknown);
        // Neither the time that is up nor the end of the checks changes what follows.
        let _ = timeout_at(say.until, checked).await;
        if self.helix.is_none() || self.memory.falls_back(say.channel) {
            self.chat.rooms.find(say.channel, say.until).await;
        }
    }

    /// By the API when it may be used here, else by chat.
    async fn send(&self, say: &Say<'_>, text: &str) -> Result<Sent, Failure> {
        let mut not_allowed = None;
        if let (Some(helix), Some(sender)) = (&self.helix, self.chat.own_id.get())
            && !self.memory.falls_back(say.channel)
        {
            let span = info_span!("twitch.send", way = "helix", channel = %say.channel);
            let send = |reply_to| {
                helix.send(say.channel, sender, text, reply_to, say.until).instrument(span.clone())
            };
            let outcome = match send(say.reply_to).await {
                // The message that it answers is gone: said plainly it is still worth reading.
                Err(Refusal::NoParent) => send(None).await,
                other => other,
            };
            match outcome {
                Ok(sent) => return Ok(sent),
                Err(Refusal::Failed(failure)) => return Err(failure),
                Err(Refusal::NoParent) => {
                    return Err(Failure::new(
                        DropReason::Invalid,
                        "twitch's API takes the message for wrong",
                    ));
                }
                Err(Refusal::NotAllowed { everywhere, words }) => {
                    self.memory.fall_back(say.channel, everywhere);
                    warn!(
                        channel = %say.channel,
                        reason = words,
                        "the application may not speak here: the bot's account must grant it user:bot and \
                         user:write:chat, and the broadcaster channel:bot or moderator; using chat for 10 min"
                    );
                    not_allowed = Some(words);
                }
            }
        }
        let Some(login) = self.chat.rooms.find(say.channel, say.until).await else {
            let detail = not_allowed
                .unwrap_or_else(|| "the channel is not joined: is it in TWITCH_CHANNELS?".to_owned());
            return Err(Failure::new(DropReason::NotFound, detail));
        };
        let span = info_span!("twitch.send", way = "irc", channel = %say.channel);
        irc::send(&self.chat, &login, text, say.reply_to, say.until).instrument(span).await
    }

    async fn delete(
        &self,
        action: &Action,
        message: &MessageId,
        errand: &mut (impl Errand + Send),
    ) -> Carried {
        let identity = match &*self.validity.borrow() {
            Validity::Valid(identity) if identity.may_delete() => identity.clone(),
            _ => {
                let detail = "deleting needs a TWITCH_OAUTH_TOKEN with moderator:manage:chat_messages";
                return Carried::Dropped(Failure::new(DropReason::Unsupported, detail));
            }
        };
        if let Err(failure) = errand.commit().await {
            return Carried::Dropped(failure);
        }
        let span = info_span!("twitch.send", way = "helix", channel = %action.channel);
        let delete =
            helix::delete(&self.http, &self.api_url, &self.token, &identity, &action.channel, message);
        match delete.instrument(span).await {
            Ok(sent) => Carried::Done(sent),
            Err(failure) => Carried::Dropped(failure),
        }
    }
}

fn may_try_again(say: &Say<'_>, failure: &Failure) -> bool {
    say.delivery == Delivery::AtLeastOnce
        && matches!(failure.reason, DropReason::Uncertain | DropReason::Unreachable)
        && Instant::now() < say.until
}

impl Memory {
    /// The text, or one that looks the same when it was the last one here a moment ago. Moderators and
    /// VIPs may repeat themselves.
    fn distinct(&self, channel: &ChannelId, text: &str, standing: Standing) -> String {
        let now = Instant::now();
        let mut last_said = self.last_said.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = standing == Standing::Normal
            && last_said.get(channel).is_some_and(|(at, said)| said == text && *at + REPETITION > now);
        let text = if repeated { text::differing(text) } else { text.to_owned() };
        if last_said.len() >= SWEEP_AT {
            last_said.retain(|_, (at, _)| *at + REPETITION > now);
        }
        last_said.insert(channel.clone(), (now, text.clone()));
        text
    }

    fn falls_back(&self, channel: &ChannelId) -> bool {
        let now = Instant::now();
        let fall_back = self.fall_back.lock().unwrap_or_else(PoisonError::into_inner);
        let is_on = |key: &Option<ChannelId>| fall_back.get(key).is_some_and(|until| *until > now);
        is_on(&None) || is_on(&Some(channel.clone()))
    }

    fn fall_back(&self, channel: &ChannelId, everywhere: bool) {
        let now = Instant::now();
        let mut fall_back = self.fall_back.lock().unwrap_or_else(PoisonError::into_inner);
        if fall_back.len() >= SWEEP_AT {
            fall_back.retain(|_, until| *until > now);
        }
        fall_back.insert((!everywhere).then(|| channel.clone()), now + FALL_BACK_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_repeated_text_differs_unless_the_bot_may_repeat_itself() {
        let (memory, channel) = (Memory::default(), ChannelId::from(1));
        let say = |standing| memory.distinct(&channel, "pong", standing);
        assert_eq!(say(Standing::Normal), "pong");
        let second = say(Standing::Normal);
        assert_ne!(second, "pong");
        assert_eq!(text::without_difference(&second), "pong");
        assert_eq!(say(Standing::Normal), "pong");
        assert_eq!(say(Standing::Elevated), "pong");
        tokio::time::advance(REPETITION).await;
        assert_eq!(say(Standing::Normal), "pong");
    }
}
