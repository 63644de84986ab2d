//! Taking stored messages, each by one of those who consume, and ceasing to.
//!
//! | module | owns |
//! |---|---|
//! | this one | a consumer that goes on after an outage |
//! | `pull` | how the server is asked for more, and asked no more |
//! | `delivery` | one message: acknowledged, refused, given back, buried |

mod delivery;
mod pull;

use std::time::Duration;

pub use delivery::{Delivery, give_back, in_progress};
use pull::Pull;
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{
    connect::{Bus, Link},
    topology::Stream,
};

/// Before a pull that failed is tried again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// Why messages cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("the consumer {consumer} of {stream} is not there: has `vigie provision` run?")]
pub struct ConsumeError {
    consumer: String,
    stream: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A consumer that heals itself: after an outage it goes on by itself, for ever.
///
/// Who stops [closes](Self::close) it. Of one that is only dropped, what was on its way comes again late,
/// when the time for its acknowledgement is over, and so after what was stored later.
pub struct Consumer {
    bus: Bus,
    stream: Stream,
    name: String,
    in_flight: usize,
    pull: Option<Pull>,
    /// When it was last seen that nothing waits here. What waits here now came after that.
    empty_at: Instant,
    attached: watch::Sender<bool>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("stream", &self.stream)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Takes messages of a consumer, at most `in_flight` of them ahead of what was asked for: more
    /// would be out of reach of other workers while this one is slow.
    ///
    /// # Errors
    /// [`ConsumeError`] when stream or consumer are not there.
    pub async fn consume(
        &self,
        stream: Stream,
        consumer: impl Into<String>,
        in_flight: usize,
    ) -> Result<Consumer, ConsumeError> {
        let mut consumer = Consumer {
            bus: self.clone(),
            stream,
            name: consumer.into(),
            in_flight: in_flight.max(1),
            pull: None,
            empty_at: Instant::now(),
            attached: watch::Sender::new(false),
        };
        match consumer.open().await {
            Ok(()) => Ok(consumer),
            Err(source) => Err(ConsumeError { consumer: consumer.name, stream: stream.name(), source }),
        }
    }
}

impl Consumer {
    /// Whether messages can be taken now, and when that changes.
    #[must_use]
    pub fn attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    /// The next message. Never ends: wait for it beside a shutdown token. Cancel-safe.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let Some(pull) = &mut self.pull else {
                self.reopen().await;
                continue;
            };
            match pull.next(&mut self.empty_at).await {
                Ok(message) => return self.delivery(message),
                Err(error) => self.lost(&error),
            }
            self.pull = None;
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    /// Takes no more, and gives what had been on its way, in the order in which it was stored. After that
    /// the server has given us nothing else, and gives us nothing more: who [gives it back](give_back)
    /// can be sure that whoever comes next gets everything in its order.
    ///
    /// While NATS is away, or does not answer within a second, some of it is missing: that comes again
    /// when the time for its acknowledgement is over.
    pub async fn close(mut self) -> Vec<Delivery> {
        let Some(pull) = self.pull.take() else { return Vec::new() };
        // It is large, and made once in the life of a consumer.
        let (messages, outcome) = Box::pin(pull.end()).await;
        if let Err(error) = outcome {
            let (stream, consumer) = (self.stream.name(), &self.name);
            warn!(stream, consumer, %error, "not closed properly; what was on its way comes again later");
        }
        let mut deliveries: Vec<_> = messages.into_iter().map(|message| self.delivery(message)).collect();
        deliveries.sort_by_key(Delivery::sequence);
        deliveries
    }

    async fn reopen(&mut self) {
        // What is asked while NATS is away would be answered all at once afterwards.
        let mut link = self.bus.link();
        let up = link.wait_for(|link| *link == Link::Up).await.map(drop);
        if up.is_err() || self.open().await.is_err() {
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn open(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.empty_at = Instant::now();
        self.pull = Some(Pull::open(&self.bus, self.stream, &self.name, self.in_flight).await?);
        self.attached.send_replace(true);
        Ok(())
    }

    fn delivery(&self, message: async_nats::jetstream::Message) -> Delivery {
        Delivery::new(self.stream, message, self.empty_at)
    }

    fn lost(&self, error: &pull::Lost) {
        if self.attached.send_replace(false) {
            warn!(stream = self.stream.name(), consumer = self.name, %error, "lost; attaching again");
        }
    }
}
