//! The budget of refused requests over restarts, beside what the other gateways of the bot have spent:
//! Discord counts by address, and all of them may have the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Bucket, BucketError};
use service::clock::unix_ms;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    rest::{
        Rest,
        budget::{Slot, WINDOW_MS},
    },
    streak::Streak,
};

/// Where it is kept.
const KEY: &str = "discord.refused-requests";
/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// What each gateway has spent, by instance.
type All = BTreeMap<String, Vec<Slot>>;

/// Keeps what this gateway has spent.
#[derive(Debug)]
pub struct Spent {
    /// Where it is kept.
    pub session: Bucket,
    /// Who spends it.
    pub rest: Arc<Rest>,
    /// The name of this gateway.
    pub instance: String,
}

impl Spent {
    /// Goes on where the process before stopped.
    pub async fn restore(&self) {
        match self.session.get::<All>(KEY).await {
            Ok(saved) => {
                let mut saved = saved.unwrap_or_default();
                let own = saved.remove(&self.instance).unwrap_or_default();
                self.rest.budget().restore(&own, unix_ms());
                self.rest.budget().set_others(saved.into_values().flatten().collect());
            }
            Err(error) => warn!(%error, "the budget of refused requests cannot be read; it starts anew"),
        }
    }

    /// Writes it whenever it has changed, until `shutdown`.
    ///
    /// # Errors
    /// Never: what could not be written is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = self.rest.budget().saved(unix_ms());
        let mut streak = Streak::default();
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            let now = self.rest.budget().saved(unix_ms());
            if now == kept {
                continue;
            }
            match self.save().await {
                Ok(()) => {
                    kept = now;
                    if streak.succeeded() {
                        info!("the budget of refused requests is kept again");
                    }
                }
                // Another gateway wrote first: this one's turn comes.
                Err(BucketError::Changed { .. }) => {}
                Err(error) if streak.failed(Instant::now()).is_zero() => {
                    warn!(%error, "the budget of refused requests is not kept; trying again until it is");
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Writes what this gateway has spent beside what the others have, and counts that.
    ///
    /// # Errors
    /// When NATS does not answer, or another gateway wrote at the same time.
    pub async fn save(&self) -> Result<(), BucketError> {
        let now_ms = unix_ms();
        let entry = self.session.entry::<All>(KEY).await?;
        let (mut all, revision) = entry.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
        all.retain(|_, slots| slots.last().is_some_and(|slot| slot.at_ms + WINDOW_MS > now_ms));
        all.remove(&self.instance);
        self.rest.budget().set_others(all.values().flatten().copied().collect());
        let own = self.rest.budget().saved(now_ms);
        if !own.is_empty() {
            all.insert(self.instance.clone(), own);
        }
        self.session.put_if(KEY, &all, revision).await.map(drop)
    }
}
