//! Messages as they go out and come in, with their trace.

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use protocol::{DecodeError, TraceParent, Versioned};

use crate::connect::Bus;

/// Something to be stored.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) subject: String,
    pub(crate) id: String,
    pub(crate) payload: Bytes,
    pub(crate) trace: Option<String>,
}

impl Message {
    /// A message that is stored once for each `id` within the duplicate window of its stream.
    ///
    /// # Errors
    /// When the payload cannot be JSON.
    pub fn new<T: Versioned>(
        subject: impl Into<String>,
        id: impl Into<String>,
        payload: &T,
    ) -> Result<Self, serde_json::Error> {
        let payload = protocol::encode(payload)?.into();
        Ok(Self { subject: subject.into(), id: id.into(), payload, trace: None })
    }

    /// The `traceparent` that its receiver continues.
    #[must_use]
    pub fn trace(mut self, trace: impl Into<String>) -> Self {
        self.trace = Some(trace.into());
        self
    }

    /// How many bytes the payload has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty, which JSON never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// Something that came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The subject it was sent on.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Its `traceparent`, when it has a valid one.
    pub trace: Option<String>,
}

impl Incoming {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] when it is of another version or shape.
    pub fn decode<T: Versioned>(&self) -> Result<T, DecodeError> {
        protocol::decode(&self.payload)
    }

    pub(crate) fn from_nats(message: async_nats::Message) -> Self {
        let trace = trace_of(message.headers.as_ref());
        Self { subject: message.subject.to_string(), payload: message.payload, trace }
    }
}

/// Messages that are told to whoever listens, at most once.
#[derive(Debug)]
pub struct Subscription(async_nats::Subscriber);

impl Subscription {
    /// The next message; `None` when the connection was drained.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.0.next().await.map(Incoming::from_nats)
    }
}

impl Bus {
    /// Tells whoever listens now; nothing is stored and nobody need listen.
    ///
    /// # Errors
    /// When the payload cannot be JSON or is larger than the server takes.
    pub async fn notify<T: Versioned>(
        &self,
        subject: String,
        payload: &T,
        trace: Option<&str>,
    ) -> Result<(), NotifyError> {
        let payload = protocol::encode(payload)?.into();
        match trace {
            None => self.client.publish(subject, payload).await?,
            Some(trace) => self.client.publish_with_headers(subject, trace_headers(trace), payload).await?,
        }
        Ok(())
    }

    /// Listens to a subject, which may have wildcards.
    ///
    /// # Errors
    /// When the subject is none, or the connection is closed.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, async_nats::SubscribeError> {
        Ok(Subscription(self.client.subscribe(subject.to_owned()).await?))
    }
}

/// Why something could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The payload cannot be JSON.
    #[error("the payload cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// The client refused it.
    #[error("the message was not sent")]
    Publish(#[from] async_nats::PublishError),
}

pub(crate) fn trace_headers(trace: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TraceParent::HEADER, trace);
    headers
}

/// What other programs wrote is checked before it is passed on.
pub(crate) fn trace_of(headers: Option<&HeaderMap>) -> Option<String> {
    let text = headers?.get(TraceParent::HEADER)?.as_str();
    text.parse::<TraceParent>().ok().map(|trace| trace.to_string())
}
