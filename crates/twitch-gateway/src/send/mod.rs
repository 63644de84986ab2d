//! Carrying out actions: which text, by which way, when.

pub mod breaker;
mod failure;
pub mod helix;
pub mod irc;
mod memory;

use std::{sync::Arc, time::Duration};

use actions::{Act, Carried, Errand, Sent};
use protocol::{Action, ActionBody, ChannelId, Content, Delivery, DropReason, MessageId, Platform};
use secrecy::SecretString;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{Instrument as _, debug, info_span, warn};

use crate::{
    chat::Chat,
    limiter::{Limiter, Place, Recorded, Standing},
    rooms::Line,
    text,
    tokens::Validity,
};
use breaker::Pass;
pub use failure::Failure;
use helix::{Helix, Refusal};
pub use memory::Memory;

/// A wait that a person would not call "at once" any more.
const NOTICEABLE: Duration = Duration::from_secs(2);
/// Before a message that was certainly not sent is tried again, where nothing else says when.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a message that may be sent twice is tried when it is not known whether it was sent.
const TRIES: u32 = 3;

/// Speaks for the account.
#[derive(Debug)]
pub struct Speaker {
    /// The account on chat.
    pub chat: Arc<Chat>,
    /// The application that speaks in its name, if there is one.
    pub helix: Option<Helix>,
    /// The account's limits.
    pub limiter: Arc<Limiter>,
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
}

/// What several parts of one message have in common.
struct Say<'a> {
    channel: &'a ChannelId,
    reply_to: Option<&'a MessageId>,
    until: Instant,
    delivery: Delivery,
}

/// How far one part has come.
#[derive(Default)]
struct Progress {
    /// How often it was perhaps sent.
    tries: u32,
    /// The words that were chosen for this try.
    text: Option<String>,
    /// Whether Twitch took it for a repetition.
    repeated: bool,
    /// A place in the account's limit that was not used.
    place: Option<Place>,
    /// A token that Twitch did not take.
    refused: Option<SecretString>,
    /// Why the API could not be used.
    trouble: Option<String>,
}

/// By which way a message can be sent at once.
enum Way<'a> {
    Helix { helix: &'a Helix, sender: &'a str, token: SecretString, pass: Pass },
    Chat { login: String, line: Line },
}

impl Act for Speaker {
    const PLATFORM: Platform = Platform::Twitch;

    async fn act(&self, action: &Action, errand: &Errand<'_>) -> Carried {
        let unsupported = |what: &str| Carried::dropped(DropReason::Unsupported, what);
        match &action.body {
            ActionBody::Reply { to, content } => self.say(action, content, Some(to), errand).await,
            ActionBody::Send { content } => self.say(action, content, None, errand).await,
            ActionBody::Delete { message } => self.delete(action, message, errand).await,
            ActionBody::Edit { .. } => unsupported("a Twitch message cannot be changed"),
            ActionBody::React { .. } => unsupported("Twitch has no reactions"),
        }
    }
}

impl Speaker {
    async fn say(
        &self,
        action: &Action,
        content: &Content,
        reply_to: Option<&MessageId>,
        errand: &Errand<'_>,
    ) -> Carried {
        let until = errand.until();
        let mut say = Say { channel: &action.channel, reply_to, until, delivery: action.delivery };
        let parts = text::render(content);
        let count = parts.len();
        let mut first: Option<Sent> = None;
        for (index, part) in parts.into_iter().enumerate() {
            match self.part(&mut say, &part, &mut Progress::default(), errand).await {
                Carried::Done(sent) => {
                    let whole = first.get_or_insert_with(|| Sent { took: Duration::ZERO, ..sent.clone() });
                    whole.took += sent.took;
                }
                Carried::Dropped { reason, detail } if count > 1 => {
                    return Carried::dropped(reason, format!("part {} of {count}: {detail}", index + 1));
                }
                Carried::Interrupted if index > 0 => {
                    let detail = format!("the gateway stopped after {index} of {count} parts");
                    return Carried::dropped(DropReason::Uncertain, detail);
                }
                other => return other,
            }
        }
        match first {
            Some(sent) => Carried::Done(sent),
            None => Carried::dropped(DropReason::Invalid, "nothing in it can be shown on Twitch"),
        }
    }

