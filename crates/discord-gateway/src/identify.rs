//! When a shard may IDENTIFY. Discord allows `max_concurrency` of them per 5 s, one for each
//! `shard_id % max_concurrency`, over all gateways of the bot; how many a day, see [`crate::ledger`].
//! Source: <https://docs.discord.com/developers/events/gateway#session-start-limit-object>.
//!
//! What Discord refuses to one shard, such as an intent, it refuses to all. Then the lowest of those
//! that were refused tries again, alone, and the others wait until it is let in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::Bus;
use service::clock::unix_ms;
use tokio::{
    runtime::Handle,
    sync::{Mutex as Turn, OwnedMutexGuard, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, warn};
use twilight_gateway::queue::Queue;

use crate::{
    ledger::{SessionStartLimit, Starts},
    shards::Ours,
};

/// Between two IDENTIFYs with the same key, with a margin for what the network adds.
const GAP: Duration = Duration::from_millis(5250);
/// How long to wait before Discord is asked again whether the budget is back.
const RECHECK: Duration = Duration::from_secs(5 * 60);
/// How long a turn lasts: [`GAP`] in whole seconds, as NATS wants it.
const TURN_LASTS: Duration = Duration::from_secs(6);
/// A turn that was told later than this after it was asked for may begin too late, and is not used.
const TURN_SLACK: Duration = Duration::from_millis(600);
/// While another gateway has the turn, how long to wait before asking again.
const TURN_PAUSE: Duration = Duration::from_millis(200);

/// No shard has a higher number.
const ANYBODY: u32 = u32::MAX;

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
        let key = format!("{}.{key}", self.key);
        loop {
            let asked = Instant::now();
            let owner = format!("{}@{}", self.instance, unix_ms());
            match self.bus.once(&key, &owner, TURN_LASTS).await {
                Ok(true) if asked.elapsed() < TURN_SLACK => return,
                Ok(_) => {}
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
    /// When the next IDENTIFY of this process may come, by key.
    keys: Vec<Arc<Turn<Instant>>>,
    starts: Starts,
    gate: Gate,
}

/// Closed to most shards from a refusal that concerns all until one is let in.
#[derive(Debug)]
struct Gate(watch::Sender<Option<Refused>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    /// The only one that may try; when it has left, [`ANYBODY`].
    shard: u32,
    /// Not before.
    until: Instant,
}

/// The right to IDENTIFY once. Others of this process with the same key wait until it is dropped.
#[derive(Debug)]
pub struct Permit {
    next: OwnedMutexGuard<Instant>,
    shard: u32,
    used: Arc<Mutex<Option<Instant>>>,
    identify: Arc<Identify>,
}

/// What the connection that says IDENTIFY has to wait for when it is about to.
#[derive(Debug)]
struct Grant {
    shard: u32,
    ours: Ours,
    used: Arc<Mutex<Option<Instant>>>,
    identify: Arc<Identify>,
}

/// The queue of one connection, which holds what its [`Permit`] granted.
#[derive(Clone, Debug, Default)]
pub struct Granted(Arc<GrantedState>);

#[derive(Debug, Default)]
struct GrantedState {
    granted: Mutex<Option<Grant>>,
    parked: Mutex<Option<oneshot::Sender<()>>>,
}

impl Identify {
    /// Spends `starts`, `max_concurrency` at a time; `turn` is for a bot with several gateways.
    #[must_use]
    pub fn new(max_concurrency: u32, starts: Starts, turn: Option<SharedTurn>) -> Self {
        let since_last = Duration::from_millis(unix_ms().saturating_sub(starts.ledger().last_at_ms));
        let first = Instant::now() + GAP.saturating_sub(since_last);
        let keys = (0..max_concurrency.max(1)).map(|_| Arc::new(Turn::new(first)));
        Self { turn, keys: keys.collect(), starts, gate: Gate::new() }
    }

    /// Waits until `shard` may connect to IDENTIFY; for the turn among the gateways it waits once it is
    /// connected, because Discord counts from one IDENTIFY to the next. While the day's budget is down to its reserve, `on_refused`
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
        let key = self.key(shard);
        loop {
            self.gate.wait(shard).await;
            let next = self.keys[key].clone().lock_owned().await;
            while let Err(refusal) = self.starts.spend().await {
                error!(refusal);
                on_refused(refusal);
                sleep(RECHECK).await;
                if let Some(limit) = recheck().await {
                    self.starts.reset(limit).await;
                }
            }
            // From here on what is not used is given back.
            let permit = Permit { next, shard, used: Arc::default(), identify: self.clone() };
            sleep_until(*permit.next).await;
            // Meanwhile another shard may have been refused.
            if self.gate.is_open(shard) {
                return permit;
            }
        }
    }

    fn key(&self, shard: u32) -> usize {
        usize::try_from(shard).unwrap_or(0) % self.keys.len()
    }

    /// Discord refused a shard for what only a person can mend; `pause` is until the next try.
    pub fn refused(&self, shard: u32, pause: Duration) {
        self.gate.close(shard, Instant::now() + pause);
    }

    /// Discord let a shard in.
    pub fn accepted(&self) {
        self.gate.open();
    }

    /// A shard is not here any more: should the others wait for it to be let in, another one tries instead.
    pub fn left(&self, shard: u32) {
        self.gate.leave(shard);
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

    fn leave(&self, shard: u32) {
        self.0.send_if_modified(|refused| match refused {
            Some(refused) if refused.shard == shard => {
                refused.shard = ANYBODY;
                true
            }
            _ => false,
        });
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
    /// A queue that grants this one IDENTIFY, while nobody else can have the shard.
    #[must_use]
    pub fn queue(&self, ours: Ours) -> Granted {
        let Self { shard, used, identify, .. } = self;
        let granted = Granted::default();
        let grant = Grant { shard: *shard, ours, used: used.clone(), identify: identify.clone() };
        *lock(&granted.0.granted) = Some(grant);
        granted
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match *lock(&self.used) {
            Some(at) => *self.next = at + GAP,
            // The connection never came so far.
            None => {
                let identify = self.identify.clone();
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(async move { identify.starts.refund().await });
                }
            }
        }
    }
}

impl Grant {
    /// Waits until nobody else identifies, and the shard is surely ours.
    async fn turn(&self) {
        let Self { shard, ours, identify, .. } = self;
        loop {
            ours.wait().await;
            if let Some(turn) = &identify.turn {
                turn.wait(identify.key(*shard)).await;
            }
            if ours.now() {
                return;
            }
        }
    }
}

impl Queue for Granted {
    fn enqueue(&self, _shard: u32) -> oneshot::Receiver<()> {
        let (mut go, wait) = oneshot::channel();
        match lock(&self.0.granted).take() {
            Some(grant) => {
                // Ends with the connection, at the latest.
                tokio::spawn(async move {
                    let granted = tokio::select! {
                        () = grant.turn() => true,
                        () = go.closed() => false,
                    };
                    if granted && !go.is_closed() {
                        *lock(&grant.used) = Some(Instant::now());
                        // An error says that the connection has just ended; then the IDENTIFY counts as made.
                        let _ = go.send(());
                    }
                });
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

    #[tokio::test(start_paused = true)]
    async fn when_the_shard_that_tries_again_leaves_another_one_does_at_its_time() {
        use futures_util::FutureExt;
        let (gate, pause) = (Gate::new(), Duration::from_secs(300));
        gate.close(3, Instant::now() + pause);
        let mut other = Box::pin(gate.wait(5));
        assert!(other.as_mut().now_or_never().is_none());
        gate.leave(4);
        tokio::time::advance(pause).await;
        assert!(other.as_mut().now_or_never().is_none(), "3 tries");
        gate.close(3, Instant::now() + pause);
        gate.leave(3);
        assert!(other.as_mut().now_or_never().is_none() && !gate.is_open(5));
        let began = Instant::now();
        other.await;
        assert!(began.elapsed() >= pause && gate.is_open(5));
        gate.close(5, Instant::now());
        assert!(gate.is_open(5) && !gate.is_open(7), "again it is one");
    }

    #[test]
    fn a_queue_without_a_grant_keeps_waiting() {
        let granted = Granted::default();
        assert_eq!(granted.enqueue(0).try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
