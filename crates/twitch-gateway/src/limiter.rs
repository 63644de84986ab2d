//! How often the account may speak, kept in one place for all its channels.
//!
//! Twitch grants an account 20 messages in 30 s, or 100 where it is moderator, VIP or broadcaster;
//! the second kind counts against the first too. It also wants a second between two messages in one
//! channel from anybody else. Who exceeds this is ignored for an hour, and the window's start is not
//! known, so a sliding window with margin is kept (<https://dev.twitch.tv/docs/chat/#rate-limits>).

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

/// The sliding window: Twitch's 30 s and margin.
pub const WINDOW: Duration = Duration::from_secs(32);
/// Between two messages in one channel: Twitch's 1 s and margin.
pub const CHANNEL_PAUSE: Duration = Duration::from_millis(1200);
/// Messages in a window where the bot is moderator, VIP or broadcaster.
pub const ELEVATED: usize = 100;
/// A place that was taken longer ago is no use: the window has margin for about that much.
const FRESH: Duration = Duration::from_secs(1);
/// Channels whose last message is remembered before the list is swept.
const SWEEP_AT: usize = 256;

/// What the bot is in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Like any viewer.
    #[default]
    Normal,
    /// Moderator, lead moderator, VIP or broadcaster.
    Elevated,
}

/// The message could not be sent in time without exceeding the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("twitch's message limit of this account is used up for longer than the message is worth")]
pub struct Exceeded;

/// A message may be written now, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    number: u64,
    at: Instant,
}

impl Place {
    /// Whether the message would still be written in the window in which it is counted.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.at.elapsed() <= FRESH
    }
}

/// The limits of one account.
#[derive(Debug)]
pub struct Limiter {
    normal: usize,
    elevated: usize,
    state: Mutex<State>,
    lanes: [Lane; 2],
    /// Up to which place what was sent is on record (see `ledger`).
    covered: watch::Sender<u64>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many places were taken.
    taken: u64,
    /// When messages were sent, oldest first, those of the last window only.
    sent: VecDeque<Instant>,
    /// When a channel was last spoken in.
    channels: HashMap<Box<str>, Instant>,
}

/// Those who wait, first come first served.
#[derive(Debug, Default)]
struct Lane {
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

/// Counts one who waits for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limiter {
    /// `per_30s` messages where the bot is like any viewer, and at least [`ELEVATED`] elsewhere.
    #[must_use]
    pub fn new(per_30s: usize) -> Self {
        Self {
            normal: per_30s.max(1),
            elevated: per_30s.max(ELEVATED),
            state: Mutex::default(),
            lanes: Default::default(),
            covered: watch::Sender::new(u64::MAX),
            changed: Notify::new(),
        }
    }

    /// The same for an account that spoke before, at the times `sent`. Nothing more is [covered](Self::covered)
    /// before [`cover`](Self::cover) says so.
    #[must_use]
    pub fn resumed(per_30s: usize, mut sent: Vec<Instant>) -> Self {
        let limiter = Self::new(per_30s);
        limiter.covered.send_replace(0);
        sent.sort_unstable();
        limiter.lock().sent = sent.split_off(sent.len().saturating_sub(limiter.elevated)).into();
        limiter
    }