    /// Sends one part. All that may take time comes first, then the account's limit, then the word that
    /// it comes only once; after that nothing waits any more.
    async fn part(
        &self,
        say: &mut Say<'_>,
        part: &str,
        progress: &mut Progress,
        errand: &Errand<'_>,
    ) -> Carried {
        loop {
            let prepared = tokio::select! {
                biased;
                () = errand.stopping() => return Carried::Interrupted,
                prepared = self.prepare(say, progress, errand) => prepared,
            };
            let (way, place) = match prepared {
                Ok(prepared) => prepared,
                Err(failure) => return failure.into(),
            };
            if let Err(ended) = errand.commit().await {
                return ended;
            }
            if !place.is_fresh() {
                continue;
            }
            let standing = self.standing(say.channel);
            let text = progress
                .text
                .get_or_insert_with(|| self.memory.distinct(say.channel, part, standing))
                .clone();
            let failure = match self.send(say, way, place, &text, progress).await {
                Ok(sent) => return Carried::Done(sent),
                Err(failure) => failure,
            };
            // What was not sent exceeded the API's own limit, not that of messages.
            if failure.reason == DropReason::RateLimited && failure.unsent.is_none() {
                self.too_much(say.channel);
            }
            // What was said here before this gateway began is Twitch's to know.
            if failure.repeated {
                if std::mem::replace(&mut progress.repeated, true) {
                    return failure.into();
                }
                progress.text = Some(self.memory.differing(say.channel, &text));
            }
            match failure.unsent {
                Some(at) if at < say.until => {
                    debug!(channel = %say.channel, detail = failure.detail, "not sent; trying again");
                    tokio::select! {
                        () = errand.stopping() => return Carried::Interrupted,
                        () = sleep_until(at) => {}
                    }
                }
                None if progress.tries < TRIES && may_try_again(say, &failure) => {
                    warn!(channel = %say.channel, reason = %failure.reason, detail = failure.detail, "trying again");
                    progress.text = None;
                }
                _ => return failure.into(),
            }
        }
    }

    /// Waits until there is a way, and a place in the account's limit that is on record.
    async fn prepare(
        &self,
        say: &Say<'_>,
        progress: &mut Progress,
        errand: &Errand<'_>,
    ) -> Result<(Way<'_>, Place), Failure> {
        loop {
            let way = self.way(say, progress).await?;
            let place = match progress.place.take().filter(Place::is_fresh) {
                Some(place) => place,
                None => self.place(say, errand).await?,
            };
            match self.limiter.covered(&place, say.until).await {
                Recorded::Yes => {}
                Recorded::TakenBack => continue,
                Recorded::Late => {
                    let detail = "NATS did not record in time that this is sent";
                    return Err(Failure::new(DropReason::Expired, detail));
                }
            }
            // While it waited for its turn the connection may have ended, or the API have failed.
            if way.is_open() {
                return Ok((way, place));
            }
            progress.place = Some(place);
        }
    }

    async fn place(&self, say: &Say<'_>, errand: &Errand<'_>) -> Result<Place, Failure> {
        let (channel, standing) = (say.channel.as_str(), self.standing(say.channel));
        let wait = self.limiter.estimate(channel, standing);
        if wait > NOTICEABLE {
            errand.queued(wait);
        }
        let place = self.limiter.acquire(channel, standing, say.until).await;
        place.map_err(|exceeded| Failure::new(DropReason::RateLimited, exceeded.to_string()))
    }

    fn standing(&self, channel: &ChannelId) -> Standing {
        let login = self.chat.rooms.login(channel);
        login.map(|login| self.chat.rooms.standing(&login)).unwrap_or_default()
    }

