//! The message in a work queue that nobody takes, so that the queue never is empty. Why, see
//! [`topology`](crate::topology).

use async_nats::{
    HeaderMap, header,
    jetstream::{
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use tracing::debug;

use crate::{
    connect::Bus,
    topology::{KEEPER_EVERY, Stream},
};

impl Bus {
    /// Stores the keeper of a stream unless it is there.
    pub(crate) async fn keep(&self, stream: Stream) -> Result<(), PublishError> {
        let Some(subject) = stream.keeper() else { return Ok(()) };
        let mut headers = never();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let publish = PublishMessage::build().headers(headers);
        match self.jetstream.send_publish(subject, publish).await?.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the keeper now and then: the sequence of what was stored says when. Nothing waits for
    /// it, and when it fails the next one will do.
    pub(crate) async fn keep_after(&self, stored: &PublishAck) {
        if !stored.sequence.is_multiple_of(KEEPER_EVERY) {
            return;
        }
        let stream = Stream::ALL.into_iter().find(|stream| stream.name() == stored.stream);
        let Some(subject) = stream.and_then(Stream::keeper) else { return };
        let mut headers = never();
        headers.insert(header::NATS_ROLLUP, "sub");
        let publish = PublishMessage::build().headers(headers);
        if let Err(error) = self.jetstream.send_publish(subject, publish).await {
            debug!(subject, %error, "the keeper was not replaced");
        }
    }
}

fn never() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_TTL, "never");
    headers
}
