//! Storing a message in its stream, sure that it is stored.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use async_nats::{
    HeaderMap, header,
    jetstream::{
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use protocol::TraceParent;
use tracing::warn;

use crate::{connect::Bus, message::Message};

/// How long [`Bus::store`] keeps trying.
const STORE_LIMIT: Duration = Duration::from_secs(60);
/// Between two tries, doubled each time.
const PAUSES: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);

/// Why a message is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It never will be.
    #[error("{subject}: {id} was refused")]
    Refused {
        /// Where it should have gone.
        subject: String,
        /// Which message.
        id: String,
        /// What the server or the client said.
        source: PublishError,
    },
    /// NATS did not acknowledge it in time. It may be stored all the same.
    #[error("{subject}: {id} was not acknowledged within {} s", STORE_LIMIT.as_secs())]
    NotAcknowledged {
        /// Where it should have gone.
        subject: String,
        /// Which message.
        id: String,
        /// What the last try said.
        source: PublishError,
    },
}

impl Bus {
    /// Stores a message and waits for the server's acknowledgement, for up to a minute while NATS is
    /// away. The message's id makes it safe to try again.
    ///
    /// # Errors
    /// [`StoreError`] when it is refused, or was not acknowledged in time.
    pub async fn store(&self, message: &Message) -> Result<(), StoreError> {
        let started = Instant::now();
        let (mut pause, mut link) = (PAUSES.start, self.link());
        loop {
            link.borrow_and_update();
            let source = match self.send(message).await {
                Ok(ack) => tokio::select! {
                    stored = ack.into_future() => match stored {
                        Ok(_) => return Ok(()),
                        Err(error) => error,
                    },
                    () = Self::lost(&mut link) => PublishErrorKind::BrokenPipe.into(),
                },
                Err(error) => error,
            };
            let (subject, id) = (message.subject.clone(), message.id.clone());
            if is_final(&source) {
                return Err(StoreError::Refused { subject, id, source });
            }
            if started.elapsed() >= STORE_LIMIT {
                return Err(StoreError::NotAcknowledged { subject, id, source });
            }
            warn!(subject, id, error = %source, "not stored yet; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.end);
        }
    }

    /// Sends a message once; the future resolves when the server acknowledged it.
    pub(crate) async fn send(&self, message: &Message) -> Result<PublishAckFuture, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, message.id.as_str());
        if let Some(trace) = &message.trace {
            headers.insert(TraceParent::HEADER, trace.as_str());
        }
        let publish = PublishMessage::build().payload(message.payload.clone()).headers(headers);
        self.jetstream.send_publish(message.subject.clone(), publish).await
    }
}

/// Everything else may pass: a server that starts answers "no stream" for a moment, and a full
/// stream is emptied by its consumers.
pub(crate) fn is_final(error: &PublishError) -> bool {
    matches!(error.kind(), PublishErrorKind::MaxPayloadExceeded)
}
