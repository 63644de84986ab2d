//! Whether Discord's gateway can be reached from here. A gateway that cannot reach it, while another one of
//! the bot can, leaves everything to that one until it can again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::Lease;
use futures_util::future::BoxFuture;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};
use twilight_gateway::{Config, ConfigBuilder, Message, ShardId};

use crate::{frame::Header, identify::Granted, link::Link, stats::Stats};

/// A shard that tried for so long in vain, while no other was connected, is not going to be from here.
const CUT_OFF_AFTER: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to reach Discord. The first comes after one of these: things should not move to and fro.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long one may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Discord's first words to whoever connects.
const HELLO: u8 = 10;

/// What the shards have seen of Discord.
#[derive(Debug, Default)]
pub struct Reach {
    seen: Mutex<Seen>,
    heard: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// The shards that Discord says nothing to.
    trying: BTreeMap<u32, Tries>,
    /// The shards that it has spoken to, on connections that still stand: as long as there are any it can be
    /// reached.
    connected: BTreeSet<u32>,
}

/// For how long a shard has tried to connect. What it waited for between that does not count: it says nothing
/// about Discord.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    before: Duration,
    since: Option<Instant>,
}

/// Leaves everything to others while Discord cannot be reached.
pub struct Yielding {
    /// What the shards have seen.
    pub reach: Arc<Reach>,
    /// Shared with the others.
    pub lease: Arc<Lease>,
    /// Says so.
    pub stats: Arc<Stats>,
    /// Tries to reach it.
    pub probe: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
}

impl Reach {
    /// A shard tries to connect, and will again until it says something else.
    pub fn trying(&self, shard: u32) {
        self.lock().trying.entry(shard).or_default().since.get_or_insert_with(Instant::now);
    }

    /// Discord has spoken to a shard.
    pub fn reached(&self, shard: u32) {
        let mut seen = self.lock();
        seen.trying.remove(&shard);
        seen.connected.insert(shard);
        drop(seen);
        self.heard.notify_waiters();
    }

    /// A connection of a shard has ended, or never came about.
    pub fn parted(&self, shard: u32) {
        let mut seen = self.lock();
        if seen.connected.remove(&shard) {
            // Until now Discord could be reached.
            seen.trying.values_mut().for_each(Tries::begin_anew);
        }
    }

    /// A shard waits for something else than Discord before it tries again.
    pub fn waits(&self, shard: u32) {
        if let Some(tries) = self.lock().trying.get_mut(&shard) {
            *tries = Tries { before: tries.lasted(), since: None };
        }
    }

    /// A shard has a reason of its own not to connect, or is not here any more.
    pub fn rests(&self, shard: u32) {
        self.lock().trying.remove(&shard);
    }

    fn is_cut_off(&self) -> bool {
        let seen = self.lock();
        seen.connected.is_empty() && seen.trying.values().any(|tries| tries.lasted() >= CUT_OFF_AFTER)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tries {
    fn lasted(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn begin_anew(&mut self) {
        *self = Self { before: Duration::ZERO, since: self.since.map(|_| Instant::now()) };
    }
}

impl Yielding {
    /// Watches for ever.
    pub async fn run(self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.reach.is_cut_off() && self.lease.held().borrow().relieved {
                self.stand_aside().await;
            }
        }
    }

    async fn stand_aside(&self) {
        const WORDS: &str = "discord's gateway cannot be reached from here, so its shards are left to the other \
            gateways until it can be; look at the network of this machine";
        warn!("{WORDS}");
        self.lease.set_able(false);
        self.stats.stand_aside(Some(WORDS.to_owned()));
        tokio::select! {
            // When nobody else can either, the shards are tried here as well.
            () = self.reach.heard.notified() => {}
            () = self.until_reached() => {}
        }
        info!("discord's gateway can be reached again");
        self.reach.lock().trying.clear();
        self.lease.set_able(true);
        self.stats.stand_aside(None);
    }

    async fn until_reached(&self) {
        loop {
            sleep(PROBE_EVERY).await;
            if (self.probe)().await {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Yielding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Yielding").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// Connects, waits for Discord's first words, and goes without having said any: that costs no session start.
pub async fn probe(twilight: Config<Granted>, gateway_url: String) -> bool {
    let config = ConfigBuilder::from(twilight).queue(Granted::default()).proxy_url(gateway_url).build();
    let mut link = Link::new(ShardId::ONE, config);
    let hello = async {
        match link.next().await {
            Some(Ok(Message::Text(frame))) => Header::read(&frame).is_some_and(|header| header.op == HELLO),
            _ => false,
        }
    };
    timeout(PROBE_LIMIT, hello).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_which_a_shard_tries_counts() {
        let reach = Reach::default();
        for _ in 0..2 {
            reach.trying(0);
            advance(CUT_OFF_AFTER / 3).await;
            // Its turn to IDENTIFY, or that NATS says whose it is.
            reach.waits(0);
            advance(CUT_OFF_AFTER * 10).await;
        }
        assert!(!reach.is_cut_off());
        reach.trying(0);
        advance(CUT_OFF_AFTER / 3).await;
        assert!(reach.is_cut_off());
        reach.reached(0);
        assert!(!reach.is_cut_off());
    }

    #[tokio::test(start_paused = true)]
    async fn one_late_shard_gives_nothing_away_while_another_is_connected() {
        let reach = Reach::default();
        reach.reached(0);
        reach.trying(1);
        advance(CUT_OFF_AFTER * 2).await;
        assert!(!reach.is_cut_off());
        // From now on it tells.
        reach.parted(0);
        reach.trying(0);
        assert!(!reach.is_cut_off());
        advance(CUT_OFF_AFTER).await;
        assert!(reach.is_cut_off());
        reach.rests(0);
        reach.rests(1);
        assert!(!reach.is_cut_off());
    }
}
