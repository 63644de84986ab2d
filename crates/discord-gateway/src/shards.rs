//! Which shards run here: those that the lease gives, each until it is taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use bus::{Holding, Lease};
use futures_util::future::BoxFuture;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::stats::Stats;

/// How long it may take until it is known which shards are ours. A gateway with none is ready only then.
const SHARE_OUT_LIMIT: Duration = Duration::from_secs(1);
/// How often the clock is looked at while a shard is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs one shard until its token is cancelled; what it read is stored then, and its cursor kept.
pub type Start = Box<dyn Fn(u32, CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// The shards of this gateway.
pub struct Shards {
    lease: Arc<Lease>,
    count: u32,
    stats: Arc<Stats>,
    start: Start,
    running: JoinSet<(u32, anyhow::Result<()>)>,
    tokens: BTreeMap<u32, CancellationToken>,
}

/// The name of a shard in a lease. Another number of shards is another set of shards.
#[must_use]
pub fn resource(shard: u32, count: u32) -> String {
    format!("shard-{shard}-of-{count}")
}

/// Whether a shard is this gateway's, by the clock.
#[derive(Clone, Debug)]
pub struct Ours {
    lease: Arc<Lease>,
    name: String,
}

impl Ours {
    /// One shard of the lease.
    #[must_use]
    pub fn new(lease: Arc<Lease>, shard: u32, count: u32) -> Self {
        Self { lease, name: resource(shard, count) }
    }

    /// Whether nobody else can have it now.
    #[must_use]
    pub fn now(&self) -> bool {
        self.lease.holds(&self.name)
    }

    /// Waits until that is so.
    pub async fn wait(&self) {
        let mut held = self.lease.held();
        while !self.now() {
            // That a renewal came just in time is no change of what is held.
            let _ = timeout(LOOK_EVERY, held.changed()).await;
        }
    }
}

impl Shards {
    /// No shard runs yet.
    #[must_use]
    pub fn new(lease: Arc<Lease>, count: u32, stats: Arc<Stats>, start: Start) -> Self {
        Self { lease, count, stats, start, running: JoinSet::new(), tokens: BTreeMap::new() }
    }

    /// Starts and stops shards as the lease says, until `shutdown`; then stops them all, and leaves each to
    /// the others as soon as it has stopped and its cursor is kept.
    ///
    /// # Errors
    /// When a shard failed, or another process took this one's name.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut held = self.lease.held();
        let mut shared_out = pin!(sleep(SHARE_OUT_LIMIT));
        let outcome = loop {
            let holding = held.borrow_and_update().clone();
            if holding.replaced {
                break Err(anyhow!(
                    "another discord-gateway runs under the name of this one: give each its own VIGIE_INSTANCE"
                ));
            }
            if !holding.fenced {
                self.adjust(&holding);
                let ours: BTreeSet<u32> = self.tokens.keys().copied().collect();
                if !ours.is_empty() || shared_out.is_elapsed() {
                    self.stats.set_owned(&ours);
                }
            }
            tokio::select! {
                () = &mut shared_out, if !shared_out.is_elapsed() => {}
                changed = held.changed() => changed.context("the lease has ended")?,
                Some(ended) = self.running.join_next() => match ended {
                    Ok((shard, Ok(()))) if self.is_stopping(shard) => self.left(shard),
                    Ok((shard, Ok(()))) => break Err(anyhow!("shard {shard} ended by itself")),
                    Ok((_, Err(error))) => break Err(error),
                    Err(panicked) => break Err(panicked.into()),
                },
                () = shutdown.cancelled() => break Ok(()),
            }
        };
        for token in self.tokens.values() {
            token.cancel();
        }
        let mut outcome = outcome;
        while let Some(ended) = self.running.join_next().await {
            if let Ok((shard, _)) = ended {
                self.lease.release(&resource(shard, self.count));
            }
            outcome = outcome.and(ended.map_err(anyhow::Error::from).and_then(|(_, outcome)| outcome));
        }
        outcome
    }

    /// While the membership is confirmed: begins what is ours, ends what is not, and lets go of what is
    /// asked for and has ended.
    fn adjust(&mut self, holding: &Holding) {
        for shard in 0..self.count {
            let name = resource(shard, self.count);
            let (owned, asked) = (holding.owned.contains(&name), holding.asked.contains(&name));
            match (owned && !asked, self.tokens.get(&shard)) {
                (true, None) => self.begin(shard),
                (false, Some(token)) => token.cancel(),
                (false, None) if asked => self.lease.release(&name),
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    fn begin(&mut self, shard: u32) {
        let token = CancellationToken::new();
        let run = (self.start)(shard, token.clone());
        self.running.spawn(async move { (shard, run.await) });
        self.tokens.insert(shard, token);
        info!(shard, "this shard is ours");
    }

    fn is_stopping(&self, shard: u32) -> bool {
        self.tokens.get(&shard).is_some_and(CancellationToken::is_cancelled)
    }

    fn left(&mut self, shard: u32) {
        self.tokens.remove(&shard);
        info!(shard, "this shard is left to another gateway");
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards")
            .field("count", &self.count)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}
