//! The only crate that talks to NATS.
//!
//! | to do | call |
//! |---|---|
//! | connect, see whether the link is up | [`Bus::connect_as`], [`Bus::link`] |
//! | see who may do what | [`access`] |
//! | store a message, sure that it is stored | [`Bus::store`]; many, in order: [`Outbox`] |
//! | take stored messages, each once | with others: [`Bus::consume`]; a partition alone: [`Bus::take_over`] |
//! | ask and be answered | [`Bus::request`], [`Bus::serve`] |
//! | command a service, obey, note what was done | [`Bus::command`], [`Bus::obey`], [`Bus::obey_restart`], [`Bus::note`], [`Bus::trail`] |
//! | tell whoever listens | [`Bus::notify`], [`Bus::subscribe`] |
//! | keep a small value, watch it | [`Bus::bucket`] |
//! | look at what failed for good, give it back, remove it | [`Bus::dead_letters`] |
//! | hold something for a while, once among all | [`Bus::once`] |
//! | share shards, channels, partitions with other processes | [`Bus::join`] |
//! | be found and counted | [`Bus::announce`], [`Bus::stats`] |
//! | hear of all services, again and again | [`Bus::roll`] |
//! | see how full streams are, and what waits for whom | [`Bus::survey`] |
//! | save streams and buckets as files, put them back | [`Bus::save_stream`], [`Bus::put_stream_back`] |
//! | create streams, consumers, buckets | [`provision`], once, before the services |
//!
//! What is stored where, for how long and at what cost is said in [`topology`].

pub mod access;
mod announce;
mod bucket;
mod connect;
mod consume;
mod control;
mod dead;
mod lease;
mod message;
mod once;
mod outbox;
mod provision;
mod request;
mod roll;
mod snapshot;
mod store;
mod survey;
pub mod topology;

pub use access::{Nkey, User};
pub use announce::{AnnounceError, Announcement, DISCOVERY_LIMIT};
pub use bucket::{Bucket, BucketError, Entry, Watch};
pub use connect::{Bus, ConnectError, Link, Login, NATS_URL_DEFAULT, Options, without_credentials};
pub use consume::{Confirmed, ConsumeError, Consumer, Delivery};
pub use control::{Ordered, Orders, RestartOrders, Since, TRAIL_MAX, TrailError};
pub use dead::{DeadError, DeadLetters, Letter, ReplayError, Replayed, Tally};
pub use lease::{Handover, Holding, Lease, LeaseError, NAME_MAX, RESOURCE_NAME_MAX, RESOURCES_MAX};
pub use message::{Incoming, Message, Subscription};
pub use once::OnceError;
pub use outbox::{Outbox, OutboxError};
pub use provision::{Backlog, ProvisionError, backlogs, missing, provision};
pub use request::{Request, RequestError, Requests, RespondError};
pub use roll::{Heard, Roll};
pub use snapshot::{Cut, SnapshotError};
pub use store::StoreError;
pub use survey::{QueueState, StreamState, Survey, SurveyError};
pub use topology::{BucketName, Keeping, Queue, SAVED, Saved, Storage, Stream};
