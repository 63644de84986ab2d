//! The Discord gateway of Vigie: the only crate that knows Discord's wire.
//!
//! | module | owns |
//! |---|---|
//! | `discover` | who the bot is, where the gateway is |
//! | `agreement`, `shards` | how many shards there are, and which run here: all gateways of the bot share them |
//! | `reach` | leaving everything to others while Discord cannot be reached from here |
//! | `identify`, `ledger`, `backoff`, `shard`, `link` | connections: when, with which session, for how long |
//! | `frame`, `facts`, `convert`, `reader` | what came in, and what it becomes |
//! | `publish`, `cursor` | events to JetStream, and from where to resume |
//! | `interactions` | slash commands, buttons, completions |
//! | `execute`, `refusals`, `render` | what the bot does; taken and kept in order by the crate `actions` |
//! | `slash` | registration of slash commands |
//! | `rest`, `spent` | requests, limits, the budget of refused ones |
//! | `stats`, `streak` | numbers and health |
//!
//! What ends the process, and what does not: a refused token does, because only a restart reads the
//! setting (or its file) again, and the supervisor waits longer each time. A refused intent or shard
//! count does not: it is mended in Discord's developer portal, so the shard stays off, says why in
//! `/readyz` and in the log, and one shard tries again every 5 minutes, for all. A gateway that has no
//! live session for 15 minutes, for no such reason, ends itself.

pub mod agreement;
pub mod backoff;
mod config;
pub mod convert;
pub mod cursor;
pub mod discover;
pub mod execute;
pub mod facts;
pub mod frame;
pub mod identify;
pub mod interactions;
pub mod ledger;
pub mod link;
pub mod publish;
pub mod reach;
pub mod reader;
pub mod refusals;
pub mod render;
pub mod rest;
mod run;
pub mod shard;
pub mod shards;
pub mod slash;
pub mod spent;
pub mod stats;
pub mod streak;
pub mod words;

pub use config::{Config, SETTINGS};
pub use run::run;
