//! How many shards the bot has: one number for all of its gateways. Two that ran sessions of different
//! numbers would both hear everything.
//!
//! The number is kept beside the names of those that read by it, and stands for as long as one of them lives:
//! a gateway that is set to `auto` takes it over, and one that is set to another number reads nothing and says
//! so. When none of them is left, whoever comes next decides anew.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::anyhow;
use bus::{Bucket, BucketError, Lease};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::stats::Stats;

/// How often to look whether the number still stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who reads by a number and was not seen in the lease for so long has ended. It is longer than a stop takes,
/// in which a gateway reads on and is not counted any more.
const GONE_AFTER: Duration = Duration::from_secs(8);
/// How long taking the own name off may take.
const WITHDRAW_LIMIT: Duration = Duration::from_millis(500);

/// How many shards this gateway would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `DISCORD_SHARDS` is a number.
    Exactly(u32),
    /// `DISCORD_SHARDS` is `auto`, and Discord recommends this number.
    Recommended(u32),
}

/// The number of shards, as all gateways of the bot keep it together.
#[derive(Debug)]
pub struct Agreement {
    /// Where it is kept.
    pub kv: Bucket,
    /// Under which name.
    pub key: String,
    /// The name of this gateway.
    pub instance: String,
    /// What this gateway would have.
    pub wish: Wish,
    /// Tells who lives.
    pub lease: Arc<Lease>,
    /// Counts the sessions that another number of shards ends.
    pub stats: Arc<Stats>,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Agreed {
    /// 0 when nothing is agreed on.
    count: u32,
    /// The instances that read by it.
    gateways: BTreeSet<String>,
}

/// What this gateway may do.
#[derive(Debug)]
enum Verdict {
    /// Read by this number.
    Read(u32),
    /// Nothing, and why.
    Wait(String),
}

impl Wish {
    const fn number(self) -> u32 {
        match self {
            Self::Exactly(count) | Self::Recommended(count) => count,
        }
    }
}

impl Agreement {
    /// Waits until this gateway may read shards; gives how many there are. `tell` hears why it may not, and
    /// `None` once it may.
    pub async fn reach(&self, tell: impl Fn(Option<String>)) -> u32 {
        let mut held = self.lease.held();
        let mut unseen_since = None;
        loop {
            let holding = held.borrow_and_update().clone();
            if !holding.fenced {
                match self.settle(&holding.members, &mut unseen_since).await {
                    Ok(Verdict::Read(count)) => {
                        info!(count, "the number of shards is agreed on");
                        tell(None);
                        return count;
                    }
                    Ok(Verdict::Wait(words)) => tell(Some(words)),
                    // Another gateway decided at the same time.
                    Err(BucketError::Changed { .. }) => continue,
                    Err(error) => warn!(%error, "the number of shards is not known yet; asking until it is"),
                }
            }
            // After either it is looked at again.
            let _ = timeout(LOOK_EVERY, held.changed()).await;
        }
    }

    /// Stays named among those that read by `count`. Ends with the reason when the others have decided
    /// otherwise, which they can only while this gateway is away from NATS.
    pub async fn keep(&self, count: u32) -> anyhow::Error {
        let mut changes = self.kv.watch::<Agreed>(&self.key);
        loop {
            match changes.next().await {
                Some(now) if now.count != count && now.count != 0 => {
                    let others = named(&now.gateways);
                    return anyhow!(
                        "while this gateway was away, others ({others}) began to read {} shards instead of \
                         {count}; starting again",
                        now.count
                    );
                }
                Some(now) if now.count == count && now.gateways.contains(&self.instance) => {}
                _ => self.name(count).await,
            }
        }
    }

