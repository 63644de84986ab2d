//! Tasks that belong to a service. None runs without an owner: one that fails, or ends before it was
//! asked to, takes the service down, so that its supervisor starts it afresh.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error, info_span};

/// The tasks of a service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), shutdown, failed: CancellationToken::new() }
    }

    /// Runs a task until it ends. It must end soon after the service's `shutdown` was cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        let guarded = async move {
            // A panic in the task must end the service too, so it is awaited through its handle.
            let outcome = tokio::spawn(task.in_current_span()).await;
            match outcome {
                Ok(Ok(())) if shutdown.is_cancelled() => return,
                Ok(Ok(())) => error!(task = name, "task ended without being asked to"),
                Ok(Err(error)) => error!(task = name, error = format!("{error:#}"), "task failed"),
                Err(error) => error!(task = name, %error, "task panicked"),
            }
            failed.cancel();
        };
        self.tracker.spawn(guarded.instrument(info_span!("task", task = name)));
    }

    /// Resolves when some task failed.
    pub(crate) async fn failure(&self) {
        self.failed.cancelled().await;
    }

    /// Whether some task failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
