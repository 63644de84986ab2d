//! How full everything is, and how much waits for whom: one look at all that `vigie provision` makes.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{ErrorCode, consumer, context::GetStreamErrorKind};
use futures_util::TryStreamExt as _;

use crate::{
    connect::Bus,
    topology::{AUDIT_STREAM, BucketName, DEAD_STREAM, ONCE_STREAM, Stream},
};

/// What NATS holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Streams and buckets that are there.
    pub streams: Vec<StreamState>,
    /// What is taken from them.
    pub queues: Vec<QueueState>,
    /// Streams and buckets that should be there and are not.
    pub missing: Vec<&'static str>,
}

/// A stream, or a bucket as `KV_…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Its name on the server.
    pub name: &'static str,
    /// How many messages it holds; in a work queue, those that nobody acknowledged yet.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// How much it may hold.
    pub limit_bytes: Option<u64>,
    /// Age of the oldest message; zero when it is empty.
    pub oldest: Duration,
    /// The number that was given last.
    pub last: u64,
}

/// All consumers of one kind, those of all partitions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// `commands`, `community`, `chatter`, `actions_discord` or `actions_twitch`.
    pub name: &'static str,
    /// How many consumers there are.
    pub consumers: u64,
    /// Messages that nobody has taken yet.
    pub pending: u64,
    /// Messages taken and not acknowledged.
    pub ack_pending: u64,
    /// Those of them that were given out more than once.
    pub redelivered: u64,
}

/// Why there is nothing to be told.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A stream.
    #[error("NATS did not tell of {stream}")]
    Stream {
        /// Which one.
        stream: &'static str,
        /// What the client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Bus {
    /// Looks at every stream, bucket and consumer, with one request for each stream and bucket, and one more for
    /// the consumers of each work queue.
    ///
    /// # Errors
    /// [`SurveyError`] when NATS does not answer. Something that is not there is in [`Survey::missing`].
    pub async fn survey(&self) -> Result<Survey, SurveyError> {
        let mut survey = Survey::default();
        for stream in Stream::ALL {
            if self.add_stream(&mut survey, stream.name()).await? {
                self.add_queues(&mut survey, stream).await?;
            }
        }
        let buckets = BucketName::ALL.map(|bucket| match bucket {
            BucketName::Session => "KV_session",
            BucketName::Settings => "KV_settings",
            BucketName::Lease => "KV_lease",
        });
        for name in [AUDIT_STREAM, DEAD_STREAM, ONCE_STREAM].into_iter().chain(buckets) {
            self.add_stream(&mut survey, name).await?;
        }
        Ok(survey)
    }

    /// Whether the stream is there.
    async fn add_stream(&self, survey: &mut Survey, name: &'static str) -> Result<bool, SurveyError> {
        let stream = match self.jetstream.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) if is_missing(&error.kind()) => {
                survey.missing.push(name);
                return Ok(false);
            }
            Err(error) => return Err(SurveyError::Stream { stream: name, source: error.into() }),
        };
        let info = stream.cached_info();
        let first = SystemTime::from(info.state.first_timestamp);
        let oldest = SystemTime::now().duration_since(first).unwrap_or_default();
        survey.streams.push(StreamState {
            name,
            messages: info.state.messages,
            bytes: info.state.bytes,
            limit_bytes: u64::try_from(info.config.max_bytes).ok(),
            oldest: if info.state.messages == 0 { Duration::ZERO } else { oldest },
            last: info.state.last_sequence,
        });
        Ok(true)
    }

    async fn add_queues(&self, survey: &mut Survey, stream: Stream) -> Result<(), SurveyError> {
        let told = |source: Box<dyn std::error::Error + Send + Sync>| SurveyError::Stream {
            stream: stream.name(),
            source,
        };
        let handle = self.jetstream.get_stream_no_info(stream.name()).await;
        let mut consumers = handle.map_err(|error| told(error.into()))?.consumers();
        let names: &[&'static str] = match stream {
            Stream::Events => &["commands", "community"],
            Stream::Chatter => &["chatter"],
            Stream::ActionsDiscord => &["actions_discord"],
            Stream::ActionsTwitch => &["actions_twitch"],
        };
        let mut queues: Vec<QueueState> =
            names.iter().map(|name| QueueState { name, ..QueueState::default() }).collect();
        while let Some(info) = consumers.try_next().await.map_err(|error| told(error.into()))? {
            // Those of partitions are called `actions-3-…`, and the others as their queue is.
            let start = info.name.split('-').next().unwrap_or_default();
            if let Some(queue) = queues.iter_mut().find(|queue| queue.name.split('_').next() == Some(start)) {
                queue.add(&info);
            }
        }
        survey.queues.extend(queues);
        Ok(())
    }
}

impl QueueState {
    fn add(&mut self, info: &consumer::Info) {
        self.consumers += 1;
        self.pending += info.num_pending;
        self.ack_pending += info.num_ack_pending as u64;
        self.redelivered += info.num_redelivered as u64;
    }
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
