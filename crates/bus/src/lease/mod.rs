//! Leases: who of several processes owns a shard, a channel, a partition of actions.
//!
//! Members of a group keep a small key each, which the server removes when it is not renewed, and share
//! one table that says who owns what. The table is written only when something moves, so a quiet group
//! costs one small write for each member and renewal, however much it owns.
//!
//! | file | what it owns |
//! |---|---|
//! | `handle` | what a user says, and asks |
//! | `holding` | what a member holds: passed from the task to the user |
//! | `task` | does what the machine says, tells it what happened |
//! | `machine`, `heard`, `wishes` | one membership as a state machine without I/O and clock |
//! | `plan`, `hash` | who should own what, and who may change it |
//! | `table`, `keys` | what is written, and how |
//! | `rules` | the times |
//!
//! What keeps two from owning the same is said at the head of `machine`; `sim` tries to break it.

mod handle;
mod hash;
mod heard;
mod holding;
mod keys;
mod machine;
mod plan;
mod rules;
#[cfg(test)]
mod sim;
mod table;
mod task;
mod wishes;

pub use handle::{Lease, LeaseError};
pub use holding::Holding;
pub use plan::Handover;
pub use rules::{NAME_MAX, RESOURCE_NAME_MAX, RESOURCES_MAX};
