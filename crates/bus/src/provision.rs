//! Creates what [`topology`](crate::topology) declares, and reads how full it is.

use async_nats::jetstream::{
    ErrorCode,
    consumer::pull,
    context::{CreateKeyValueErrorKind, CreateStreamErrorKind},
    kv,
    stream::Config,
};
use futures_util::TryStreamExt as _;
use tracing::info;

use crate::{
    connect::Bus,
    topology::{self, BucketName, Keeping, Stream},
};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why something could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A stream.
    #[error("the stream {name} could not be created or changed")]
    Stream {
        /// Its name.
        name: String,
        /// What the server said.
        source: Source,
    },
    /// A consumer.
    #[error("the consumer {name} of {stream} could not be created or changed")]
    Consumer {
        /// Its stream.
        stream: &'static str,
        /// Its name.
        name: String,
        /// What the server said.
        source: Source,
    },
    /// A bucket.
    #[error("the bucket {name} could not be created")]
    Bucket {
        /// Its name.
        name: &'static str,
        /// What the server said.
        source: Source,
    },
}

/// Creates every stream, consumer and bucket, and brings those that exist up to date. Safe to run
/// again, and by several at once.
///
/// # Errors
/// [`ProvisionError`] names what failed first.
pub async fn provision(bus: &Bus, keeping: impl Into<Keeping>) -> Result<(), ProvisionError> {
    let Keeping { storage, replicas } = keeping.into();
    let apply = |config| apply(bus, Config { num_replicas: replicas, ..config });
    for stream in Stream::ALL {
        apply(stream.config(storage)).await?;
        clear(bus, stream)
            .await
            .map_err(|source| ProvisionError::Stream { name: stream.name().to_owned(), source })?;
        for consumer in stream.consumers() {
            let name = consumer.durable_name.clone().unwrap_or_default();
            attach(bus, stream, consumer).await.map_err(|source| ProvisionError::Consumer {
                stream: stream.name(),
                name,
                source,
            })?;
        }
    }
    apply(topology::dead(storage)).await?;
    apply(topology::audit()).await?;
    apply(topology::once()).await?;
    for bucket in BucketName::ALL {
        let config = kv::Config { num_replicas: replicas, ..bucket.config() };
        let made: Result<(), Source> = match bus.jetstream.create_key_value(config).await {
            Ok(_) => Ok(()),
            Err(error) if exists(&error) => spread(bus, bucket, replicas).await,
            Err(error) => Err(error.into()),
        };
        made.map_err(|source| ProvisionError::Bucket { name: bucket.name(), source })?;
    }
    info!("streams, consumers and buckets are as declared");
    Ok(())
}

/// Has as many servers hold a bucket that is there; all else of it stays.
async fn spread(bus: &Bus, bucket: BucketName, replicas: usize) -> Result<(), Source> {
    let stream = bus.jetstream.get_stream(format!("KV_{}", bucket.name())).await?;
    let there = &stream.cached_info().config;
    if there.num_replicas == replicas {
        return Ok(());
    }
    bus.jetstream.update_stream(Config { num_replicas: replicas, ..there.clone() }).await?;
    Ok(())
}

/// Removes the consumers of other versions.
async fn clear(bus: &Bus, stream: Stream) -> Result<(), Source> {
    let handle = bus.jetstream.get_stream_no_info(stream.name()).await?;
    let names: Vec<String> = handle.consumer_names().try_collect().await?;
    for name in names.iter().filter(|name| !topology::is_ours(stream, name)) {
        info!(stream = stream.name(), consumer = name, "removed: no part of this version takes by it");
        handle.delete_consumer(name).await?;
    }
    Ok(())
}

/// Where a consumer keeps its state cannot be changed: one that is otherwise is made anew, which loses no
/// message.
async fn attach(bus: &Bus, stream: Stream, consumer: pull::Config) -> Result<(), Source> {
    let name = consumer.durable_name.clone().unwrap_or_default();
    let Err(error) = bus.jetstream.create_consumer_on_stream(consumer.clone(), stream.name()).await else {
        return Ok(());
    };
    let there = bus.jetstream.get_consumer_from_stream::<pull::Config, _, _>(&name, stream.name()).await;
    match there {
        Ok(there) if there.cached_info().config.memory_storage != consumer.memory_storage => {
            bus.jetstream.delete_consumer_from_stream(&name, stream.name()).await?;
            bus.jetstream.create_consumer_on_stream(consumer, stream.name()).await?;
            Ok(())
        }
        _ => Err(error.into()),
    }
}

/// What is missing of all that is provisioned, by name.
pub async fn missing(bus: &Bus) -> Vec<String> {
    let mut missing = Vec::new();
    for stream in Stream::ALL {
        if bus.jetstream.get_stream(stream.name()).await.is_err() {
            missing.push(stream.name().to_owned());
            continue;
        }
        for consumer in stream.consumers() {
            let name = consumer.durable_name.unwrap_or_default();
            let found =
                bus.jetstream.get_consumer_from_stream::<pull::Config, _, _>(&name, stream.name()).await;
            if found.is_err() {
                missing.push(format!("consumers of {}", stream.name()));
                break;
            }
        }
    }
    for name in [topology::DEAD_STREAM, topology::AUDIT_STREAM, topology::ONCE_STREAM] {
        if bus.jetstream.get_stream(name).await.is_err() {
            missing.push(name.to_owned());
        }
    }
    for bucket in BucketName::ALL {
        if bus.bucket(bucket).await.is_err() {
            missing.push(bucket.name().to_owned());
        }
    }
    missing
}

/// Creating an identical stream writes nothing; updating one always rewrites its file.
async fn apply(bus: &Bus, config: Config) -> Result<(), ProvisionError> {
    let name = config.name.clone();
    let created = bus.jetstream.create_stream(config.clone()).await;
    let outcome: Result<(), Source> = match created {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(ref refusal)
                if refusal.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                bus.jetstream.update_stream(config).await.map(drop).map_err(Into::into)
            }
            _ => Err(error.into()),
        },
    };
    outcome.map_err(|source| ProvisionError::Stream { name, source })
}

fn exists(error: &async_nats::jetstream::context::CreateKeyValueError) -> bool {
    error.kind() == CreateKeyValueErrorKind::BucketCreate
        && std::error::Error::source(error)
            .is_some_and(|source| source.to_string().contains("already in use"))
}

/// How much a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Its name.
    pub stream: &'static str,
    /// Messages that nobody acknowledged yet; in `DEAD`, the dead letters.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
}

/// How much each stream holds, the dead letters last; a stream that is not there is left out.
pub async fn backlogs(bus: &Bus) -> Vec<Backlog> {
    let mut found = Vec::new();
    for stream in Stream::ALL.map(Stream::name).into_iter().chain([topology::DEAD_STREAM]) {
        if let Ok(info) = bus.jetstream.get_stream(stream).await {
            let state = &info.cached_info().state;
            found.push(Backlog { stream, messages: state.messages, bytes: state.bytes });
        }
    }
    found
}
