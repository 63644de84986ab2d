//! What the bot can do: one file per command under `builtin/`. A question comes in (an event, a slash
//! command, a pressed button), an answer goes out. Nothing here does I/O: what a command needs to know
//! of the world it asks from [`Facts`], so each command is tested without a server.
//!
//! From one [`Definition`] come the chat command on every platform, the slash command in the
//! [`Catalogue`](protocol::Catalogue), the check of the arguments, and `help`.
//! `docs/adding-a-command.md` shows how to add one.
//!
//! Not here: who holds a cooldown, deadlines, traces and publishing (see `command-worker`), and how a
//! platform shows an answer (see the gateways).

mod answer;
mod arguments;
mod ask;
mod builtin;
mod call;
mod catalogue;
mod definition;
mod engine;
mod facts;
mod fleet;
mod harmless;
mod language;
mod order;
mod owners;
mod progress;
mod units;

#[cfg(test)]
mod fixture;

pub use answer::{Answer, Failure, apology, chat_actions};
pub use arguments::{ArgumentError, Arguments};
pub use ask::{Ask, Form};
pub use builtin::ALL;
pub use call::{Call, Cooldown};
pub use catalogue::catalogue;
pub use definition::{Definition, Param, Running};
pub use engine::{Asked, Engine, Passed};
pub use facts::{Backups, Deploys, Facts, Gathering, Latency, Me, Silence, Told};
pub use harmless::harmless;
pub use language::{Language, UnknownLanguage};
pub use order::{Office, Order};
pub use owners::{NotAnAccount, Owners};
pub use progress::{Look, Words};
