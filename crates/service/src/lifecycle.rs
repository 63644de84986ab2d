//! When a service ends, and how: the first signal drains, the second ends at once.

use std::{future::Future, time::Duration};

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{health::Health, tasks::Tasks};

/// How long a service may drain after it was asked to stop. Docker waits 10 s before it kills.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);
/// How often the life of the service is looked at.
const LIFE_INTERVAL: Duration = Duration::from_secs(5);

/// Runs `work` until it ends, a task fails, the service is not alive any more, or a signal comes;
/// then waits, bounded, until everything is drained.
///
/// # Errors
/// Whatever made the service end unasked.
pub(crate) async fn supervise<F>(
    work: F,
    tasks: &Tasks,
    health: &Health,
    shutdown: &CancellationToken,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::pin!(work);
    let early = tokio::select! {
        outcome = &mut work => Some(outcome),
        () = tasks.failure() => None,
        () = not_alive(health) => {
            let reason = health.readiness().reason;
            error!(reason, "not alive any more; ending so that the supervisor starts a fresh one");
            shutdown.cancel();
            bail!("not alive: {reason}")
        }
        _ = terminate.recv() => { info!("SIGTERM: draining"); None }
        _ = interrupt.recv() => { info!("SIGINT: draining"); None }
    };
    let asked = early.is_none();
    shutdown.cancel();
    let drain = async {
        let outcome = match early {
            Some(outcome) => outcome,
            None => work.await,
        };
        tasks.drained().await;
        outcome
    };
    let outcome = tokio::select! {
        outcome = drain => outcome,
        () = tokio::time::sleep(DRAIN_LIMIT) => {
            warn!(limit_s = DRAIN_LIMIT.as_secs(), "draining took too long; what is left will be done again");
            Ok(())
        }
        _ = terminate.recv() => { warn!("second signal: ending at once"); Ok(()) }
        _ = interrupt.recv() => { warn!("second signal: ending at once"); Ok(()) }
    };
    outcome?;
    if tasks.has_failed() {
        bail!("a task failed, see above");
    }
    if !asked {
        bail!("the service ended without being asked to");
    }
    Ok(())
}

async fn not_alive(health: &Health) {
    let mut beat = tokio::time::interval(LIFE_INTERVAL);
    while health.readiness().alive {
        beat.tick().await;
    }
}
