//! Many messages stored in order, without waiting for each acknowledgement before the next is sent.

use std::{collections::VecDeque, future::IntoFuture, sync::Arc, time::Duration};

use async_nats::jetstream::{
    context::{PublishError, PublishErrorKind},
    publish::PublishAck,
};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use crate::{
    connect::{Bus, Link},
    message::Message,
    store::is_final,
    topology::MAX_PAYLOAD_BYTES,
};

/// After a failed publish, before the whole window is sent again; doubled while nothing is acknowledged.
const RESEND_PAUSES: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_secs(5);

/// Stores messages in the order they are given, a bounded number of them at a time. While NATS is
/// away it keeps them and makes [`send`](Self::send) wait.
///
/// `on_stored` is called with the token of each message once the server has acknowledged it and all
/// before it. After an outage everything in flight is sent again in order; the message ids make the
/// server drop what it already has. Messages that were on their way to a server that died may then be
/// stored after those that had arrived; a caller who needs more orders by the platform's own ids.
#[derive(Debug)]
pub struct Outbox<T> {
    queue: mpsc::Sender<Entry<T>>,
    pending: Arc<watch::Sender<usize>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Entry<T> {
    message: Message,
    token: T,
}

type Ack = BoxFuture<'static, Result<PublishAck, PublishError>>;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// It is larger than the server takes.
    #[error("{subject}: {bytes} bytes are more than the {MAX_PAYLOAD_BYTES} that a message may have")]
    TooLarge {
        /// Where it should have gone.
        subject: String,
        /// Its size.
        bytes: usize,
    },
    /// The outbox has ended.
    #[error("the outbox has ended")]
    Ended,
}

impl<T: Send + 'static> Outbox<T> {
    /// Starts with room for `capacity` messages that are not acknowledged yet.
    #[must_use]
    pub fn start(bus: Bus, capacity: usize, on_stored: impl FnMut(T) + Send + 'static) -> Self {
        let (queue, entries) = mpsc::channel(capacity.max(1));
        let pending = Arc::new(watch::Sender::new(0));
        let window = Window {
            bus,
            entries,
            in_flight: VecDeque::new(),
            capacity: capacity.max(1),
            on_stored,
            pending: pending.clone(),
            pause: RESEND_PAUSES.start,
        };
        Self { queue, pending, _task: AbortOnDropHandle::new(tokio::spawn(window.run())) }
    }

    /// Gives a message to be stored; waits while the outbox is full.
    ///
    /// # Errors
    /// [`OutboxError`] when it could never be stored.
    pub async fn send(&self, message: Message, token: T) -> Result<(), OutboxError> {
        if message.len() > MAX_PAYLOAD_BYTES {
            return Err(OutboxError::TooLarge { bytes: message.len(), subject: message.subject });
        }
        let slot = self.queue.reserve().await.map_err(|_| OutboxError::Ended)?;
        self.pending.send_modify(|pending| *pending += 1);
        slot.send(Entry { message, token });
        Ok(())
    }

    /// How many messages are given and not acknowledged.
    #[must_use]
    pub fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    /// Waits until everything given is acknowledged; `false` when that took longer than `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        let mut pending = self.pending.subscribe();
        let flushed = pending.wait_for(|pending| *pending == 0);
        matches!(tokio::time::timeout(limit, flushed).await, Ok(Ok(_)))
    }
}

struct Window<T, F> {
    bus: Bus,
    entries: mpsc::Receiver<Entry<T>>,
    in_flight: VecDeque<(Entry<T>, Ack)>,
    capacity: usize,
    on_stored: F,
    pending: Arc<watch::Sender<usize>>,
    pause: Duration,
}

impl<T: Send, F: FnMut(T) + Send> Window<T, F> {
    async fn run(mut self) {
        let mut link = self.bus.link();
        loop {
            // While the link is down the client would keep what it is given and send it first when the
            // link is back, before what was lost on the way: out of order.
            let room = self.in_flight.len() < self.capacity && *link.borrow() == Link::Up;
            let failed = match self.in_flight.front_mut() {
                None => match self.entries.recv().await {
                    Some(entry) => {
                        link.borrow_and_update();
                        self.publish(entry).await.err()
                    }
                    None => return,
                },
                Some((_, ack)) => tokio::select! {
                    biased;
                    acknowledged = ack => self.settle(acknowledged).await.err(),
                    () = Bus::lost(&mut link) => Some(PublishErrorKind::BrokenPipe.into()),
                    Some(entry) = self.entries.recv(), if room => self.publish(entry).await.err(),
                },
            };
            if let Some(error) = failed {
                self.resend(&error, &mut link).await;
            }
        }
    }

    /// Puts a message in flight, also when the client would not take it: `resend` comes next.
    async fn publish(&mut self, entry: Entry<T>) -> Result<(), PublishError> {
        let (ack, outcome) = send(&self.bus, &entry.message).await;
        self.in_flight.push_back((entry, ack));
        outcome
    }

    async fn settle(&mut self, acknowledged: Result<PublishAck, PublishError>) -> Result<(), PublishError> {
        match acknowledged {
            Ok(_) => self.pause = RESEND_PAUSES.start,
            Err(error) if is_final(&error) => {
                if let Some((entry, _)) = self.in_flight.front() {
                    error!(subject = entry.message.subject, id = entry.message.id, %error, "refused for good");
                }
            }
            Err(error) => return Err(error),
        }
        if let Some((entry, _)) = self.in_flight.pop_front() {
            (self.on_stored)(entry.token);
            self.pending.send_modify(|pending| *pending -= 1);
        }
        Ok(())
    }

    async fn resend(&mut self, error: &PublishError, link: &mut watch::Receiver<Link>) {
        // One warning an outage, not one a try: a full disk must not be filled with logs.
        if self.pause == RESEND_PAUSES.start {
            warn!(in_flight = self.in_flight.len(), %error, "not acknowledged; sending again in order");
        }
        loop {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(RESEND_PAUSES.end);
            if link.wait_for(|link| *link == Link::Up).await.is_err() {
                return;
            }
            if self.send_all_again().await.is_ok() {
                return;
            }
        }
    }

    async fn send_all_again(&mut self) -> Result<(), PublishError> {
        for (entry, ack) in &mut self.in_flight {
            // The old acknowledgement holds one of the client's permits; it must go first.
            *ack = Box::pin(std::future::pending());
            let (again, outcome) = send(&self.bus, &entry.message).await;
            *ack = again;
            outcome?;
        }
        Ok(())
    }
}

/// Sends a message: what to wait for, and whether it was sent. What is refused for good counts as sent;
/// its acknowledgement is the refusal.
async fn send(bus: &Bus, message: &Message) -> (Ack, Result<(), PublishError>) {
    match bus.send(message).await {
        Ok(ack) => (ack.into_future(), Ok(())),
        Err(error) if is_final(&error) => (Box::pin(std::future::ready(Err(error))), Ok(())),
        Err(error) => (Box::pin(std::future::pending()), Err(error)),
    }
}
