//! When a shard may IDENTIFY. Discord allows `max_concurrency` of them per 5 s, one for each
//! `shard_id % max_concurrency`, and 1,000 a day; whoever spends the day's budget has the token reset.
//! Source: <https://docs.discord.com/developers/events/gateway#session-start-limit-object>.
//!
//! What Discord refuses to one shard, such as an intent, it refuses to all. Then the lowest of those
//! that were refused tries again, alone, and the others wait until it is let in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::{Bucket, Bus};
use serde::{Deserialize, Serialize};
use service::clock::unix_ms;
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, info, warn};
use twilight_gateway::queue::Queue;

/// Between two IDENTIFYs with the same key, with a margin for what the network adds.
const GAP: Duration = Duration::from_millis(5250);
/// This part of the day's budget is not touched: whatever else uses the same token, or counts otherwise
/// than this, must not spend the last one. Who started too often waits for the next day.
const RESERVED_PART: u32 = 20;
/// How long to wait before Discord is asked again whether the budget is back.
const RECHECK: Duration = Duration::from_secs(5 * 60);
/// Two resets that are no further apart are of the same day, in milliseconds.
const SAME_DAY_MS: u64 = 60 * 60 * 1000;
/// While another gateway has the turn, how long to wait before asking again.
const TURN_PAUSE: Duration = Duration::from_millis(500);
/// How long writing the ledger may hold an IDENTIFY up.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// What `/gateway/bot` tells about the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SessionStartLimit {
    /// IDENTIFYs per day.
    pub total: u32,
    /// How many are left.
    pub remaining: u32,
    /// When the day is over, in milliseconds from now.
    pub reset_after: u64,
    /// How many may be made per 5 s.
    pub max_concurrency: u32,
}

/// The day's budget, as it is kept across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// IDENTIFYs per day.
    pub total: u32,
    /// How many are left.
    pub remaining: u32,
    /// When the day is over, in Unix milliseconds.
    pub resets_at_ms: u64,
    /// When the last one was made, in Unix milliseconds: a new process must not come right after it.
    #[serde(default)]
    pub last_at_ms: u64,
}

impl Ledger {
    /// The smaller of what Discord says and what was kept of the same day: whichever is right, the
    /// budget is not overdrawn.
    #[must_use]
    pub fn seed(limit: SessionStartLimit, kept: Option<Self>, now_ms: u64) -> Self {
        let last_at_ms = kept.map_or(0, |kept| kept.last_at_ms);
        let kept = kept.filter(|kept| kept.resets_at_ms > now_ms && kept.total == limit.total);
        Self {
            total: limit.total,
            remaining: kept.map_or(limit.remaining, |kept| kept.remaining.min(limit.remaining)),
            resets_at_ms: now_ms.saturating_add(limit.reset_after),
            last_at_ms,
        }
    }

    /// How many are never used up.
    #[must_use]
    pub const fn reserved(&self) -> u32 {
        self.total / RESERVED_PART
    }

    fn roll_over(&mut self, now_ms: u64) {
        if self.resets_at_ms <= now_ms {
            self.remaining = self.total;
            self.resets_at_ms = now_ms + 24 * 60 * 60 * 1000;
        }
    }
}

/// Takes turns with the other gateways of the bot: Discord counts IDENTIFYs of the bot, not of a process.
#[derive(Debug)]
pub struct SharedTurn {
    /// Where the turns are kept.
    pub bus: Bus,
    /// Under which name.
    pub key: String,
    /// Who asks.
    pub instance: String,
}

impl SharedTurn {
    /// Waits until nobody has identified for [`GAP`] with this key. Without NATS there is no turn: what
    /// would be read could not be stored.
    async fn wait(&self, key: usize) {
        let (key, owner) = (format!("{}.{key}", self.key), format!("{}@{}", self.instance, unix_ms()));
        // Whole seconds.
        let lasts = GAP + Duration::from_secs(1);
        loop {
            match self.bus.once(&key, &owner, lasts).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => warn!(%error, "waiting for the turn to IDENTIFY"),
            }
            sleep(TURN_PAUSE).await;
        }
    }
}

/// Hands out the right to IDENTIFY, to all shards of this process.
#[derive(Debug)]
pub struct Identify {
    turn: Option<SharedTurn>,
    keys: Vec<Arc<Turn<Instant>>>,
    ledger: Mutex<Ledger>,
    kv: Bucket,
    key: String,
    gate: Gate,
}

