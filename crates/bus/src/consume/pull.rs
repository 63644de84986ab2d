//! One pull: an inbox of its own, the requests for more into it, and its end. What the messages mean, and
//! what follows when it fails, is not known here.
//!
//! The server has no word for "no more": it forgets a request when nobody listens to its inbox. Whoever just
//! ceases to listen loses what is on the way, for the time of an acknowledgement, so a pull
//! [ends](Pull::end) in three steps:
//!
//! 1. The inbox is closed after a certain number of messages, more than can be on their way, and filled up
//!    to it with empty ones. Server and client count alike: up to there everything arrives, and nothing is
//!    sent after that. (The client has a call to drain a subscription, but it forgets it before the server
//!    has answered, with what is still to come.)
//! 2. A request is made that is over as soon as it is made, into another inbox. Once it is answered the
//!    server has forgotten the requests before it, and found that nobody took what it sent last.
//! 3. What nobody took, or somebody gave back, the server gives to whoever asks next, and what is given
//!    back later, after it, even when it is older. So it is taken as well, until the server has nothing
//!    left that it ever gave out: all of that together can be given back in the right order.

use std::{pin::Pin, time::Duration};

use async_nats::{
    PublishError, Subject, SubscribeError, Subscriber, UnsubscribeError,
    jetstream::{
        Message,
        consumer::{Consumer, pull},
        context::ConsumerInfoError,
    },
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::watch,
    task::unconstrained,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    connect::{Bus, Link},
    topology::Stream,
};

/// How long the server keeps one request open. Until then it gives messages to a process that stands still,
/// while another has taken over. That it is over is a sign of life, so no other is asked for.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// How often it is seen to that something was heard. Only the second time that nothing was is taken for
/// a loss: a process that stood still has not read yet what had come.
const QUIET: Duration = PULL_EXPIRES.saturating_mul(2);
/// Words of the server, not messages, that may be on their way: of each open request, of which there are
/// a few, three at most.
const WORDS: usize = 64;
/// What nobody took is taken by so few at a time: after it comes what would better be left to others.
const GLEANED: usize = 4;
/// How long an end may take.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How many messages a request still had to get when the server ended it.
const LEFT: &str = "Nats-Pending-Messages";

