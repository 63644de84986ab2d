//! What passes between the services of Vigie, and nothing that does I/O.
//!
//! A *gateway* turns what its platform sends into an [`Event`] or an [`Interaction`], and carries out
//! [`Action`]s, of which it reports an [`Outcome`]. A *worker* turns events into actions. The
//! subjects they travel on are functions in [`subject`]. Payloads are JSON with a version in `v`;
//! `docs/schema/` holds their JSON Schemas, which `cargo xtask schema` generates from this crate, so
//! that a worker can be written in any language.
//!
//! Adding an optional field is compatible; anything else is a new [`VERSION`].

mod action;
mod catalogue;
mod content;
pub mod control;
mod event;
mod id;
mod interaction;
mod outcome;
mod stats;
pub mod subject;
mod trace;
mod wire;

pub use action::{ACTION_LIFE_MS, Action, ActionBody, Delivery};
pub use catalogue::{Catalogue, Choice, CommandSpec, Localized, OptionKind, OptionSpec};
pub use content::{Button, ButtonStyle, Card, CardField, Content};
pub use event::{
    Author, Batch, COMMAND_LIFE_MS, ChatMessage, Command, Event, EventBody, Gift, Raid, Rank, Subscription,
};
pub use id::{ActionId, ChannelId, CommunityId, EventId, InvalidId, MessageId, Platform, UserId};
pub use interaction::{Interaction, InteractionBody, InteractionResponse, OptionValue, ResponseBody};
pub use outcome::{DropReason, Outcome, OutcomeBody};
pub use stats::ServiceStats;
pub use trace::{InvalidTraceParent, TraceParent};
pub use wire::{DecodeError, VERSION, Versioned, decode, encode};