    /// Waits until a message may be sent to `channel`, and counts it.
    ///
    /// # Errors
    /// [`Exceeded`] as soon as it is known that this will not be before `until`.
    pub async fn acquire(
        &self,
        channel: &str,
        standing: Standing,
        until: Instant,
    ) -> Result<Place, Exceeded> {
        let lane = self.lane(standing);
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&lane.waiting);
        loop {
            // The pause of a channel is waited for outside of the lane: other channels go on.
            if let Some(at) = self.channel_free_at(channel, standing) {
                wait(at, until).await?;
            }
            let _turn = timeout_at(until, lane.turn.lock()).await.map_err(|_elapsed| Exceeded)?;
            while self.channel_free_at(channel, standing).is_none() {
                match self.take(channel, standing) {
                    Ok(place) => return Ok(place),
                    Err(at) => wait(at, until).await?,
                }
            }
        }
    }

    /// Waits until `place` is on record, so that whoever speaks for the account after a crash counts it;
    /// `false` when it was not before `until`.
    pub async fn covered(&self, place: &Place, until: Instant) -> bool {
        let mut covered = self.covered.subscribe();
        let recorded = timeout_at(until, covered.wait_for(|covered| *covered >= place.number)).await;
        matches!(recorded, Ok(Ok(_)))
    }

    /// Places up to this number are on record.
    pub fn cover(&self, number: u64) {
        self.covered.send_replace(number);
    }

    /// Waits until something was counted since this was last asked.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many places were taken, and when those were that still count.
    #[must_use]
    pub fn counted(&self) -> (u64, Vec<Instant>) {
        let (now, state) = (Instant::now(), self.lock());
        (state.taken, state.sent.iter().copied().filter(|at| *at + WINDOW > now).collect())
    }

    /// How long a message to `channel` would have to wait at least, behind those that wait already.
    #[must_use]
    pub fn estimate(&self, channel: &str, standing: Standing) -> Duration {
        let now = Instant::now();
        let ahead = self.lane(standing).waiting.load(Ordering::Relaxed);
        let pause = self.channel_free_at(channel, standing).unwrap_or(now);
        let state = self.lock();
        let limit = self.limit(standing);
        let window = match (state.sent.len() + ahead + 1).checked_sub(limit) {
            None | Some(0) => now,
            Some(over) => {
                state.sent.get((over - 1).min(state.sent.len().max(1) - 1)).map_or(now, |at| *at + WINDOW)
            }
        };
        pause.max(window).saturating_duration_since(now)
    }

    /// Twitch says that the limit is exceeded: nothing more is sent for a whole window.
    pub fn exhaust(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.sent.clear();
        state.sent.extend(std::iter::repeat_n(now, self.elevated));
        drop(state);
        self.changed.notify_one();
    }

    fn take(&self, channel: &str, standing: Standing) -> Result<Place, Instant> {
        let mut state = self.lock();
        let now = Instant::now();
        while state.sent.front().is_some_and(|at| *at + WINDOW <= now) {
            state.sent.pop_front();
        }
        // The window is free for one more when all but `limit - 1` of its messages are old.
        if let Some(over) = (state.sent.len() + 1).checked_sub(self.limit(standing))
            && over > 0
            && let Some(at) = state.sent.get(over - 1)
        {
            return Err(*at + WINDOW);
        }
        state.sent.push_back(now);
        if state.channels.len() >= SWEEP_AT {
            state.channels.retain(|_, at| *at + CHANNEL_PAUSE > now);
        }
        state.channels.insert(channel.into(), now);
        state.taken += 1;
        self.changed.notify_one();
        Ok(Place { number: state.taken, at: now })
    }

    fn channel_free_at(&self, channel: &str, standing: Standing) -> Option<Instant> {
        if standing == Standing::Elevated {
            return None;
        }
        let free = *self.lock().channels.get(channel)? + CHANNEL_PAUSE;
        (free > Instant::now()).then_some(free)
    }

    fn limit(&self, standing: Standing) -> usize {
        match standing {
            Standing::Normal => self.normal,
            Standing::Elevated => self.elevated,
        }
    }

    fn lane(&self, standing: Standing) -> &Lane {
        let [normal, elevated] = &self.lanes;
        match standing {
            Standing::Normal => normal,
            Standing::Elevated => elevated,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(at: Instant, until: Instant) -> Result<(), Exceeded> {
    if at > until {
        return Err(Exceeded);
    }
    sleep_until(at).await;
    Ok(())
}

/// A plain sliding window, for joins and logins: `limit` in `window`.
#[derive(Debug)]
pub struct Window {
    limit: usize,
    window: Duration,
    taken: tokio::sync::Mutex<VecDeque<Instant>>,
}

impl Window {
    /// Nothing is taken yet.
    #[must_use]
    pub fn new(limit: usize, window: Duration) -> Self {
        Self { limit, window, taken: tokio::sync::Mutex::default() }
    }

    /// Waits for a place, first come first served. A place that nobody takes when this is dropped
    /// half-way is not lost.
    pub async fn take(&self) {
        let mut taken = self.taken.lock().await;
        if taken.len() >= self.limit
            && let Some(oldest) = taken.front()
        {
            sleep_until(*oldest + self.window).await;
            taken.pop_front();
        }
        taken.push_back(Instant::now());
    }
}
