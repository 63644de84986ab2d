//! What is stored in NATS, for how long, and who takes it. Declared here once; `vigie provision`
//! applies it and services only look it up.
//!
//! | stream | subjects | kept | consumers |
//! |---|---|---|---|
//! | `EVENTS` | `event.>` | until a worker acknowledged, at most 15 min | `commands-<partition>-…`, `community` |
//! | `CHATTER` | `chatter.*` | until a worker acknowledged, at most 15 min; the oldest go when full | `chatter` |
//! | `ACTIONS_DISCORD`, `ACTIONS_TWITCH` | `action.<platform>.>` | until the gateway acknowledged, at most 15 min | `actions-<partition>-…` |
//! | `DEAD` | `dead.*` | 7 days | none; the CLI reads it |
//! | `AUDIT` | `audit.*` | 90 days; the oldest go when full | none; the CLI reads it |
//! | `ONCE` | `once.>` | the time of each hold | none |
//!
//! All but `DEAD`, `AUDIT` and `ONCE` are work queues: an acknowledgement deletes the message, so that a killed
//! server cannot deliver it again (a limits stream does). Storage is the disk with default
//! persistence: no acknowledged message is lost when the server is killed, and a power cut costs at
//! most the server's `sync_interval`. Memory is for worn SD cards: a restart of NATS then loses what
//! is in flight. `ONCE` is always in memory: what it holds is over in seconds.
//!
//! `community` and `chatter` are shared by all workers. Of commands and actions, each partition has one
//! owner at a time, who makes its consumer: see [`Bus::take_over`](crate::Bus::take_over).
//!
//! Consumers keep their state in memory, always: a server that starts again has none of them until they
//! are made again, those of an owner by the owner, the others by `vigie provision --stay`, at once. Their
//! messages are where they were.
//!
//! In a cluster each of them may be held by several servers ([`Keeping::replicas`]), and so are its consumers.
//!
//! Messages have no lifetime of their own: whoever takes one looks at the clock, and tells what came
//! too late; what the server removes is gone without a word.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    kv,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use protocol::{Platform, subject};

/// The largest payload that is sent, in bytes. The server's `max_payload` is the same with room for
/// headers.
pub const MAX_PAYLOAD_BYTES: usize = 240 * 1024;
/// The stream behind [`Bus::once`](crate::Bus::once).
pub(crate) const ONCE_STREAM: &str = "ONCE";
/// The first token of its subjects.
pub(crate) const ONCE_PREFIX: &str = "once";
/// The stream of what was done to the bot and the machine.
pub(crate) const AUDIT_STREAM: &str = "AUDIT";
/// The stream of dead letters.
pub(crate) const DEAD_STREAM: &str = "DEAD";

/// When a message that was given out and not acknowledged is given out again. An owner knows what it still
/// has, so this only brings back what was lost on the way, in time to be answered.
const ACK_WAIT: Duration = Duration::from_secs(8);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What nobody took by then is of no use: chat is about now.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);
/// A message id seen again within this time is a duplicate.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10 * 60);
const MIB: i64 = 1024 * 1024;

/// Where streams are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk: survives restarts.
    #[default]
    File,
    /// In memory: spares a worn SD card.
    Memory,
}

/// How streams and buckets are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Where.
    pub storage: Storage,
    /// How many servers of a cluster hold each of them: 1, 3 or 5. What more than half of them hold is stored.
    pub replicas: usize,
}

impl From<Storage> for Keeping {
    fn from(storage: Storage) -> Self {
        Self { storage, replicas: 1 }
    }
}

/// A stream that somebody consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Commands, and rare events of a community.
    Events,
    /// Batches of chat messages.
    Chatter,
    /// What the Discord gateway has to do.
    ActionsDiscord,
    /// What the Twitch gateway has to do.
    ActionsTwitch,
}

impl Stream {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Events, Self::Chatter, Self::ActionsDiscord, Self::ActionsTwitch];

    /// Its name on the server.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "EVENTS",
            Self::Chatter => "CHATTER",
            Self::ActionsDiscord => "ACTIONS_DISCORD",
            Self::ActionsTwitch => "ACTIONS_TWITCH",
        }
    }

    /// The stream of a platform's actions.
    #[must_use]
    pub const fn actions(platform: Platform) -> Self {
        match platform {
            Platform::Discord => Self::ActionsDiscord,
            Platform::Twitch => Self::ActionsTwitch,
        }
    }

    fn subjects(self) -> Vec<String> {
        match self {
            Self::Events => vec!["event.>".to_owned()],
            Self::Chatter => vec!["chatter.*".to_owned()],
            Self::ActionsDiscord => vec!["action.discord.>".to_owned()],
            Self::ActionsTwitch => vec!["action.twitch.>".to_owned()],
        }
    }

    pub(crate) fn config(self, storage: Storage) -> Config {
        Config {
            name: self.name().to_owned(),
            subjects: self.subjects(),
            retention: RetentionPolicy::WorkQueue,
            storage: storage.into(),
            max_age: MAX_AGE,
            max_bytes: 64 * MIB,
            // Refused messages wait at their gateway, which then stops reading; chatter is shed instead.
            discard: if self == Self::Chatter { DiscardPolicy::Old } else { DiscardPolicy::New },
            duplicate_window: DUPLICATE_WINDOW,
            ..Config::default()
        }
    }

    /// What several take together. That of a queue its owners make.
    pub(crate) fn consumers(self) -> Vec<pull::Config> {
        let (name, subjects) = match self {
            Self::Events => {
                ("community", ["raid", "subscription", "gift"].map(|kind| format!("event.*.*.{kind}")).into())
            }
            Self::Chatter => ("chatter", self.subjects()),
            Self::ActionsDiscord | Self::ActionsTwitch => return Vec::new(),
        };
        vec![consumer(name.to_owned(), subjects)]
    }
}

