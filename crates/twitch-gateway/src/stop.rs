//! How the gateway ends in time, whatever hangs: NATS, chat and the API may do so all at once.
//!
//! Each step has a moment by which it is over, counted from when the gateway was asked to end. A step
//! that is quick leaves its time to those behind it; one that is late is cut off. The service would end
//! at 7 s in any case, and Docker kills after 10 s.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A step on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// What is being sent ends or is told as uncertain, and what waits is given back. The actions' own
    /// limits are shorter.
    Actions,
    /// Another gateway joins its channels and has what this one owned.
    HandOver,
    /// Chat is left, and the last page is written.
    Chat,
    /// NATS acknowledges the last events.
    Events,
    /// What was told NATS last is in its socket.
    Bus,
}

impl Step {
    /// After what time it is over.
    #[must_use]
    pub const fn ends_after(self) -> Duration {
        Duration::from_millis(match self {
            Self::Actions => 3000,
            Self::HandOver => 4500,
            Self::Chat => 5250,
            Self::Events => 6250,
            Self::Bus => 6750,
        })
    }
}

/// The gateway is ending.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    since: Instant,
}

impl Stop {
    /// It was asked to end now.
    #[must_use]
    pub fn begin() -> Self {
        Self { since: Instant::now() }
    }

    /// How much time a step has left.
    #[must_use]
    pub fn left(&self, step: Step) -> Duration {
        step.ends_after().saturating_sub(self.since.elapsed())
    }

    /// Does the work of a step, as far as its time allows; `None` when it did not come to its end.
    pub async fn step<T>(&self, step: Step, work: impl Future<Output = T>) -> Option<T> {
        let done = timeout_at(self.since + step.ends_after(), work).await;
        if done.is_err() {
            warn!(?step, "not ended in time; going on without it");
        }
        done.ok()
    }
}

/// Runs a task until it ends, or until nobody waits for it any more.
///
/// # Errors
/// Those of the task.
pub async fn unless(
    abandoned: CancellationToken,
    task: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    abandoned.run_until_cancelled(task).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// What the service grants a drain.
    const DRAIN_LIMIT: Duration = Duration::from_secs(7);
    const STEPS: [Step; 5] = [Step::Actions, Step::HandOver, Step::Chat, Step::Events, Step::Bus];

    #[tokio::test(start_paused = true)]
    async fn when_all_hangs_each_step_has_its_time_and_the_end_comes() {
        let (begun, stop) = (Instant::now(), Stop::begin());
        for step in STEPS {
            let before = begun.elapsed();
            assert_eq!(stop.step(step, pending::<()>()).await, None);
            assert!(begun.elapsed() > before, "{step:?} has some time whatever came before");
        }
        assert!(begun.elapsed() < DRAIN_LIMIT);
        assert_eq!(stop.step(Step::Bus, ready(1)).await, Some(1), "what takes no time is done all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_step_leaves_its_time_to_the_others() {
        let stop = Stop::begin();
        assert_eq!(stop.step(Step::Actions, ready(1)).await, Some(1));
        assert_eq!(stop.left(Step::HandOver), Step::HandOver.ends_after());
    }

    #[tokio::test]
    async fn a_task_that_nobody_waits_for_ends() {
        let abandoned = CancellationToken::new();
        abandoned.cancel();
        unless(abandoned, pending()).await.unwrap();
    }
}
