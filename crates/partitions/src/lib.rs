//! Partitions that processes share by lease: which of them this one works on, and how it lets go.
//!
//! A partition is taken alone, by one process at a time, so that what is said in a channel keeps its order.
//! Who takes it is up to a lease; what is done with it is up to those who use this.
//!
//! | module | owns |
//! |---|---|
//! | `run` | begins what is owned, ends what is not any more, and says what is busy |
//! | `leased` | turns a lease into what is owned |
//! | `ground` | one of them while it is worked on: is it still ours, and how does it end |
//! | `board` | what the probes hear |
//! | `recent` | what was done lately, so that a second copy of it is not done again |
//!
//! A partition comes to its end in one of two ways. *Released*: nothing more is begun, what is in work is
//! finished. *Lost*: from that moment on nothing is begun either, but somebody else may have it already, so
//! that nothing may be finished that must not happen twice. In both cases [`Partitions::busy`] says when
//! it is over.

mod board;
mod ground;
mod leased;
mod recent;
mod run;

pub use board::Board;
pub use ground::{Ground, Owned};
pub use leased::resources;
pub use recent::Recent;
pub use run::Partitions;
