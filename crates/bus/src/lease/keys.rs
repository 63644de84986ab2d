//! The keys of a group in the bucket: `<group>.member.<instance>` and `<group>.table`. Each question is
//! asked once, in bounded time, and answered by "not known" when it fails.
//!
//! Written with own publishes: the client's `create_with_ttl` drops the time to live when it writes over
//! a marker, and it has no update with one.

use std::time::Duration;

use async_nats::{
    HeaderMap, header,
    jetstream::{
        context::PublishErrorKind,
        kv,
        message::{PublishMessage, StreamMessage},
        stream::LastRawMessageErrorKind,
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    machine::{Found, Outcome, TableValue},
    rules::{ANSWER_LIMIT, MARKER_TTL},
    table::{Presence, Table},
};
use crate::{connect::Bus, topology::MAX_PAYLOAD_BYTES};

const OPERATION: &str = "KV-Operation";

/// One group's part of the bucket.
pub(crate) struct Keys {
    bus: Bus,
    store: kv::Store,
    group: String,
}

/// What a watch brings.
pub(crate) enum Change {
    Member {
        instance: String,
        revision: u64,
        value: Option<Presence>,
    },
    Table {
        revision: u64,
        value: Option<TableValue>,
    },
    /// A key that means nothing.
    Other,
}

impl Keys {
    pub fn new(bus: Bus, store: kv::Store, group: &str) -> Self {
        Self { bus, store, group: group.to_owned() }
    }

    /// Writes a member's key.
    pub async fn renew(&self, presence: &Presence, expected: u64) -> Outcome {
        let ttl = Duration::from_secs(presence.ttl_s);
        match presence.encode() {
            Ok(value) => {
                self.put(self.member(presence.session.instance()), value, expected, Some(ttl), false).await
            }
            Err(error) => unwritable(&error),
        }
    }

    /// Removes a member's key.
    pub async fn remove(&self, instance: &str, expected: u64) -> Outcome {
        self.put(self.member(instance), Vec::new(), expected, Some(MARKER_TTL), true).await
    }

    /// Writes the table.
    pub async fn write_table(&self, table: &Table, expected: u64) -> Outcome {
        match table.encode() {
            Ok(value) if value.len() > MAX_PAYLOAD_BYTES => {
                warn!(
                    group = self.group,
                    bytes = value.len(),
                    "the table of leases is too large to be written"
                );
                Outcome::Unknown
            }
            Ok(value) => self.put(self.table(), value, expected, None, false).await,
            Err(error) => unwritable(&error),
        }
    }

    /// Reads a member's key from the leader; `None`: it could not be.
    pub async fn read_member(&self, instance: &str) -> Option<Found<Presence>> {
        let found = self.read(self.member(instance)).await?;
        Some(Found { revision: found.revision, value: found.value.and_then(|value| presence(&value)) })
    }

    /// Reads the table from the leader.
    pub async fn read_table(&self) -> Result<Found<TableValue>, ()> {
        let found = self.read(self.table()).await.ok_or(())?;
        Ok(Found { revision: found.revision, value: found.value.map(|value| table(&value)) })
    }

    /// Opens a watch; `None`: it could not be.
    pub async fn watch(&self) -> Option<kv::Watch> {
        let opened = timeout(ANSWER_LIMIT, self.store.watch_with_history(format!("{}.>", self.group))).await;
        match opened {
            Ok(Ok(watch)) => Some(watch),
            Ok(Err(error)) => {
                debug!(group = self.group, %error, "leases cannot be watched; trying again");
                None
            }
            Err(_) => None,
        }
    }

    /// What an entry of the watch means.
    pub fn change(&self, entry: &kv::Entry) -> Change {
        let revision = entry.revision;
        let value = (entry.operation == kv::Operation::Put).then_some(&entry.value);
        let Some(key) = entry.key.strip_prefix(&*self.group) else { return Change::Other };
        if key == ".table" {
            return Change::Table { revision, value: value.map(|value| table(value)) };
        }
        match key.strip_prefix(".member.") {
            Some(instance) => {
                let value = value.and_then(|value| presence(value));
                Change::Member { instance: instance.to_owned(), revision, value }
            }
            None => Change::Other,
        }
    }

    fn member(&self, instance: &str) -> String {
        format!("{}{}.member.{instance}", self.store.prefix, self.group)
    }

    fn table(&self) -> String {
        format!("{}{}.table", self.store.prefix, self.group)
    }

    async fn put(
        &self,
        subject: String,
        value: Vec<u8>,
        expected: u64,
        ttl: Option<Duration>,
        removes: bool,
    ) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        if let Some(ttl) = ttl {
            headers.insert(header::NATS_MESSAGE_TTL, ttl.as_secs().to_string().as_str());
        }
        if removes {
            headers.insert(OPERATION, "DEL");
        }
        let publish = PublishMessage::build().payload(value.into()).headers(headers);
        let stored = timeout(ANSWER_LIMIT, async {
            match self.bus.jetstream.send_publish(subject.clone(), publish).await {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            }
        });
        match stored.await {
            Ok(Ok(ack)) => Outcome::Stored(ack.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Outcome::Refused,
            Ok(Err(error)) => {
                warn!(subject, %error, "a lease was not written; trying again");
                Outcome::Unknown
            }
            Err(_) => Outcome::Unknown,
        }
    }

    async fn read(&self, subject: String) -> Option<Found<Bytes>> {
        match timeout(ANSWER_LIMIT, self.store.stream.get_last_raw_message_by_subject(&subject)).await {
            Ok(Ok(message)) => {
                let value = (!is_marker(&message)).then(|| message.payload.clone());
                Some(Found { revision: message.sequence, value })
            }
            Ok(Err(error)) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Some(Found { revision: 0, value: None })
            }
            Ok(Err(error)) => {
                debug!(subject, %error, "a lease was not read; trying again");
                None
            }
            Err(_) => None,
        }
    }
}

/// The next entry of a watch that may not be open; `None`: it ended.
pub(crate) async fn next(watch: &mut Option<kv::Watch>) -> Option<kv::Entry> {
    match watch {
        None => std::future::pending().await,
        Some(open) => match open.next().await {
            Some(Ok(entry)) => Some(entry),
            Some(Err(error)) => {
                debug!(%error, "the watch of leases was lost; opening it again");
                None
            }
            None => None,
        },
    }
}

fn is_marker(message: &StreamMessage) -> bool {
    message.headers.get(OPERATION).is_some() || message.headers.get(header::NATS_MARKER_REASON).is_some()
}

/// A key that cannot be read is no living member's: every version writes what all versions read.
fn presence(value: &[u8]) -> Option<Presence> {
    match Presence::decode(value) {
        Ok(presence) => Some(presence),
        Err(error) => {
            warn!(%error, "the key of a member holds something unexpected; passed by");
            None
        }
    }
}

fn table(value: &[u8]) -> TableValue {
    match Table::decode(value) {
        Ok(table) => TableValue::Readable(table),
        Err(error) => {
            warn!(%error, "the table of leases cannot be read, so nothing is owned by it");
            TableValue::Unreadable
        }
    }
}

fn unwritable(error: &serde_json::Error) -> Outcome {
    warn!(%error, "a lease cannot be written");
    Outcome::Unknown
}
