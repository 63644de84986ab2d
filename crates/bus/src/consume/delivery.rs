//! One stored message that was given to us, and what the server is told of it.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    connection::State,
    header,
    jetstream::{AckKind, Message, message::PublishMessage},
};
use protocol::{DecodeError, TraceParent, Versioned, subject};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::{
    dead::letter::{ATTEMPTS_HEADER, ID_PREFIX, REASON_HEADER, SUBJECT_HEADER},
    message::trace_of,
    topology::Stream,
};

/// How long giving back may take; while NATS is away it cannot be done.
const BACK_LIMIT: Duration = Duration::from_millis(500);

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
    /// When it came, or a moment before: what was taken ahead may have waited here since then.
    pub arrived: Instant,
    sequence: u64,
    stream: Stream,
    message: Message,
}

type AckError = Box<dyn std::error::Error + Send + Sync>;

/// Gives deliveries of one consumer back, to be had again at once by whoever takes them, and in the order
/// in which they were stored. Afterwards the server has them: who begins then gets nothing newer before
/// them. Whatever pulls here itself would get them too: [close](crate::Consumer::close) it first.
///
/// What NATS could not be told, for half a second, comes again when the time for its acknowledgement is
/// over.
pub async fn give_back(deliveries: impl IntoIterator<Item = &Delivery>) {
    let mut deliveries: Vec<_> = deliveries.into_iter().collect();
    deliveries.sort_by_key(|delivery| delivery.sequence);
    // With a delay, even of nothing, the server would wait for a timer, and give
    // what is newer in the meantime.
    let told = timeout(BACK_LIMIT, tell(&deliveries, AckKind::Nak(None))).await;
    let (count, late) = (deliveries.len(), "NATS did not answer in time");
    match told.unwrap_or_else(|_| Err(late.into())) {
        Ok(()) => {}
        Err(error) => warn!(count, error, "not given back; it comes again after a while"),
    }
}

/// Deliveries of one consumer are still worked on: the time for their acknowledgement starts again. Those
/// whose time was not over when this returns are ours for as long again from when it was called.
///
/// # Errors
/// When NATS did not confirm that it has heard so; it may have.
pub async fn in_progress(deliveries: impl IntoIterator<Item = &Delivery>) -> Result<(), AckError> {
    let deliveries: Vec<_> = deliveries.into_iter().collect();
    tell(&deliveries, AckKind::Progress).await
}

/// Tells the same of several, and has the last one confirmed: the server reads them in their order.
async fn tell(deliveries: &[&Delivery], what: AckKind) -> Result<(), AckError> {
    let Some((last, first)) = deliveries.split_last() else { return Ok(()) };
    // It would be heard later, when it may not be true any more.
    if last.message.context.client().connection_state() != State::Connected {
        return Err("NATS is away".into());
    }
    for delivery in first {
        delivery.message.ack_with(what).await?;
    }
    last.message.double_ack_with(what).await
}

impl Delivery {
    pub(super) fn new(stream: Stream, message: Message, arrived: Instant) -> Self {
        let (attempt, sequence) =
            message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
        Self {
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            trace: trace_of(message.headers.as_ref()),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            arrived,
            sequence,
            stream,
            message,
        }
    }

    /// Its place in its stream.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
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

    /// It failed for good: stores it in `dead.<stream>` with the reason, then takes it off the stream.
    ///
    /// # Errors
    /// When the dead letter could not be stored; the message then comes again.
    pub async fn bury(&self, reason: &str) -> Result<(), AckError> {
        let mut headers = HeaderMap::new();
        let id = self.message.headers.as_ref().and_then(|headers| headers.get(header::NATS_MESSAGE_ID));
        if let Some(id) = id {
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
        self.message.context.send_publish(subject::dead(self.stream.name()), letter).await?.await?;
        warn!(subject = self.subject, attempts = self.attempt, reason, "buried");
        self.message.ack_with(AckKind::Term).await
    }

    fn report(&self, what: &str, outcome: Result<(), AckError>) {
        if let Err(error) = outcome {
            warn!(subject = self.subject, what, error, "not told; the message comes again");
        }
    }
}