/// Why a pull does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the connection was lost")]
    Link,
    #[error("the server has fallen silent")]
    Silent,
    #[error("the server ended the pull: {0}")]
    Ended(String),
    #[error("the client does not listen any more")]
    Deaf,
    #[error("the server could not be asked: {0}")]
    Ask(#[from] PublishError),
    #[error("the server did not tell about the consumer: {0}")]
    Info(#[from] ConsumerInfoError),
    #[error("the client could not listen: {0}")]
    Listen(#[from] SubscribeError),
    #[error("the client could not cease to listen: {0}")]
    Cease(#[from] UnsubscribeError),
}

pub(super) struct Pull {
    bus: Bus,
    consumer: Consumer<pull::Config>,
    /// Where more is asked for.
    subject: Subject,
    inbox: Subject,
    messages: Subscriber,
    link: watch::Receiver<Link>,
    in_flight: usize,
    /// Messages that were asked for, and not taken out yet.
    asked: usize,
    /// All that was taken out of the inbox, the words of the server as well.
    came: usize,
    quiet: Pin<Box<Sleep>>,
    /// Whether nothing was heard since `quiet` was over the last time.
    doubted: bool,
}

impl Pull {
    /// Begins to listen; nothing is asked for yet.
    ///
    /// # Errors
    /// When stream or consumer are not there, or NATS does not answer.
    pub(super) async fn open(
        bus: &Bus,
        stream: Stream,
        name: &str,
        in_flight: usize,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let consumer = bus.jetstream.get_consumer_from_stream(name, stream.name()).await?;
        let mut link = bus.link();
        link.mark_unchanged();
        let inbox = Subject::from(bus.client.new_inbox());
        Ok(Self {
            consumer,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", stream.name()).into(),
            messages: bus.client.subscribe(inbox.clone()).await?,
            bus: bus.clone(),
            inbox,
            link,
            in_flight,
            asked: 0,
            came: 0,
            quiet: Box::pin(sleep(QUIET)),
            doubted: false,
        })
    }

    /// The next message. `empty_at` becomes the time at which it came when it was waited for; else it
    /// came after that time. Cancel-safe.
    ///
    /// # Errors
    /// [`Lost`] when this pull gives no more.
    pub(super) async fn next(&mut self, empty_at: &mut Instant) -> Result<Message, Lost> {
        loop {
            // Not for each message, which would cost more than the message; and not when nothing is left,
            // which would have both wait for each other.
            if self.asked <= self.in_flight / 2 {
                let batch = self.in_flight - self.asked;
                self.ask(&self.inbox, more(batch)).await?;
                self.asked += batch;
            }
            // What waits is seen at once, however much this task has read already.
            let message = match unconstrained(self.messages.next()).now_or_never() {
                Some(message) => message.ok_or(Lost::Deaf)?,
                None => {
                    let message = tokio::select! {
                        biased;
                        message = self.messages.next() => message.ok_or(Lost::Deaf)?,
                        _ = self.link.changed() => return Err(Lost::Link),
                        () = &mut self.quiet => {
                            self.quiet.as_mut().reset(Instant::now() + QUIET);
                            if std::mem::replace(&mut self.doubted, true) {
                                return Err(Lost::Silent);
                            }
                            continue;
                        }
                    };
                    *empty_at = Instant::now();
                    message
                }
            };
            self.came += 1;
            self.doubted = false;
            if message.status.is_some() {
                self.hear(&message)?;
            } else {
                self.asked = self.asked.saturating_sub(1);
                return Ok(self.of_stream(message));
            }
        }
    }

    /// Ends it. Gives all messages that were on their way, and whether that is certainly all.
    pub(super) async fn end(mut self) -> (Vec<Message>, Result<(), Lost>) {
        let mut found = Vec::new();
        if self.asked == 0 && self.came == 0 {
            return (found, Ok(()));
        }
        let mut link = self.link.clone();
        let outcome = tokio::select! {
            biased;
            _ = link.changed() => Err(Lost::Link),
            ended = timeout(END_LIMIT, self.finish(&mut found)) => ended.unwrap_or(Err(Lost::Silent)),
        };
        while let Some(Some(message)) = unconstrained(self.messages.next()).now_or_never() {
            self.take(message, &mut found);
        }
        (found, outcome)
    }

    async fn finish(&mut self, found: &mut Vec<Message>) -> Result<(), Lost> {
        let client = self.bus.client.clone();
        let room = self.in_flight + WORDS;
        self.messages.unsubscribe_after((self.came + room) as u64).await?;
        for _ in 0..room {
            client.publish(self.inbox.clone(), Bytes::new()).await?;
        }
        while let Some(message) = self.messages.next().await {
            self.take(message, found);
        }
        let after = Subject::from(client.new_inbox());
        let mut answers = client.subscribe(after.clone()).await?;
        self.ask(&after, r#"{"batch":1,"expires":1}"#.into()).await?;
        answers.next().await.ok_or(Lost::Deaf)?;
        let given = self.consumer.get_info().await?.delivered.stream_sequence;
        loop {
            self.ask(&after, format!(r#"{{"batch":{GLEANED},"no_wait":true}}"#).into()).await?;
            for _ in 0..GLEANED {
                let message = answers.next().await.ok_or(Lost::Deaf)?;
                if message.status.is_some() {
                    return Ok(());
                }
                found.push(self.of_stream(message));
            }
            if found.iter().any(|message| sequence(message) > given) {
                return Ok(());
            }
        }
    }

    /// Keeps a message, unless it is a word of the server, or only there to fill the inbox.
    fn take(&mut self, message: async_nats::Message, found: &mut Vec<Message>) {
        if message.status.is_some() {
            // How it ended plays no part any more.
            self.hear(&message).ok();
        } else if message.reply.is_some() {
            self.asked = self.asked.saturating_sub(1);
            found.push(self.of_stream(message));
        }
    }

    fn of_stream(&self, message: async_nats::Message) -> Message {
        Message { message, context: self.bus.jetstream.clone() }
    }

    async fn ask(&self, inbox: &Subject, request: Bytes) -> Result<(), Lost> {
        let client = &self.bus.client;
        Ok(client.publish_with_reply(self.subject.clone(), inbox.clone(), request).await?)
    }

    /// A word of the server: the end of a request.
    fn hear(&mut self, word: &async_nats::Message) -> Result<(), Lost> {
        let left = word.headers.as_ref().and_then(|headers| headers.get(LEFT));
        match left.and_then(|left| left.as_str().parse::<usize>().ok()) {
            Some(left) => self.asked = self.asked.saturating_sub(left),
            None => {
                let status = word.status.map_or(0, |status| status.as_u16());
                let why = word.description.as_deref().unwrap_or("without a reason");
                return Err(Lost::Ended(format!("{status} {why}")));
            }
        }
        Ok(())
    }
}

/// The request for so many messages.
fn more(batch: usize) -> Bytes {
    let expires = PULL_EXPIRES.as_nanos();
    format!(r#"{{"batch":{batch},"expires":{expires}}}"#).into()
}

/// The place of a message in its stream.
fn sequence(message: &Message) -> u64 {
    message.info().map_or(0, |info| info.stream_sequence)
}