/// Closed to most shards from a refusal that concerns all until one is let in.
#[derive(Debug)]
struct Gate(watch::Sender<Option<Refused>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    /// The only one that may try.
    shard: u32,
    /// Not before.
    until: Instant,
}

/// The right to IDENTIFY once. Others with the same key wait until it is dropped.
#[derive(Debug)]
pub struct Permit {
    next: OwnedMutexGuard<Instant>,
    used: Arc<Mutex<Option<Instant>>>,
    refund: Arc<Identify>,
}

/// The queue of one connection, which holds what its [`Permit`] granted.
#[derive(Clone, Debug, Default)]
pub struct Granted(Arc<GrantedState>);

#[derive(Debug, Default)]
struct GrantedState {
    granted: Mutex<Option<Arc<Mutex<Option<Instant>>>>>,
    parked: Mutex<Option<oneshot::Sender<()>>>,
}

impl Identify {
    /// Goes on with the ledger that is kept under `key`; `turn` is for a bot with several gateways.
    pub async fn new(limit: SessionStartLimit, kv: Bucket, key: String, turn: Option<SharedTurn>) -> Self {
        let kept = kv.get::<Ledger>(&key).await.unwrap_or_else(|error| {
            warn!(%error, "the kept identify budget cannot be read; discord's word is taken");
            None
        });
        let now_ms = unix_ms();
        let ledger = Ledger::seed(limit, kept, now_ms);
        let since_last = Duration::from_millis(now_ms.saturating_sub(ledger.last_at_ms));
        let first = Instant::now() + GAP.saturating_sub(since_last);
        let keys = (0..limit.max_concurrency.max(1)).map(|_| Arc::new(Turn::new(first)));
        info!(remaining = ledger.remaining, total = ledger.total, "identify budget");
        Self { turn, keys: keys.collect(), ledger: Mutex::new(ledger), kv, key, gate: Gate::new() }
    }

    /// Waits until `shard` may IDENTIFY. While the day's budget is down to its reserve, `on_refused`
    /// is told why, and `recheck` asks Discord whether it is back.
    pub async fn permit<F>(
        self: &Arc<Self>,
        shard: u32,
        mut on_refused: impl FnMut(String) + Send,
        recheck: impl Fn() -> F + Send + Sync,
    ) -> Permit
    where
        F: Future<Output = Option<SessionStartLimit>> + Send,
    {
        let key = usize::try_from(shard).unwrap_or(0) % self.keys.len();
        let next = loop {
            self.gate.wait(shard).await;
            let next = self.keys[key].clone().lock_owned().await;
            sleep_until(*next).await;
            if let Some(turn) = &self.turn {
                turn.wait(key).await;
            }
            // Meanwhile another shard may have been refused.
            if self.gate.is_open(shard) {
                break next;
            }
        };
        self.refresh().await;
        while let Err(refusal) = self.spend() {
            error!(refusal);
            on_refused(refusal);
            sleep(RECHECK).await;
            if let Some(limit) = recheck().await {
                *self.ledger() = Ledger::seed(limit, None, unix_ms());
            }
        }
        self.ledger().last_at_ms = unix_ms();
        self.save().await;
        Permit { next, used: Arc::default(), refund: self.clone() }
    }

    /// Discord refused a shard for what only a person can mend; `pause` is until the next try.
    pub fn refused(&self, shard: u32, pause: Duration) {
        self.gate.close(shard, Instant::now() + pause);
    }

    /// Discord let a shard in.
    pub fn accepted(&self) {
        self.gate.open();
    }

    fn spend(&self) -> Result<(), String> {
        let mut ledger = self.ledger();
        let now_ms = unix_ms();
        ledger.roll_over(now_ms);
        if ledger.remaining <= ledger.reserved() {
            let hours = ledger.resets_at_ms.saturating_sub(now_ms).div_ceil(60 * 60 * 1000);
            return Err(format!(
                "{} of {} daily session starts are left; the last {} are kept back, because discord \
                 resets the token of a bot that uses up all; the next one is made in about {hours} h. \
                 something made the bot start over and over: look at the log of the last hours",
                ledger.remaining,
                ledger.total,
                ledger.reserved()
            ));
        }
        ledger.remaining -= 1;
        Ok(())
    }

    /// Other gateways spend the same budget.
    async fn refresh(&self) {
        if let Ok(Ok(Some(kept))) = tokio::time::timeout(WRITE_LIMIT, self.kv.get::<Ledger>(&self.key)).await
        {
            let mut ledger = self.ledger();
            if kept.resets_at_ms.abs_diff(ledger.resets_at_ms) < SAME_DAY_MS {
                ledger.remaining = ledger.remaining.min(kept.remaining);
            }
        }
    }

