//! One stored message that was given to us, and what the server is told of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_nats::{
    HeaderMap, Message, RequestErrorKind, Subject, header,
    jetstream::{AckKind, message::PublishMessage},
};
use protocol::{DecodeError, TraceParent, Versioned, subject};
use serde::Deserialize;
use tracing::warn;

use crate::{
    connect::Bus,
    dead::letter::{ATTEMPTS_HEADER, ID_PREFIX, REASON_HEADER, SUBJECT_HEADER},
    message::trace_of,
    topology::Stream,
};

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
    sequence: u64,
    stream: Stream,
    route: Arc<Route>,
    bus: Bus,
}

/// How it is acknowledged: changes when it comes again while it is held.
#[derive(Debug)]
pub(super) struct Route {
    subject: Mutex<Subject>,
    /// The message's id.
    id: Option<String>,
}

type AckError = Box<dyn std::error::Error + Send + Sync>;

/// What an acknowledgement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The message was ours, and comes to nobody any more.
    Done,
    /// It had gone before: by an acknowledgement of ours that was not confirmed, or because somebody else
    /// has taken over and done it, or because it was too old.
    Gone,
}

impl Route {
    /// The same message has come again.
    pub(super) fn replace(&self, by: &Delivery) {
        let subject = by.route.get();
        *self.subject.lock().unwrap_or_else(PoisonError::into_inner) = subject;
    }

    /// Whether it is the same message, and not another one in its place.
    pub(super) fn is_of(&self, delivery: &Delivery) -> bool {
        self.id == delivery.route.id
    }

    fn get(&self) -> Subject {
        self.subject.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Delivery {
    pub(super) fn new(stream: Stream, message: Message, bus: &Bus) -> Self {
        let route = message.reply.unwrap_or_else(|| Subject::from_static(""));
        let (attempt, sequence) = place(&route);
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(header::NATS_MESSAGE_ID));
        Self {
            trace: trace_of(headers),
            subject: message.subject.to_string(),
            payload: message.payload,
            attempt,
            sequence,
            stream,
            route: Arc::new(Route { subject: Mutex::new(route), id: id.map(ToString::to_string) }),
            bus: bus.clone(),
        }
    }

    /// Its place in its stream.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Alive for as long as this is held.
    pub(super) fn route(&self) -> Weak<Route> {
        Arc::downgrade(&self.route)
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
        self.report("ack", self.tell(AckKind::Ack).await);
    }

    /// It is done, and the server has confirmed that: it will not come again.
    ///
    /// # Errors
    /// When the server did not confirm, or we are not the owner any more; the message may come again.
    pub async fn ack_sync(&self) -> Result<Confirmed, AckError> {
        let told = self.bus.client.request(self.route.get(), AckKind::Ack.into()).await;
        match told {
            Ok(_) => Ok(Confirmed::Done),
            // The consumer that gave it is no more.
            Err(error) if error.kind() == RequestErrorKind::NoResponders && self.is_gone().await? => {
                Ok(Confirmed::Gone)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the stream does not hold it any more.
    async fn is_gone(&self) -> Result<bool, AckError> {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<ApiError>,
        }
        #[derive(Deserialize)]
        struct ApiError {
            code: u16,
            description: Option<String>,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.stream.name());
        let asked = serde_json::json!({ "seq": self.sequence });
        let answer: Answer = self.bus.jetstream.request(subject, &asked).await?;
        match answer.error {
            None => Ok(false),
            Some(ApiError { code: 404, .. }) => Ok(true),
            Some(error) => Err(error.description.unwrap_or_default().into()),
        }
    }

    /// It failed for good: stores it in `dead.<stream>` with the reason, then takes it off the stream.
    ///
    /// # Errors
    /// When the dead letter could not be stored; the message then comes again.
    pub async fn bury(&self, reason: &str) -> Result<(), AckError> {
        let mut headers = HeaderMap::new();
        if let Some(id) = &self.route.id {
            headers.insert(header::NATS_MESSAGE_ID, format!("{ID_PREFIX}{id}").as_str());
        }
        if let Some(trace) = &self.trace {
            headers.insert(TraceParent::HEADER, trace.as_str());
        }
        headers.insert(SUBJECT_HEADER, self.subject.as_str());
        // A header is one line.
        let reason = reason.replace(['\r', '\n'], " ");
        headers.insert(REASON_HEADER, reason.as_str());
        headers.insert(ATTEMPTS_HEADER, self.attempt.to_string().as_str());
        let letter = PublishMessage::build().payload(self.payload.clone()).headers(headers);
        self.bus.jetstream.send_publish(subject::dead(self.stream.name()), letter).await?.await?;
        warn!(subject = self.subject, attempts = self.attempt, reason, "buried");
        self.tell(AckKind::Term).await
    }

    async fn tell(&self, what: AckKind) -> Result<(), AckError> {
        Ok(self.bus.client.publish(self.route.get(), what.into()).await?)
    }

    fn report(&self, what: &str, outcome: Result<(), AckError>) {
        if let Err(error) = outcome {
            warn!(subject = self.subject, what, error, "not told; the message comes again");
        }
    }
}

/// How often a message was given out and where it is in its stream, by the subject on which it is
/// acknowledged: `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>. …`, with `<domain>.<account>` before
/// the stream where the server has them (ADR-15).
fn place(route: &str) -> (u32, u64) {
    let tokens: Vec<&str> = route.split('.').collect();
    let at = if tokens.len() > 9 { 6 } else { 4 };
    let number = |at: usize| tokens.get(at).and_then(|token| token.parse::<u64>().ok());
    (number(at).map_or(1, |attempt| u32::try_from(attempt).unwrap_or(u32::MAX)), number(at + 1).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_and_place_are_read_from_both_forms() {
        assert_eq!(place("$JS.ACK.EVENTS.commands-3-0a1b2c3d.2.17.5.1700000000000000000.3"), (2, 17));
        assert_eq!(place("$JS.ACK._.Hash.EVENTS.commands-3.1.18.5.1700000000000000000.3.random"), (1, 18));
        assert_eq!(place(""), (1, 0));
    }
}
