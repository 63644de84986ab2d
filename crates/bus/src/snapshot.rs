//! Streams and buckets as files: saved and put back by the server's own snapshots, in the layout that
//! `nats stream restore` reads too. What is saved, how often and where to is not known here.
//!
//! A snapshot is one moment of one stream. The server sends it in parts, each of which is acknowledged, and says
//! at the end whether that was all. Streams in memory have none.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    context::GetStreamErrorKind,
    response::Response,
    stream::{DeleteStatus, StorageType},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::{connect::Bus, topology::SNAPSHOT_PARTS};

/// How much is sent at once, in bytes; well below the server's `max_payload`.
const PART_BYTES: usize = 64 * 1024;
/// How long the server may take for one part.
const PART_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to make a stream of all that was sent.
const REBUILD_LIMIT: Duration = Duration::from_secs(120);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// How a stream was when it was saved: what the server wants to know to put it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Its configuration, as the server tells it.
    pub config: serde_json::Value,
    /// How much it held, as the server tells it.
    pub state: serde_json::Value,
}

impl Cut {
    /// How many messages it held.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.state["messages"].as_u64().unwrap_or_default()
    }

    /// When its first message was stored, as the server writes it: the same beginning is the same stream.
    #[must_use]
    pub fn began(&self) -> &str {
        self.state["first_ts"].as_str().unwrap_or_default()
    }

    /// Whether this is the same stream as `before`, later: it holds what came since, and of what was there all but
    /// what became too old or too much.
    #[must_use]
    pub fn goes_on(&self, before: &Self) -> bool {
        let number = |cut: &Self, name: &str| cut.state[name].as_u64().unwrap_or_default();
        let (first, first_before) = (number(self, "first_seq"), number(before, "first_seq"));
        let aged = first > first_before || before.messages() == 0;
        number(self, "last_seq") >= number(before, "last_seq")
            && first >= first_before
            && (aged || self.began() == before.began())
    }
}

/// Why a stream could not be saved or put back.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The server was not asked, or did not answer.
    #[error("NATS did not answer about {stream}")]
    Asked {
        /// Which stream.
        stream: String,
        /// What the client said.
        source: Source,
    },
    /// The server does not want to.
    #[error("NATS refused {stream}: {reason}")]
    Refused {
        /// Which stream.
        stream: String,
        /// Its words.
        reason: String,
    },
    /// Parts stopped coming, or one is missing.
    #[error("{stream} did not pass whole: {reason}")]
    Torn {
        /// Which stream.
        stream: String,
        /// What is wrong.
        reason: String,
    },
    /// The file.
    #[error("{stream} cannot be written or read here")]
    File {
        /// Which stream.
        stream: String,
        /// Why.
        source: std::io::Error,
    },
}

#[derive(Serialize)]
struct SaveRequest<'a> {
    deliver_subject: &'a str,
    chunk_size: usize,
    jsck: bool,
}

#[derive(Deserialize)]
struct PutBack {
    deliver_subject: String,
}

impl Bus {
    /// Whether a stream is there and on disk, so that it can be saved.
    ///
    /// # Errors
    /// [`SnapshotError::Asked`]
    pub async fn can_be_saved(&self, stream: &str) -> Result<bool, SnapshotError> {
        match self.jetstream.get_stream(stream).await {
            Ok(found) => Ok(found.cached_info().config.storage == StorageType::File),
            Err(error) if is_missing(&error.kind()) => Ok(false),
            Err(error) => Err(asked(stream)(error.into())),
        }
    }

