//! Taking stored messages, each by one of those who consume.

use std::time::Duration;

use async_nats::{
    HeaderMap, header,
    jetstream::{AckKind, consumer::pull, message::PublishMessage},
};
use futures_util::StreamExt;
use protocol::{DecodeError, TraceParent, Versioned, subject};
use tokio::sync::watch;
use tracing::warn;

use crate::{connect::Bus, message::trace_of, topology::Stream};

/// How long the server keeps one pull request open.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it is still there. Each of the consumers of a gateway has its own
/// heartbeat, so a short one keeps an idle machine awake; a lost link is noticed by its PING sooner.
const HEARTBEAT: Duration = Duration::from_secs(15);
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
pub struct Consumer {
    bus: Bus,
    stream: Stream,
    name: String,
    in_flight: usize,
    messages: Option<pull::Stream>,
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
            messages: None,
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
            if self.messages.is_none()
                && let Err(error) = self.open().await
            {
                self.lost(&*error);
                tokio::time::sleep(REOPEN_PAUSE).await;
                continue;
            }
            let Some(messages) = &mut self.messages else { continue };
            match messages.next().await {
                Some(Ok(message)) => {
                    let bus = self.bus.clone();
                    return Delivery::new(bus, self.stream, message);
                }
                Some(Err(error)) => self.lost(&error),
                None => self.lost(&"the pull ended"),
            }
            self.messages = None;
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn open(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let consumer: async_nats::jetstream::consumer::Consumer<pull::Config> =
            self.bus.jetstream.get_consumer_from_stream(&self.name, self.stream.name()).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.in_flight)
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await?;
        self.messages = Some(messages);
        self.attached.send_replace(true);
        Ok(())
    }

    fn lost(&self, error: &(impl std::fmt::Display + ?Sized)) {
        if self.attached.send_replace(false) {
            warn!(stream = self.stream.name(), consumer = self.name, %error, "lost; attaching again");
        }
    }
}

/// A stored message that was given to us. Without [`ack`](Self::ack) it comes again, here or elsewhere.
#[derive(Debug)]
pub struct Delivery {
    /// The subject it was stored under.
    pub subject: String,
    /// Its bytes.
    pub payload: bytes::Bytes,
    /// Its `traceparent`, when it has a valid one.
    pub trace: Option<String>,
    /// 1 for the first delivery.
    pub attempt: u32,
    bus: Bus,
    stream: Stream,
    message: async_nats::jetstream::Message,
}

type AckError = Box<dyn std::error::Error + Send + Sync>;

impl Delivery {
    fn new(bus: Bus, stream: Stream, message: async_nats::jetstream::Message) -> Self {
        let attempt = message.info().map_or(1, |info| info.delivered);
        Self {
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            trace: trace_of(message.headers.as_ref()),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            bus,
            stream,
            message,
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] when it is of another version or shape.
    pub fn decode<T: Versioned>(&self) -> Result<T, DecodeError> {
        protocol::decode(&self.payload)
    }

    /// It is done. A lost acknowledgement means one more delivery.
    pub async fn ack(&self) {
        self.report("ack", self.message.ack().await);
    }

    /// It is done, and the server has confirmed that: it will not come again.
    ///
    /// # Errors
    /// When the server did not confirm; the message may come again.
    pub async fn ack_sync(&self) -> Result<(), AckError> {
        self.message.double_ack().await
    }

    /// It comes again after `pause`.
    pub async fn retry_in(&self, pause: Duration) {
        self.report("nak", self.message.ack_with(AckKind::Nak(Some(pause))).await);
    }

    /// It is still worked on: the time for an acknowledgement starts again.
    pub async fn in_progress(&self) {
        self.report("progress", self.message.ack_with(AckKind::Progress).await);
    }

    /// It failed for good: stores it in `dead.<stream>` with the reason, then takes it off the stream.
    ///
    /// # Errors
    /// When the dead letter could not be stored; the message then comes again.
    pub async fn bury(&self, reason: &str) -> Result<(), AckError> {
        let mut headers = HeaderMap::new();
        let id = self.message.headers.as_ref().and_then(|headers| headers.get(header::NATS_MESSAGE_ID));
        if let Some(id) = id {
            headers.insert(header::NATS_MESSAGE_ID, format!("dead:{id}").as_str());
        }
        if let Some(trace) = &self.trace {
            headers.insert(TraceParent::HEADER, trace.as_str());
        }
        headers.insert("Vigie-Subject", self.subject.as_str());
        // A header is one line.
        let reason = reason.replace(['\r', '\n'], " ");
        headers.insert("Vigie-Reason", reason.as_str());
        headers.insert("Vigie-Attempts", self.attempt.to_string().as_str());
        let letter = PublishMessage::build().payload(self.payload.clone()).headers(headers);
        self.bus.jetstream.send_publish(subject::dead(self.stream.name()), letter).await?.await?;
        warn!(subject = self.subject, attempts = self.attempt, reason, "buried");
        self.message.ack_with(AckKind::Term).await
    }

    fn report(&self, what: &str, outcome: Result<(), AckError>) {
        if let Err(error) = outcome {
            warn!(subject = self.subject, what, error, "not told; the message comes again");
        }
    }
}
