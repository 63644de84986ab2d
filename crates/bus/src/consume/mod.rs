//! Taking stored messages: together with others, or a partition alone.
//!
//! | module | owns |
//! |---|---|
//! | this one | a consumer that goes on after an outage |
//! | `own` | the consumer of a partition, and how it passes to its next owner |
//! | `pull` | how the server is asked for more |
//! | `delivery` | one message: acknowledged, refused, buried |

mod delivery;
mod own;
mod pull;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::{
    Subject,
    jetstream::{AckKind, consumer::pull::Config as PullConfig},
};
use delivery::Route;
pub use delivery::{Confirmed, Delivery};
use own::Own;
use pull::Pull;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, warn};

use crate::{
    connect::{Bus, Link},
    topology::{Queue, Stream},
};

/// Before a pull that failed is tried again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);
/// When nothing came for so long, there are no more suspects.
const NO_MORE: Duration = Duration::from_millis(500);
/// How long an end in order may take.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why messages cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("the consumer {consumer} of {stream} is not there: has `vigie provision` run?")]
pub struct ConsumeError {
    consumer: String,
    stream: &'static str,
    source: Source,
}

/// A consumer that heals itself: after an outage it goes on by itself, for ever. Dropped, it takes no more;
/// who takes a partition alone [closes](Self::close) it.
pub struct Consumer {
    bus: Bus,
    stream: Stream,
    of: Of,
    in_flight: usize,
    pull: Option<Pull>,
    attached: watch::Sender<bool>,
    /// What was given and is not dropped yet, by its place in the stream.
    given: HashMap<u64, Weak<Route>>,
    /// When there are so many, those that are dropped are forgotten.
    given_max: usize,
    /// The next one, read while there was no room for it.
    ahead: Option<Delivery>,
    /// How the last one is acknowledged.
    last: Option<Subject>,
}

/// With whom the messages are taken.
enum Of {
    /// With all who name this consumer.
    All(String),
    /// With nobody.
    One(Own),
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("stream", &self.stream)
            .field("name", &self.of.name())
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Takes messages together with all who name the same `consumer`, at most `in_flight` of them ahead of
    /// what was asked for: more would be out of reach of the others while this one is slow.
    ///
    /// # Errors
    /// [`ConsumeError`] when stream or consumer are not there.
    pub async fn consume(
        &self,
        stream: Stream,
        consumer: impl Into<String>,
        in_flight: usize,
    ) -> Result<Consumer, ConsumeError> {
        Consumer::open(self, stream, Of::All(consumer.into()), in_flight).await
    }

    /// Takes all messages of a partition from now on, alone: whoever took them before gets no more, and
    /// everything that is not done comes again, at once and in the order in which it was stored, here. What
    /// the one before acknowledges after that is not heard.
    ///
    /// `may` says whether this process may have the partition at this very moment, such as
    /// [`Lease::holds`](crate::Lease::holds); it is asked again when the consumer has to be made anew.
    ///
    /// # Errors
    /// [`ConsumeError`] when the stream is not there, or somebody else takes over at the same time.
    pub async fn take_over(
        &self,
        queue: Queue,
        partition: u16,
        in_flight: usize,
        may: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Consumer, ConsumeError> {
        let own = Own::new(queue, partition, Arc::new(may));
        Consumer::open(self, queue.stream(), Of::One(own), in_flight).await
    }
}

impl Of {
    fn name(&self) -> &str {
        match self {
            Self::All(name) => name,
            Self::One(own) => own.name(),
        }
    }
}

impl Consumer {
    async fn open(bus: &Bus, stream: Stream, of: Of, in_flight: usize) -> Result<Self, ConsumeError> {
        let mut consumer = Self {
            bus: bus.clone(),
            stream,
            of,
            in_flight: in_flight.max(1),
            pull: None,
            attached: watch::Sender::new(false),
            given: HashMap::new(),
            given_max: in_flight.max(64),
            ahead: None,
            last: None,
        };
        match consumer.attach().await {
            Ok(()) => Ok(consumer),
            Err(source) => {
                let name = match consumer.of {
                    Of::All(name) => name,
                    Of::One(own) => own.queue.consumers_of(own.partition),
                };
                Err(ConsumeError { consumer: name, stream: stream.name(), source })
            }
        }
    }

    /// Whether messages can be taken now, and when that changes.
    #[must_use]
    pub fn attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    /// The next message; never one that is still [held](Delivery). Never ends: wait for it beside a shutdown
    /// token. Cancel-safe.
    pub async fn next(&mut self) -> Delivery {
        self.next_when(true).await
    }

    /// As [`next`](Self::next), but without `room` for more it only sees to it that what is held can be
    /// acknowledged: after an outage that takes another consumer, and what this one says.
    pub async fn next_when(&mut self, room: bool) -> Delivery {
        loop {
            match self.ahead.take() {
                Some(delivery) if room => return delivery,
                Some(delivery) => {
                    self.ahead = Some(delivery);
                    self.wait_for_loss().await;
                }
                None => self.ahead = Some(self.receive().await),
            }
        }
    }

