//! Services are told what to do, obey, and note what they did.

use std::{marker::PhantomData, time::Duration};

use async_nats::{
    SubscribeError,
    jetstream::stream::{RawMessageErrorKind, Stream},
};
use futures_util::StreamExt as _;
use protocol::{
    VERSION,
    control::{Audit, Order, Restart, Restarting},
    subject,
};
use tracing::{info, warn};

use crate::{
    connect::Bus,
    message::Message,
    request::{Request, RequestError, RespondError},
    store::StoreError,
    topology::AUDIT_STREAM,
};

/// The last token of the subject on which every service hears that it should start again.
const RESTART: &str = "restart";
/// The most that [`Bus::trail`] gives.
pub const TRAIL_MAX: u64 = 1000;

/// Orders that come in for one service.
#[derive(Debug)]
pub struct Orders<O> {
    bus: Bus,
    subscriber: async_nats::Subscriber,
    _of: PhantomData<fn() -> O>,
}

/// One order, to be answered at once.
#[derive(Debug)]
pub struct Ordered<O> {
    /// What is asked.
    pub order: O,
    request: Request,
}

/// Hears when an instance should start again.
#[derive(Debug)]
pub struct RestartOrders {
    bus: Bus,
    subscriber: async_nats::Subscriber,
    instance: String,
}

/// What came to the audit trail after some entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Entries with their numbers, the oldest first.
    pub entries: Vec<(u64, Audit)>,
    /// The number up to which everything was read; below the one that was asked for when the trail began anew.
    pub number: u64,
}

/// Why the audit trail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The stream is not there, or NATS did not say how far it goes.
    #[error("NATS did not tell about the stream {AUDIT_STREAM}: run `vigie provision`")]
    NoStream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An entry was not given.
    #[error("NATS did not give entry {number} of the audit trail")]
    NotRead {
        /// Which one.
        number: u64,
        /// What the client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Bus {
    /// Tells `service` to do something, and gives what it answers.
    ///
    /// # Errors
    /// [`RequestError`]; that nobody obeys is known at once, not after `within`.
    pub async fn command<O: Order>(
        &self,
        service: &str,
        order: &O,
        within: Duration,
    ) -> Result<O::Answer, RequestError> {
        self.request(subject::control(service, order.verb()), order, within, None).await
    }

    /// Tells `service` to start again: the instance that the order names, or every one. Answers the first that
    /// obeys.
    ///
    /// # Errors
    /// [`RequestError`]; also when no instance of that name is there.
    pub async fn command_restart(
        &self,
        service: &str,
        order: &Restart,
        within: Duration,
    ) -> Result<Restarting, RequestError> {
        self.request(subject::control(service, RESTART), order, within, None).await
    }

    /// Hears what `service`, of which there is one instance, is told to do.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn obey<O: Order>(&self, service: &str) -> Result<Orders<O>, SubscribeError> {
        let subscriber = self.client.subscribe(subject::control(service, "*")).await?;
        Ok(Orders { bus: self.clone(), subscriber, _of: PhantomData })
    }

    /// Hears when this instance of `service` is told to start again.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn obey_restart(&self, service: &str, instance: &str) -> Result<RestartOrders, SubscribeError> {
        let subscriber = self.client.subscribe(subject::control(service, RESTART)).await?;
        Ok(RestartOrders { bus: self.clone(), subscriber, instance: instance.to_owned() })
    }

    /// Notes what was done, for good.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be stored for a minute, or never can be.
    pub async fn note(&self, entry: &Audit) -> Result<(), StoreError> {
        let subject = subject::audit(&entry.service);
        let id = format!("{}.{}.{}.{}", entry.service, entry.at_ms, entry.verb, entry.object);
        match Message::new(subject, id, entry) {
            Ok(message) => self.store(&message).await,
            Err(error) => {
                warn!(%error, "an audit entry cannot be JSON");
                Ok(())
            }
        }
    }

    /// The newest `count` entries of the audit trail (at most [`TRAIL_MAX`]), the newest first. Entries of
    /// another version are passed by.
    ///
    /// # Errors
    /// [`TrailError`]
    pub async fn trail(&self, count: u64) -> Result<Vec<Audit>, TrailError> {
        let stream = self.audit_stream().await?;
        let state = &stream.cached_info().state;
        let first = state.first_sequence.max(state.last_sequence.saturating_sub(count.min(TRAIL_MAX)) + 1);
        let mut entries = Vec::new();
        for number in (first..=state.last_sequence).rev() {
            entries.extend(entry(&stream, number).await?);
        }
        Ok(entries)
    }

    /// What came to the audit trail after the entry of this number, at most `count` entries of it. Those of another
    /// version, and those that are too old by now, are passed by.
    ///
    /// # Errors
    /// [`TrailError`]
    pub async fn trail_since(&self, number: u64, count: u64) -> Result<Since, TrailError> {
        let stream = self.audit_stream().await?;
        let state = &stream.cached_info().state;
        let first = state.first_sequence.max(number.saturating_add(1));
        let last = state.last_sequence.min(first.saturating_add(count.min(TRAIL_MAX)).saturating_sub(1));
        let mut since = Since { entries: Vec::new(), number: last };
        for number in first..=last {
            since.entries.extend(entry(&stream, number).await?.map(|entry| (number, entry)));
        }
        Ok(since)
    }

    async fn audit_stream(&self) -> Result<Stream, TrailError> {
        self.jetstream.get_stream(AUDIT_STREAM).await.map_err(|error| TrailError::NoStream(error.into()))
    }
}