    /// Has this gateway named among those that read by `count`, unless that is not kept any more.
    async fn name(&self, count: u32) {
        loop {
            match self.change(count, |gateways| gateways.insert(self.instance.clone())).await {
                // What changed it is told next.
                Ok(()) | Err(BucketError::Changed { .. }) => return,
                Err(error) => warn!(%error, "this gateway is not named among those that read; trying again"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// This gateway has stopped reading by `count`.
    pub async fn withdraw(&self, count: u32) {
        let withdrawn = async {
            loop {
                match self.change(count, |gateways| gateways.remove(&self.instance)).await {
                    Err(BucketError::Changed { .. }) => {}
                    outcome => return outcome,
                }
            }
        };
        let reason = match timeout(WITHDRAW_LIMIT, withdrawn).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "NATS does not answer".to_owned(),
        };
        warn!(reason, "a gateway with another number of shards will have to wait for this one's end");
    }

    /// Takes part in what is kept, or decides. `unseen_since` is since when none of those that read by
    /// another number was seen.
    async fn settle(
        &self,
        living: &BTreeSet<String>,
        unseen_since: &mut Option<Instant>,
    ) -> Result<Verdict, BucketError> {
        let (agreed, revision) = self.read().await?;
        let mut others = agreed.gateways;
        let was_named = others.remove(&self.instance);
        let verdict = self.judge(agreed.count, &others, living, unseen_since);
        let Verdict::Read(count) = verdict else {
            // Left from a life that was cut short: as long as it is there, the others wait for this one.
            if was_named {
                let page = Agreed { count: agreed.count, gateways: others };
                self.kv.put_if(&self.key, &page, revision).await?;
            }
            return Ok(verdict);
        };
        let is_new = count != agreed.count;
        let mut gateways = if is_new { BTreeSet::new() } else { &others & living };
        gateways.insert(self.instance.clone());
        self.kv.put_if(&self.key, &Agreed { count, gateways }, revision).await?;
        if is_new && agreed.count > 0 {
            self.stats.sessions_lost.inc_by(agreed.count.into());
            warn!(
                before = agreed.count,
                count,
                "there is another number of shards now, so the sessions end: what was said since their last \
                 events is not read"
            );
        }
        Ok(verdict)
    }

    /// What may be done where `others` read by `agreed`.
    fn judge(
        &self,
        agreed: u32,
        others: &BTreeSet<String>,
        living: &BTreeSet<String>,
        unseen_since: &mut Option<Instant>,
    ) -> Verdict {
        let wish = self.wish.number();
        let seen = others & living;
        if !seen.is_empty() {
            *unseen_since = None;
        }
        match self.wish {
            _ if others.is_empty() || agreed == wish || agreed == 0 => Verdict::Read(wish),
            _ if seen.is_empty() => {
                if unseen_since.get_or_insert_with(Instant::now).elapsed() >= GONE_AFTER {
                    return Verdict::Read(wish);
                }
                Verdict::Wait(format!(
                    "waiting until it is certain that the gateways that read {agreed} shards ({}) have ended",
                    named(others)
                ))
            }
            Wish::Recommended(_) => Verdict::Read(agreed),
            Wish::Exactly(_) => Verdict::Wait(format!(
                "DISCORD_SHARDS is {wish} here, but the other gateways of the bot ({}) read {agreed} shards: \
                 none is read here, because everything would be heard twice. set all gateways to the same \
                 number; to change it, stop those first",
                named(&seen)
            )),
        }
    }

    /// Changes who reads by `count`, which stands again should nothing be kept. Where another number is kept,
    /// nothing is changed.
    async fn change(
        &self,
        count: u32,
        work: impl FnOnce(&mut BTreeSet<String>) -> bool,
    ) -> Result<(), BucketError> {
        let (mut agreed, revision) = self.read().await?;
        if agreed.count == 0 {
            agreed = Agreed { count, gateways: BTreeSet::new() };
        }
        if agreed.count == count && work(&mut agreed.gateways) {
            self.kv.put_if(&self.key, &agreed, revision).await?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<(Agreed, u64), BucketError> {
        match self.kv.entry::<Agreed>(&self.key).await {
            Ok(entry) => Ok(entry.map(|entry| (entry.value, entry.revision)).unwrap_or_default()),
            Err(BucketError::Shape { key, source }) => {
                warn!(key, error = %source, "the number of shards cannot be read; it is decided anew");
                self.kv.delete(&key).await?;
                Ok(Default::default())
            }
            Err(error) => Err(error),
        }
    }
}

fn named(gateways: &BTreeSet<String>) -> String {
    gateways.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
