//! One pull: an inbox of its own, and the requests for more into it. What the messages mean, and what
//! follows when it fails, is not known here. The server forgets a request when nobody listens to its inbox.

use std::{pin::Pin, time::Duration};

use async_nats::{Message, PublishError, Subject, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep},
};

use crate::{
    connect::{Bus, Link},
    topology::Stream,
};

/// How long the server keeps one request open. That it is over is a sign of life, so no other is asked for.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// How often it is seen to that something was heard. Only the second time that nothing was is taken for
/// a loss: a process that stood still has not read yet what had come.
const QUIET: Duration = PULL_EXPIRES.saturating_mul(2);
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
    #[error("the client could not listen: {0}")]
    Listen(#[from] SubscribeError),
}

pub(super) struct Pull {
    bus: Bus,
    /// Where more is asked for.
    subject: Subject,
    inbox: Subject,
    messages: Subscriber,
    link: watch::Receiver<Link>,
    in_flight: usize,
    /// Messages that were asked for, and not taken out yet.
    asked: usize,
    quiet: Pin<Box<Sleep>>,
    /// Whether nothing was heard since `quiet` was over the last time.
    doubted: bool,
}

impl Pull {
    /// Begins to listen; nothing is asked for yet.
    ///
    /// # Errors
    /// When the client is closed.
    pub(super) async fn open(
        bus: &Bus,
        stream: Stream,
        name: &str,
        in_flight: usize,
    ) -> Result<Self, SubscribeError> {
        let mut link = bus.link();
        link.mark_unchanged();
        let inbox = Subject::from(bus.client.new_inbox());
        Ok(Self {
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", stream.name()).into(),
            messages: bus.client.subscribe(inbox.clone()).await?,
            bus: bus.clone(),
            inbox,
            link,
            in_flight,
            asked: 0,
            quiet: Box::pin(sleep(QUIET)),
            doubted: false,
        })
    }

    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// [`Lost`] when this pull gives no more.
    pub(super) async fn next(&mut self) -> Result<Message, Lost> {
        loop {
            // Not for each message, which would cost more than the message; and not when nothing is left,
            // which would have both wait for each other.
            if self.asked <= self.in_flight / 2 {
                let batch = self.in_flight - self.asked;
                self.ask(&self.inbox, more(batch)).await?;
                self.asked += batch;
            }
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
            self.doubted = false;
            if message.status.is_some() {
                self.hear(&message)?;
            } else {
                self.asked = self.asked.saturating_sub(1);
                return Ok(message);
            }
        }
    }

    /// Waits, without reading, until this pull gives no more. Cancel-safe.
    pub(super) async fn lost(&mut self) -> Lost {
        // It fails when the client is gone, which is a loss too.
        let _ = self.link.changed().await;
        Lost::Link
    }

    async fn ask(&self, inbox: &Subject, request: Bytes) -> Result<(), Lost> {
        let client = &self.bus.client;
        Ok(client.publish_with_reply(self.subject.clone(), inbox.clone(), request).await?)
    }

    /// A word of the server: the end of a request.
    fn hear(&mut self, word: &Message) -> Result<(), Lost> {
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