/// The entry of this number; `None` when it is gone, or of another version.
async fn entry(stream: &Stream, number: u64) -> Result<Option<Audit>, TrailError> {
    match stream.get_raw_message(number).await {
        Ok(message) => Ok(protocol::decode(&message.payload).ok()),
        // Too old by now.
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(TrailError::NotRead { number, source: error.into() }),
    }
}

impl<O: Order> Orders<O> {
    /// The next order; `None` when the connection was drained. What cannot be read, or came on the subject of
    /// another verb, is answered here.
    pub async fn next(&mut self) -> Option<Ordered<O>> {
        loop {
            let message = self.subscriber.next().await?;
            let verb = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            let Some(request) = Request::read(&self.bus, message).filter(|_| verb != RESTART) else {
                continue;
            };
            let reason = match request.decode::<O>() {
                Ok(order) if order.verb() == verb => return Some(Ordered { order, request }),
                Ok(order) => format!("`{}` was asked where `{verb}` is asked", order.verb()),
                Err(error) => error.to_string(),
            };
            warn!(subject = request.incoming.subject, reason, "an order is not taken");
            if let Err(error) = request.respond(&O::refused(reason)).await {
                warn!(%error, "an order that is not taken was not answered");
            }
        }
    }
}

impl<O: Order> Ordered<O> {
    /// Answers it.
    ///
    /// # Errors
    /// [`RespondError`] when the answer cannot be sent.
    pub async fn answer(self, answer: &O::Answer) -> Result<(), RespondError> {
        self.request.respond(answer).await
    }
}

impl RestartOrders {
    /// Waits until this instance is told to start again, says that it will, and gives why. `None` when the
    /// connection was drained.
    pub async fn next(&mut self) -> Option<Restart> {
        loop {
            let message = self.subscriber.next().await?;
            let Some(request) = Request::read(&self.bus, message) else { continue };
            let order = match request.decode::<Restart>() {
                Ok(order) => order,
                Err(error) => {
                    warn!(%error, "an order to start again cannot be read");
                    continue;
                }
            };
            if order.instance.as_ref().is_some_and(|instance| *instance != self.instance) {
                continue;
            }
            info!(by = order.by, reason = order.reason, "told to start again");
            let answer = Restarting { v: VERSION, instance: self.instance.clone() };
            if let Err(error) = request.respond(&answer).await {
                warn!(%error, "the order to start again was not answered");
            }
            return Some(order);
        }
    }
}
