//! Whether Discord's gateway can be reached from here. A gateway that cannot reach it, while another one of
//! the bot can, leaves everything to that one until it can again.

use std::{
    collections::BTreeMap,
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

/// A shard that tried for so long in vain is not going to be connected from here.
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
    /// Since when a shard has tried to connect, and Discord has said nothing.
    trying: Mutex<BTreeMap<u32, Instant>>,
    heard: Notify,
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
    /// A shard tries to connect.
    pub fn trying(&self, shard: u32) {
        self.lock().entry(shard).or_insert_with(Instant::now);
    }

    /// Discord has spoken to a shard.
    pub fn reached(&self, shard: u32) {
        self.lock().remove(&shard);
        self.heard.notify_waiters();
    }

    /// A shard has a reason of its own not to connect, or is not here any more.
    pub fn rests(&self, shard: u32) {
        self.lock().remove(&shard);
    }

    fn is_cut_off(&self) -> bool {
        self.lock().values().any(|since| since.elapsed() >= CUT_OFF_AFTER)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Instant>> {
        self.trying.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.reach.lock().clear();
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
