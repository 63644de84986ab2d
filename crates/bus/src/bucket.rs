//! Small values by key, that survive restarts and can be watched.

use std::{marker::PhantomData, time::Duration};

use async_nats::jetstream::kv;
use futures_util::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::{connect::Bus, topology::BucketName};

/// Before a watch that ended is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Why a value cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The bucket is not there.
    #[error("the bucket {bucket} is not there: has `vigie provision` run?")]
    Missing {
        /// Its name.
        bucket: &'static str,
        /// What the server said.
        source: async_nats::jetstream::context::KeyValueError,
    },
    /// Reading failed.
    #[error("{key} cannot be read")]
    Read {
        /// The key.
        key: String,
        /// What the server said.
        source: kv::EntryError,
    },
    /// Writing failed.
    #[error("{key} cannot be written")]
    Write {
        /// The key.
        key: String,
        /// What the server said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else wrote the key since it was read.
    #[error("{key} was changed by somebody else")]
    Changed {
        /// The key.
        key: String,
    },
    /// The value is not of the expected shape.
    #[error("{key} holds something unexpected")]
    Shape {
        /// The key.
        key: String,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// A bucket; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: kv::Store,
}

/// A value with its revision, for writing it back only if nobody else did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// Grows with every write.
    pub revision: u64,
}

impl Bus {
    /// Opens a bucket.
    ///
    /// # Errors
    /// [`BucketError::Missing`] before `vigie provision` has run.
    pub async fn bucket(&self, name: BucketName) -> Result<Bucket, BucketError> {
        match self.jetstream.get_key_value(name.name()).await {
            Ok(store) => Ok(Bucket { store }),
            Err(source) => Err(BucketError::Missing { bucket: name.name(), source }),
        }
    }
}

impl Bucket {
    /// Reads a value; `None` when there is none.
    ///
    /// # Errors
    /// [`BucketError`] when NATS does not answer, or the value has another shape.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BucketError> {
        Ok(self.entry(key).await?.map(|entry| entry.value))
    }

    /// Reads a value with its revision.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn entry<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>, BucketError> {
        let found = self.store.entry(key).await;
        let found = found.map_err(|source| BucketError::Read { key: key.to_owned(), source })?;
        match found.filter(|entry| entry.operation == kv::Operation::Put) {
            None => Ok(None),
            Some(entry) => {
                let value = serde_json::from_slice(&entry.value)
                    .map_err(|source| BucketError::Shape { key: key.to_owned(), source })?;
                Ok(Some(Entry { value, revision: entry.revision }))
            }
        }
    }

    /// Writes a value, whatever was there.
    ///
    /// # Errors
    /// [`BucketError::Write`] when NATS does not confirm it.
    pub async fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<u64, BucketError> {
        let bytes = to_bytes(key, value)?;
        self.store.put(key, bytes).await.map_err(|source| write_error(key, source))
    }

    /// Writes a value only if the key still has `revision` (0: no value yet).
    ///
    /// # Errors
    /// [`BucketError::Changed`] when somebody else wrote first.
    pub async fn put_if<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        revision: u64,
    ) -> Result<u64, BucketError> {
        let bytes = to_bytes(key, value)?;
        if revision == 0 {
            return match self.store.create(key, bytes).await {
                Ok(revision) => Ok(revision),
                Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => {
                    Err(BucketError::Changed { key: key.to_owned() })
                }
                Err(error) => Err(write_error(key, error)),
            };
        }
        match self.store.update(key, bytes, revision).await {
            Ok(revision) => Ok(revision),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                Err(BucketError::Changed { key: key.to_owned() })
            }
            Err(error) => Err(write_error(key, error)),
        }
    }

    /// Removes a value.
    ///
    /// # Errors
    /// [`BucketError::Write`] when NATS does not confirm it.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.store.delete(key).await.map_err(|source| write_error(key, source))
    }

    /// Watches a key: first its value now, then every change.
    #[must_use]
    pub fn watch<T: DeserializeOwned>(&self, key: &str) -> Watch<T> {
        Watch { store: self.store.clone(), key: key.to_owned(), open: None, value: PhantomData }
    }
}

/// A watch that heals itself.
pub struct Watch<T> {
    store: kv::Store,
    key: String,
    open: Option<kv::Watch>,
    value: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Watch<T> {
    /// The next value; `None` when it was removed. Never ends: wait for it beside a shutdown token.
    /// A value of another shape is logged and passed by. Cancel-safe.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            if self.open.is_none() {
                match self.store.watch_with_history(&self.key).await {
                    Ok(watch) => self.open = Some(watch),
                    Err(error) => {
                        warn!(key = self.key, %error, "cannot be watched; trying again");
                        tokio::time::sleep(REOPEN_PAUSE).await;
                        continue;
                    }
                }
            }
            let Some(watch) = &mut self.open else { continue };
            match watch.next().await {
                Some(Ok(entry)) if entry.operation != kv::Operation::Put => return None,
                Some(Ok(entry)) => match serde_json::from_slice(&entry.value) {
                    Ok(value) => return Some(value),
                    Err(error) => warn!(key = self.key, %error, "holds something unexpected; passed by"),
                },
                ended => {
                    if let Some(Err(error)) = ended {
                        warn!(key = self.key, %error, "watch lost; opening it again");
                    }
                    self.open = None;
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
            }
        }
    }
}

fn to_bytes<T: Serialize>(key: &str, value: &T) -> Result<bytes::Bytes, BucketError> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(source) => Err(BucketError::Shape { key: key.to_owned(), source }),
    }
}

fn write_error(key: &str, source: impl std::error::Error + Send + Sync + 'static) -> BucketError {
    BucketError::Write { key: key.to_owned(), source: Box::new(source) }
}
