//! Carries out the actions of a platform: taken by partition, in order per channel, each with an outcome.
//!
//! A gateway gives [`Actions`] something that can [`Act`], and a lease that says which partitions it has
//! now; the rest happens here:
//!
//! | module | owns |
//! |---|---|
//! | `run` | all partitions |
//! | `shared` | what they share, and telling what became of an action |
//! | `partition` | one of them: take, keep in order, leave |
//! | `work` | one action: begin, watch |
//! | `held` | an action that is not finished, and the claim before what must not happen twice |
//! | `act` | what a platform is asked, and what it may ask back |
//! | `carried` | how an action ends |
//! | `numbers` | what is counted |
//!
//! Of a partition that is released, what is in work is finished for a moment. Of one that is lost nothing
//! is begun and nothing is told. All that is not finished then comes again to the next owner, at once and in
//! its order.

mod act;
mod carried;
mod held;
mod numbers;
mod partition;
mod run;
mod shared;
mod work;

pub use act::{Act, Errand};
pub use carried::{Carried, Sent};
pub use numbers::Numbers;
pub use partition::{HELD, MAX_LANE};
pub use partitions::{Owned, resources};
pub use run::Actions;