    /// Waits until the pull gives no more. What was read ahead of it then comes again behind what is held.
    async fn wait_for_loss(&mut self) {
        if let Some(pull) = &mut self.pull {
            let lost = pull.lost().await;
            self.lost(&lost);
            self.pull = None;
        }
        self.ahead = None;
    }

    async fn receive(&mut self) -> Delivery {
        loop {
            match self.pulled().await {
                Some(Ok(message)) => {
                    if let Some(delivery) = self.give(message) {
                        return delivery;
                    }
                }
                Some(Err(error)) => {
                    self.lost(&error);
                    self.pull = None;
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                None => {}
            }
        }
    }

    /// What the pull gives; `None` when it had to be opened, or is to be.
    async fn pulled(&mut self) -> Option<Result<async_nats::Message, pull::Lost>> {
        let Some(pull) = &mut self.pull else {
            self.reopen().await;
            return None;
        };
        let next = pull.next();
        let own = match &mut self.of {
            Of::One(own) if own.is_careful() => own,
            _ => return Some(next.await),
        };
        if let Ok(next) = timeout(NO_MORE, next).await {
            return Some(next);
        }
        let held = self.given.values().any(|route| route.strong_count() > 0);
        if !held && own.is_idle(&self.bus).await {
            own.clear_suspects();
            self.pull = None;
        }
        None
    }

    /// Ends in order, once nothing of it is in work any more: what was given and is not done comes to the next
    /// owner as if it had not been given. Of one that is dropped instead, that counts as an
    /// [attempt](Delivery::attempt), which may have been the end of its owner.
    ///
    /// While NATS is away, or does not answer within half a second, it is as if it was dropped.
    pub async fn close(mut self) {
        self.pull = None;
        let Of::One(own) = &self.of else { return };
        if *self.bus.link().borrow() == Link::Down {
            return;
        }
        let end = async {
            if let Some(last) = &self.last {
                // The server hears acknowledgements one after the other, but an end in between.
                let still_here = AckKind::Progress.into();
                self.bus.client.request(last.clone(), still_here).await?;
            }
            own.remove(&self.bus).await
        };
        let ended = timeout(CLOSE_LIMIT, end).await.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = ended {
            let (stream, consumer) = (self.stream.name(), own.name());
            debug!(stream, consumer, error, "not closed; what was given counts as an attempt");
        }
    }

    /// A message that comes again while it is held only tells how it is acknowledged now.
    fn give(&mut self, message: async_nats::Message) -> Option<Delivery> {
        self.last.clone_from(&message.reply);
        let mut delivery = Delivery::new(self.stream, message, &self.bus);
        let sequence = delivery.sequence();
        if let Of::One(own) = &mut self.of {
            if own.is_past_suspects(sequence) {
                // It comes again from a consumer that gives out many at a time.
                own.clear_suspects();
                self.pull = None;
                return None;
            }
            // That it was given out again here only says that it was lost on the way, or waits to be read.
            delivery.attempt = own.suspects().before(sequence).saturating_add(1);
        }
        // After a power cut, or from memory, another message may have the place of one that is held.
        let held = self.given.get(&sequence).and_then(Weak::upgrade);
        if let Some(route) = held.filter(|route| route.is_of(&delivery)) {
            route.replace(&delivery);
            return None;
        }
        if self.given.len() >= self.given_max {
            self.given.retain(|_, route| route.strong_count() > 0);
            self.given_max = self.in_flight.max(self.given.len() * 2).max(64);
        }
        self.given.insert(sequence, delivery.route());
        Some(delivery)
    }

    fn lost(&self, error: &pull::Lost) {
        if !self.attached.send_replace(false) {
            return;
        }
        let (stream, consumer) = (self.stream.name(), self.of.name());
        match error {
            // That was said once, for all of them.
            pull::Lost::Link => debug!(stream, consumer, "attaching again"),
            error => warn!(stream, consumer, %error, "lost; attaching again"),
        }
    }

    async fn reopen(&mut self) {
        // What is asked while NATS is away would be answered all at once afterwards.
        let mut link = self.bus.link();
        let up = link.wait_for(|link| *link == Link::Up).await.map(drop);
        if up.is_err() || self.attach().await.is_err() {
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn attach(&mut self) -> Result<(), Source> {
        self.last = None;
        match &mut self.of {
            Of::All(name) => {
                let jetstream = &self.bus.jetstream;
                let stream = self.stream.name();
                jetstream.get_consumer_from_stream::<PullConfig, _, _>(&*name, stream).await?;
            }
            // What was on its way when it was lost comes again at once from another one.
            Of::One(own) => own.renew(&self.bus).await?,
        }
        self.pull = Some(Pull::open(&self.bus, self.stream, self.of.name(), self.in_flight).await?);
        self.attached.send_replace(true);
        Ok(())
    }
}
