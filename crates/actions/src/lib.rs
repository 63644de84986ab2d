//! Carries out the actions of a platform: taken by partition, in order per channel, each with an outcome.
//!
//! A gateway gives [`Actions`] something that can [`Act`], and says by [`Owned`] which partitions it has
//! now; the rest happens here:
//!
//! | module | owns |
//! |---|---|
//! | `run` | which partitions are worked on, and what the probes hear of that |
//! | `partition` | one of them: take, keep in order, tell NATS that it is held, leave |
//! | `work` | one action: begin, watch, settle, tell its outcome |
//! | `held` | whose an action is by what NATS knows, and the claim before what must not happen twice |
//! | `act` | what a platform is asked, and what it may ask back |
//! | `owned`, `leased` | whether a partition is ours, and how it is shared |
//! | `done`, `numbers` | what was done lately, what is counted |
//!
//! A partition comes to its end in one of two ways. *Released*: nothing more is taken, what is in work is
//! finished for a moment, the rest is given back once NATS knows that nothing is pulled any more. *Lost*:
//! from that moment on nothing is begun and NATS is told nothing, because somebody else may have it all.
//! In both cases [`Actions::busy`] says when it is over.

mod act;
mod done;
mod held;
mod leased;
mod numbers;
mod owned;
mod partition;
mod run;
mod work;

pub use act::{Act, Carried, Errand, Sent};
pub use leased::resources;
pub use numbers::Numbers;
pub use owned::Owned;
pub use partition::{HELD, MAX_LANE};
pub use run::Actions;