    /// An IDENTIFY is counted before it is made; after a crash one too many is better than one too few.
    async fn save(&self) {
        let ledger = *self.ledger();
        match tokio::time::timeout(WRITE_LIMIT, self.kv.put(&self.key, &ledger)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "the identify budget was not kept"),
            Err(_) => warn!("the identify budget was not kept: NATS does not answer"),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    fn close(&self, shard: u32, until: Instant) {
        self.0.send_modify(|refused| {
            let shard = refused.map_or(shard, |before| before.shard.min(shard));
            *refused = Some(Refused { shard, until });
        });
    }

    fn open(&self) {
        self.0.send_if_modified(|refused| refused.take().is_some());
    }

    fn is_open(&self, shard: u32) -> bool {
        self.0.borrow().is_none_or(|refused| shard <= refused.shard && refused.until <= Instant::now())
    }

    async fn wait(&self, shard: u32) {
        let mut changes = self.0.subscribe();
        loop {
            let refused = *changes.borrow_and_update();
            if self.is_open(shard) {
                return;
            }
            let turn = async {
                match refused {
                    Some(refused) if shard <= refused.shard => sleep_until(refused.until).await,
                    Some(_) => std::future::pending().await,
                    None => {}
                }
            };
            tokio::select! {
                () = turn => return,
                // An error cannot be: the sender is `self`.
                _ = changes.changed() => {}
            }
        }
    }
}

impl Permit {
    /// A queue that grants this one IDENTIFY.
    #[must_use]
    pub fn queue(&self) -> Granted {
        let granted = Granted::default();
        *lock(&granted.0.granted) = Some(self.used.clone());
        granted
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match *lock(&self.used) {
            Some(at) => *self.next = at + GAP,
            // The connection never came so far.
            None => self.refund.ledger().remaining += 1,
        }
    }
}

impl Queue for Granted {
    fn enqueue(&self, _shard: u32) -> oneshot::Receiver<()> {
        let (go, wait) = oneshot::channel();
        match lock(&self.0.granted).take() {
            Some(used) => {
                *lock(&used) = Some(Instant::now());
                // An error says that the shard is gone.
                let _ = go.send(());
            }
            // Dropping it would make the shard ask again at once, for ever.
            None => *lock(&self.0.parked) = Some(go),
        }
        wait
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: SessionStartLimit =
        SessionStartLimit { total: 1000, remaining: 900, reset_after: 1000, max_concurrency: 1 };

    #[test]
    fn the_ledger_of_the_same_day_is_gone_on_with() {
        let kept = Ledger { total: 1000, remaining: 800, resets_at_ms: 500, last_at_ms: 7 };
        assert_eq!(Ledger::seed(LIMIT, Some(kept), 400).remaining, 800);
        assert_eq!(Ledger::seed(LIMIT, Some(kept), 500).remaining, 900);
        let fresh = Ledger { total: 1000, remaining: 900, resets_at_ms: 1000, last_at_ms: 0 };
        assert_eq!(Ledger::seed(LIMIT, None, 0), fresh);
    }

    #[test]
    fn a_new_day_gives_a_new_budget() {
        let mut ledger = Ledger { total: 1000, remaining: 3, resets_at_ms: 500, last_at_ms: 0 };
        ledger.roll_over(499);
        assert_eq!(ledger.remaining, 3);
        ledger.roll_over(500);
        assert_eq!(ledger.remaining, 1000);
    }

    #[tokio::test]
    async fn after_a_refusal_that_concerns_all_only_the_lowest_shard_tries_again() {
        use futures_util::FutureExt;
        let (gate, now) = (Gate::new(), Instant::now());
        let may = |shard| gate.wait(shard).now_or_never().is_some() && gate.is_open(shard);
        assert!(may(0) && may(7));
        gate.close(3, now + Duration::from_secs(300));
        gate.close(5, now);
        assert!(may(3) && !may(5) && !may(7));
        gate.close(3, now + Duration::from_secs(300));
        assert!(!may(3) && !may(7));
        gate.open();
        assert!(may(3) && may(7));
    }

    #[test]
    fn a_queue_grants_once_and_then_keeps_waiting() {
        let granted = Granted::default();
        *lock(&granted.0.granted) = Some(Arc::default());
        assert!(granted.enqueue(0).try_recv().is_ok());
        assert_eq!(granted.enqueue(0).try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
