//! How long the last answer took on each platform, as the gateways' outcomes tell.

use std::sync::{Mutex, PoisonError};

use bus::Subscription;
use commands::Latency;
use protocol::{Outcome, OutcomeBody, Platform};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::worker::Worker;

/// Outcomes of all communities.
pub const SUBJECT: &str = "outcome.>";

/// The last latency of each platform.
#[derive(Debug, Default)]
pub struct Latencies(Mutex<[Option<Latency>; Platform::ALL.len()]>);

impl Latencies {
    /// The last one, if there was an answer.
    pub fn last(&self, platform: Platform) -> Option<Latency> {
        self.with(|all| all[slot(platform)])
    }

    fn note(&self, outcome: &Outcome) {
        if let OutcomeBody::Sent { platform_us, total_us, .. } = outcome.body {
            self.with(|all| all[slot(outcome.platform)] = Some(Latency { platform_us, total_us }));
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut [Option<Latency>; Platform::ALL.len()]) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const fn slot(platform: Platform) -> usize {
    match platform {
        Platform::Discord => 0,
        Platform::Twitch => 1,
    }
}

/// Listens to outcomes until the shutdown.
pub async fn listen(worker: &Worker, mut outcomes: Subscription, shutdown: &CancellationToken) {
    while let Some(Some(incoming)) = shutdown.run_until_cancelled(outcomes.next()).await {
        match incoming.decode::<Outcome>() {
            Ok(outcome) => {
                worker.latencies.note(&outcome);
                worker.jobs.hear(&outcome).await;
            }
            Err(error) => {
                worker.numbers.undecodable.inc();
                debug!(subject = incoming.subject, %error, "passed by");
            }
        }
    }
    // A connection that is closed for good ends the subscription before the shutdown.
    shutdown.cancelled().await;
}
