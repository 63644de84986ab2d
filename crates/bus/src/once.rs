//! Something that only one may hold, among all workers, for a while.

use std::time::Duration;

use async_nats::{
    HeaderMap, header,
    jetstream::{context::PublishErrorKind, message::PublishMessage, stream::DirectGetErrorKind},
};

use crate::{connect::Bus, topology};

/// Why it is not known who holds it.
#[derive(Debug, thiserror::Error)]
#[error("{key}: who holds it cannot be told")]
pub struct OnceError {
    key: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Bus {
    /// Takes `key` for `ttl` (whole seconds, at least 1) unless somebody else holds it. `true` when
    /// `owner` holds it now; also when `owner` took it before, so that work done again after a crash
    /// finds what it held.
    ///
    /// The key is one or more subject tokens with dots between them.
    ///
    /// # Errors
    /// [`OnceError`] when NATS does not answer.
    pub async fn once(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool, OnceError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| OnceError { key: key.to_owned(), source };
        let subject = format!("{}.{key}", topology::ONCE_PREFIX);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(header::NATS_MESSAGE_TTL, ttl.as_secs().max(1).to_string().as_str());
        let publish = PublishMessage::build().payload(owner.to_owned().into()).headers(headers);
        let stored = match self.jetstream.send_publish(subject.clone(), publish).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                let stream = self.jetstream.get_stream_no_info(topology::ONCE_STREAM).await;
                let stream = stream.map_err(|error| failed(error.into()))?;
                match stream.direct_get_last_for_subject(subject).await {
                    Ok(held) => Ok(held.payload.as_ref() == owner.as_bytes()),
                    // It ran out between the two questions; the next who asks will have it.
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(false),
                    Err(error) => Err(failed(error.into())),
                }
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}
