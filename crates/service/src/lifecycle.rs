//! When a service ends, and how: the first signal drains, as does the order to start again; the next ends at
//! once.

use std::{future::Future, time::Duration};

use anyhow::{anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{health::Health, run::Context};

/// How long a service may drain after it was asked to stop. Docker waits 10 s before it
/// kills, and the last spans need some of them.
const DRAIN_LIMIT: Duration = Duration::from_secs(7);
/// How often the life of the service is looked at.
const LIFE_INTERVAL: Duration = Duration::from_secs(5);

/// Runs `work` until it ends, a task fails, the service is not alive any more, it is told to start again, or a
/// signal comes; then waits, bounded, until everything is drained.
///
/// # Errors
/// Whatever made the service end unasked.
pub(crate) async fn supervise<F>(work: F, context: &Context) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let Context { tasks, health, shutdown, again, metrics, .. } = context;
    let ending = metrics.gauge("ending", "1 once the service ends because it was asked to");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::pin!(work);
    let mut ended = false;
    let outcome = tokio::select! {
        biased;
        // First: what ends with it was asked to.
        () = again.cancelled() => { info!("draining, to be started again"); Ok(()) }
        outcome = &mut work => {
            ended = true;
            outcome.and_then(|()| Err(anyhow!("the service ended without being asked to")))
        }
        () = tasks.failure() => Err(anyhow!("a task failed, see above")),
        () = not_alive(health) => Err(anyhow!("not alive any more: {}", health.readiness().reason)),
        _ = terminate.recv() => { info!("SIGTERM: draining"); Ok(()) }
        _ = interrupt.recv() => { info!("SIGINT: draining"); Ok(()) }
    };
    match &outcome {
        Ok(()) => {
            ending.set(1.0);
        }
        Err(error) => {
            error!(error = format!("{error:#}"), "ending, so that the supervisor starts a fresh one");
        }
    }
    shutdown.cancel();
    let drain = async {
        let outcome = if ended { Ok(()) } else { work.await };
        tasks.drained().await;
        outcome
    };
    let drained = tokio::select! {
        outcome = drain => outcome,
        () = tokio::time::sleep(DRAIN_LIMIT) => {
            warn!(limit_s = DRAIN_LIMIT.as_secs(), "draining took too long; what is left will be done again");
            Ok(())
        }
        _ = terminate.recv() => { warn!("second signal: ending at once"); Ok(()) }
        _ = interrupt.recv() => { warn!("second signal: ending at once"); Ok(()) }
    };
    // Whatever the drain does, the first reason is the one to report.
    outcome.and(drained)?;
    if tasks.has_failed() {
        bail!("a task failed, see above");
    }
    Ok(())
}

async fn not_alive(health: &Health) {
    let mut beat = tokio::time::interval(LIFE_INTERVAL);
    while health.readiness().alive {
        beat.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_told_to_start_again_drains_and_has_not_failed() {
        let context = Context::new("test");
        context.start_again_when(async { true });
        let shutdown = context.shutdown.clone();
        let work = async move {
            shutdown.cancelled().await;
            Ok(())
        };
        supervise(work, &context).await.unwrap();
        assert!(context.again.is_cancelled());
        assert_eq!(context.metrics.snapshot()["ending"], 1.0);
    }

    #[tokio::test]
    async fn who_ends_unasked_has_failed_also_when_nobody_can_tell_it_any_more() {
        let context = Context::new("test");
        assert!(supervise(async { Ok(()) }, &context).await.is_err());
        assert_eq!(context.metrics.snapshot()["ending"], 0.0, "else nobody would count it");
        let context = Context::new("test");
        context.start_again_when(async { false });
        let shutdown = context.shutdown.clone();
        let work = async move {
            shutdown.cancelled().await;
            Ok(())
        };
        assert!(supervise(work, &context).await.is_err());
        assert!(!context.again.is_cancelled());
    }
}