    /// Saves a stream as it is now, having the server check it first.
    ///
    /// # Errors
    /// [`SnapshotError`]; then what was written is no snapshot.
    pub async fn save_stream(
        &self,
        stream: &str,
        file: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Cut, SnapshotError> {
        let torn = |reason: String| SnapshotError::Torn { stream: stream.to_owned(), reason };
        let delivered = self.own_subject();
        let mut parts =
            self.client.subscribe(delivered.clone()).await.map_err(|error| asked(stream)(error.into()))?;
        self.round_trip().await;
        let request = SaveRequest { deliver_subject: &delivered, chunk_size: PART_BYTES, jsck: true };
        let answer = self.jetstream.request(format!("STREAM.SNAPSHOT.{stream}"), &request).await;
        let cut: Cut = answered(stream, answer)?;
        let mut number = 0;
        loop {
            let part = timeout(PART_LIMIT, parts.next()).await;
            let Ok(Some(part)) = part else { return Err(torn("NATS stopped sending".to_owned())) };
            if part.payload.is_empty() {
                // The end says whether it was all.
                let status = part.status.map_or(204, |status| status.as_u16());
                if !(200..300).contains(&status) {
                    let words = part.description.unwrap_or_default();
                    return Err(torn(format!("NATS gave up with {status} {words}")));
                }
                break;
            }
            number += 1;
            let written = file.write_all(&part.payload).await;
            written.map_err(|source| SnapshotError::File { stream: stream.to_owned(), source })?;
            // The last one is not acknowledged.
            let Some(reply) = part.reply else { continue };
            // What the client had no room for is missing here.
            if reply.rsplit('.').next().and_then(|number| number.parse().ok()) != Some(number) {
                return Err(torn(format!("part {number} is missing")));
            }
            let acknowledged = self.client.publish(reply, Bytes::new()).await;
            acknowledged.map_err(|error| asked(stream)(error.into()))?;
        }
        if number == 0 {
            return Err(torn("NATS sent nothing".to_owned()));
        }
        Ok(cut)
    }

    /// Makes a stream anew from what was saved; gives how many messages it holds. There must be none of its name.
    ///
    /// # Errors
    /// [`SnapshotError`]; then there is no such stream.
    pub async fn put_stream_back(
        &self,
        stream: &str,
        cut: &Cut,
        file: &mut (impl AsyncRead + Unpin),
    ) -> Result<u64, SnapshotError> {
        let answer = self.jetstream.request(format!("STREAM.RESTORE.{stream}"), cut).await;
        let PutBack { deliver_subject } = answered(stream, answer)?;
        let replies = self.own_subject();
        let mut answers =
            self.client.subscribe(replies.clone()).await.map_err(|error| asked(stream)(error.into()))?;
        self.round_trip().await;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            let read = file.take(PART_BYTES as u64).read_to_end(&mut part).await;
            read.map_err(|source| SnapshotError::File { stream: stream.to_owned(), source })?;
            let last = part.is_empty();
            let (to, from) = (deliver_subject.clone(), replies.clone());
            let sent = self.client.publish_with_reply(to, from, part.into()).await;
            sent.map_err(|error| asked(stream)(error.into()))?;
            let limit = if last { REBUILD_LIMIT } else { PART_LIMIT };
            let Ok(Some(answer)) = timeout(limit, answers.next()).await else {
                let reason = "NATS stopped taking it".to_owned();
                return Err(SnapshotError::Torn { stream: stream.to_owned(), reason });
            };
            if answer.payload.is_empty() && !last {
                continue;
            }
            // The end is answered with the new stream, or at any part with what is wrong.
            let answer = serde_json::from_slice::<Response<Cut>>(&answer.payload);
            return answered(stream, answer).map(|cut: Cut| cut.messages());
        }
    }

    /// Removes a stream, with all that is in it; one that is not there is fine.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub async fn remove_stream(&self, stream: &str) -> Result<(), SnapshotError> {
        let answer = self.jetstream.request(format!("STREAM.DELETE.{stream}"), &json!({})).await;
        match answer {
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
            answer => answered(stream, answer).map(|_: DeleteStatus| ()),
        }
    }

    /// How a stream is now; `None` when it is not there.
    ///
    /// # Errors
    /// [`SnapshotError::Asked`]
    pub async fn stream_now(&self, stream: &str) -> Result<Option<Cut>, SnapshotError> {
        let answer = self.jetstream.request(format!("STREAM.INFO.{stream}"), &json!({})).await;
        match answer {
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            answer => answered(stream, answer).map(Some),
        }
    }

    /// A subject of which nobody else knows.
    fn own_subject(&self) -> String {
        let inbox = self.client.new_inbox();
        format!("{SNAPSHOT_PARTS}.{}", inbox.rsplit('.').next().unwrap_or_default())
    }
}

fn asked(stream: &str) -> impl Fn(Source) -> SnapshotError {
    move |source| SnapshotError::Asked { stream: stream.to_owned(), source }
}

fn answered<T, E: Into<Source>>(stream: &str, answer: Result<Response<T>, E>) -> Result<T, SnapshotError> {
    match answer {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => {
            Err(SnapshotError::Refused { stream: stream.to_owned(), reason: error.to_string() })
        }
        Err(error) => Err(asked(stream)(error.into())),
    }
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(first_seq: u64, last_seq: u64, first_ts: &str) -> Cut {
        let messages = (last_seq + 1).saturating_sub(first_seq);
        let state =
            json!({"messages": messages, "first_seq": first_seq, "last_seq": last_seq, "first_ts": first_ts});
        Cut { config: json!({}), state }
    }

    #[test]
    fn a_stream_is_known_again_after_its_oldest_messages_went() {
        let before = cut(1, 100, "2026-08-01T00:00:00Z");
        assert!(before.goes_on(&before));
        assert!(cut(1, 101, "2026-08-01T00:00:00Z").goes_on(&before));
        assert!(cut(90, 140, "2026-11-01T00:00:00Z").goes_on(&before));
        assert!(cut(101, 100, "0001-01-01T00:00:00Z").goes_on(&before), "all became too old");
        // One that was begun anew, on a machine that was wiped, be it longer.
        assert!(!cut(1, 400, "2026-11-22T00:00:00Z").goes_on(&before));
        assert!(!cut(1, 7, "2026-11-22T00:00:00Z").goes_on(&before));
        assert!(!cut(1, 400, "2026-11-22T00:00:00Z").goes_on(&cut(50, 100, "2026-08-01T00:00:00Z")));
        assert!(!before.goes_on(&cut(90, 140, "2026-11-01T00:00:00Z")), "it was put back meanwhile");
        assert!(cut(1, 3, "2026-11-22T00:00:00Z").goes_on(&cut(1, 0, "0001-01-01T00:00:00Z")));
    }
}