    /// By the API when it may be used here and works, else by chat: a service that has just started finds
    /// actions before it knows itself and has joined anything.
    async fn way(&self, say: &Say<'_>, progress: &mut Progress) -> Result<Way<'_>, Failure> {
        self.checked(say.until).await;
        loop {
            if let Some(way) = self.by_api(say, progress).await {
                return Ok(way);
            }
            tokio::select! {
                biased;
                way = self.by_chat(say, progress) => return way,
                // Neither works; what comes back first is taken.
                () = self.api_opens(say) => {}
            }
        }
    }

    async fn by_api(&self, say: &Say<'_>, progress: &mut Progress) -> Option<Way<'_>> {
        let (helix, sender) = self.api(say)?;
        let mut pass = helix.breaker.pass()?;
        let trouble = match helix.token(progress.refused.as_ref()).await {
            Ok(token) if !pass.is_trial() => return Some(Way::Helix { helix, sender, token, pass }),
            Ok(token) => match helix.look(sender, &token).await {
                Ok(()) => return Some(Way::Helix { helix, sender, token, pass }),
                Err(trouble) => trouble,
            },
            Err((trouble, true)) => {
                self.not_allowed(say.channel, true, trouble, progress);
                return None;
            }
            Err((trouble, false)) => trouble,
        };
        pass.failed(&trouble);
        progress.trouble = Some(trouble);
        None
    }

    async fn by_chat(&self, say: &Say<'_>, progress: &Progress) -> Result<Way<'static>, Failure> {
        let Some(login) = self.chat.rooms.find(say.channel, say.until).await else {
            let not_joined = "the channel is not joined: is it in TWITCH_CHANNELS?";
            let detail = progress.trouble.as_deref().unwrap_or(not_joined);
            return Err(Failure::new(DropReason::NotFound, detail));
        };
        let line = irc::line(&self.chat, &login, say.until).await?;
        Ok(Way::Chat { login, line })
    }

    /// The API and who speaks by it, where that is allowed.
    fn api(&self, say: &Say<'_>) -> Option<(&Helix, &str)> {
        let (helix, sender) = (self.helix.as_ref()?, self.chat.own_id.get()?);
        (!self.memory.falls_back(say.channel)).then_some((helix, sender))
    }

    async fn api_opens(&self, say: &Say<'_>) {
        match self.api(say) {
            Some((helix, _)) => helix.breaker.opens().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the account's token was checked. Neither the time that is up nor the end of the checks
    /// changes what follows.
    async fn checked(&self, until: Instant) {
        let mut validity = self.validity.clone();
        let checked = validity.wait_for(|validity| *validity != Validity::Unknown);
        let _ = timeout_at(until, checked).await;
    }

    /// Sends a text for which there is a `place`, which is kept when it was not used.
    async fn send(
        &self,
        say: &mut Say<'_>,
        way: Way<'_>,
        place: Place,
        text: &str,
        progress: &mut Progress,
    ) -> Result<Sent, Failure> {
        let name = way.name();
        let span = info_span!("twitch.send", way = name, channel = %say.channel);
        let (helix, sender, token, mut pass) = match way {
            Way::Helix { helix, sender, token, pass } => (helix, sender, token, pass),
            Way::Chat { login, line } => {
                let sent = irc::send(&self.chat, &login, &line, text, say.reply_to).instrument(span).await;
                return self.note(name, sent, place, progress);
            }
        };
        let sending = helix.send(&mut pass, say.channel, sender, &token, text, say.reply_to);
        let sent = sending.instrument(span).await;
        let unsent = |words: String| Failure::unsent(DropReason::Forbidden, words, Duration::ZERO);
        match sent {
            Ok(sent) => self.note(name, Ok(sent), place, progress),
            Err(Refusal::Failed(failure) | Refusal::Broken(failure)) => {
                self.note(name, Err(failure), place, progress)
            }
            // The message that it answers is gone: said plainly it is still worth reading.
            Err(Refusal::NoParent) => {
                say.reply_to = None;
                Err(unsent("the message that it answers is gone".to_owned()))
            }
            Err(Refusal::Token { words }) => {
                // The first time another token may be enough.
                if progress.refused.replace(token).is_some() {
                    self.not_allowed(say.channel, true, words.clone(), progress);
                }
                Err(unsent(words))
            }
            Err(Refusal::NotAllowed { words }) => {
                self.not_allowed(say.channel, false, words.clone(), progress);
                Err(unsent(words))
            }
        }
    }

    /// Counts what was sent, what perhaps was, and keeps the place of what Twitch did not even see.
    fn note(
        &self,
        way: &'static str,
        sent: Result<Sent, Failure>,
        place: Place,
        progress: &mut Progress,
    ) -> Result<Sent, Failure> {
        match &sent {
            Ok(_) => _ = self.chat.stats.sent.with(way).inc(),
            Err(failure) if failure.unsent.is_none() => progress.tries += 1,
            Err(failure) if failure.repeated => {}
            Err(_) => progress.place = Some(place),
        }
        sent
    }

    fn not_allowed(&self, channel: &ChannelId, everywhere: bool, words: String, progress: &mut Progress) {
        self.memory.fall_back(channel, everywhere);
        warn!(
            %channel,
            reason = words,
            "the application may not speak here: the bot's account must grant it user:bot and \
             user:write:chat, and the broadcaster channel:bot or moderator; using chat for 10 min"
        );
        progress.trouble = Some(words);
    }

    /// Twitch says that too much was said: the bot is not what it was taken for, or somebody else speaks
    /// for the account too. To go on now could cost it an hour.
    fn too_much(&self, channel: &ChannelId) {
        if let Some(login) = self.chat.rooms.login(channel) {
            self.chat.rooms.set_standing(&login, Standing::Normal);
        }
        self.limiter.exhaust();
    }

    async fn delete(&self, action: &Action, message: &MessageId, errand: &Errand<'_>) -> Carried {
        tokio::select! {
            biased;
            () = errand.stopping() => return Carried::Interrupted,
            () = self.checked(errand.until()) => {}
        }
        let identity = match &*self.validity.borrow() {
            Validity::Valid(identity) if identity.may_delete() => identity.clone(),
            _ => {
                let detail = "deleting needs a TWITCH_OAUTH_TOKEN with moderator:manage:chat_messages";
                return Carried::dropped(DropReason::Unsupported, detail);
            }
        };
        if let Err(ended) = errand.commit().await {
            return ended;
        }
        let span = info_span!("twitch.send", way = "helix", channel = %action.channel);
        let delete =
            helix::delete(&self.http, &self.api_url, &self.token, &identity, &action.channel, message);
        match delete.instrument(span).await {
            Ok(sent) => Carried::Done(sent),
            Err(failure) => failure.into(),
        }
    }
}

impl Way<'_> {
    fn is_open(&self) -> bool {
        match self {
            Self::Helix { pass, .. } => pass.holds(),
            Self::Chat { line, .. } => !line.lines.is_closed(),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Helix { .. } => "helix",
            Self::Chat { .. } => "irc",
        }
    }
}

fn may_try_again(say: &Say<'_>, failure: &Failure) -> bool {
    say.delivery == Delivery::AtLeastOnce
        && matches!(failure.reason, DropReason::Uncertain | DropReason::Unreachable)
        && Instant::now() < say.until
}