/// Whether a consumer of `stream` belongs there. What another version left behind would keep the ones that do
/// from being made: no two consumers of a work queue may take the same message.
pub(crate) fn is_ours(stream: Stream, consumer: &str) -> bool {
    let shared = stream.consumers().iter().any(|shared| shared.durable_name.as_deref() == Some(consumer));
    let queues = [Queue::Commands, Queue::Actions(Platform::Discord), Queue::Actions(Platform::Twitch)];
    let owned = |queue: Queue| {
        (0..subject::PARTITIONS).any(|partition| consumer.starts_with(&queue.consumers_of(partition)))
    };
    shared || queues.into_iter().any(|queue| queue.stream() == stream && owned(queue))
}

/// What is taken by partition: each message by the one owner of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// The commands of all platforms.
    Commands,
    /// What the gateway of a platform has to do.
    Actions(Platform),
}

impl Queue {
    /// Where its messages are.
    #[must_use]
    pub const fn stream(self) -> Stream {
        match self {
            Self::Commands => Stream::Events,
            Self::Actions(platform) => Stream::actions(platform),
        }
    }

    /// How the consumers of a partition begin; what follows is the owner's.
    pub(crate) fn consumers_of(self, partition: u16) -> String {
        match self {
            Self::Commands => format!("commands-{partition}-"),
            Self::Actions(_) => format!("actions-{partition}-"),
        }
    }

    pub(crate) fn consumer(self, partition: u16, name: String) -> pull::Config {
        let subject = match self {
            Self::Commands => subject::commands_of(partition),
            Self::Actions(platform) => subject::actions_of(platform, partition),
        };
        consumer(name, vec![subject])
    }
}

fn consumer(name: String, subjects: Vec<String>) -> pull::Config {
    let mut config = pull::Config {
        durable_name: Some(name),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: 512,
        // On disk, the server writes a file anew for nearly every message that is taken: five times as
        // many bytes as the messages themselves. What is lost with it is only who had taken what, and a
        // message that was taken and not acknowledged is given out again anyway.
        memory_storage: true,
        ..pull::Config::default()
    };
    match <[String; 1]>::try_from(subjects) {
        Ok([only]) => config.filter_subject = only,
        Err(several) => config.filter_subjects = several,
    }
    config
}

/// A key-value bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketName {
    /// Resume cursors and what a gateway must remember across restarts.
    Session,
    /// What everybody watches: the command catalogue, per-community settings.
    Settings,
    /// Who owns a shard, a channel, a partition. See [`Bus::join`](crate::Bus::join).
    Lease,
}

impl BucketName {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Session, Self::Settings, Self::Lease];

    /// Its name on the server.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Settings => "settings",
            Self::Lease => "lease",
        }
    }

    pub(crate) fn config(self) -> kv::Config {
        kv::Config {
            bucket: self.name().to_owned(),
            history: 1,
            max_bytes: 16 * MIB,
            max_value_size: 256 * 1024,
            // Always on disk: these are what a restart needs.
            storage: StorageType::File,
            // Keys with a time to live, and watches that see them end.
            limit_markers: (self == Self::Lease).then_some(MINUTE),
            ..kv::Config::default()
        }
    }
}

/// Where the parts of a snapshot come, and are acknowledged.
pub(crate) const SNAPSHOT_PARTS: &str = "snapshot";

/// A stream that can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its name on the server; a bucket is `KV_…`.
    pub name: &'static str,
    /// Whether it is meant to last. What only passes (events, actions) is not put back: it was answered since.
    pub lasting: bool,
}

/// All that can be saved. Leases are not among them: they say who owns what now.
pub const SAVED: [Saved; 8] = [
    Saved { name: Stream::Events.name(), lasting: false },
    Saved { name: Stream::Chatter.name(), lasting: false },
    Saved { name: Stream::ActionsDiscord.name(), lasting: false },
    Saved { name: Stream::ActionsTwitch.name(), lasting: false },
    Saved { name: DEAD_STREAM, lasting: true },
    Saved { name: AUDIT_STREAM, lasting: true },
    Saved { name: "KV_session", lasting: true },
    Saved { name: "KV_settings", lasting: true },
];

pub(crate) fn dead(storage: Storage) -> Config {
    Config {
        name: DEAD_STREAM.to_owned(),
        subjects: vec!["dead.*".to_owned()],
        storage: storage.into(),
        max_age: 7 * DAY,
        max_bytes: 16 * MIB,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        ..Config::default()
    }
}

/// Always on disk: it is rare, and read when something went wrong.
pub(crate) fn audit() -> Config {
    Config {
        name: AUDIT_STREAM.to_owned(),
        subjects: vec!["audit.*".to_owned()],
        storage: StorageType::File,
        max_age: 90 * DAY,
        max_bytes: 8 * MIB,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

pub(crate) fn once() -> Config {
    Config {
        name: ONCE_STREAM.to_owned(),
        subjects: vec![format!("{ONCE_PREFIX}.>")],
        storage: StorageType::Memory,
        max_age: DAY,
        max_bytes: 8 * MIB,
        max_messages_per_subject: 1,
        duplicate_window: MINUTE,
        allow_direct: true,
        allow_message_ttl: true,
        ..Config::default()
    }
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::File => Self::File,
            Storage::Memory => Self::Memory,
        }
    }
}
