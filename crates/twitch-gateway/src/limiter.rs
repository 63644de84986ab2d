//! How often the account may speak, kept in one place for all its channels. What other gateways of
//! the account send comes in through `ledger`.
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

use protocol::{ChannelId, subject::partition};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

/// How long one message may take, until Twitch has it or nobody waits for it any more.
pub const SENT_WITHIN: Duration = Duration::from_secs(5);
/// The sliding window. A message counts from when its place is taken, and Twitch may count it from as late as
/// the place is fresh and the message may take; so a window is that much longer than Twitch's 30 s, and 1 s.
pub const WINDOW: Duration = Duration::from_secs(31).saturating_add(FRESH).saturating_add(SENT_WITHIN);
/// Between two messages in one channel: Twitch's 1 s and margin.
pub const CHANNEL_PAUSE: Duration = Duration::from_millis(1200);
/// Messages in a window where the bot is moderator, VIP or broadcaster.
pub const ELEVATED: usize = 100;
/// A place that was taken longer ago is no use.
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
    /// Up to which place what was sent is on record (see `ledger`). Told too when places are taken back.
    covered: watch::Sender<u64>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many places were taken.
    taken: u64,
    /// What was sent for the account, oldest first, in the last window only.
    sent: VecDeque<Message>,
    /// When a channel was last spoken in.
    channels: HashMap<Box<str>, Instant>,
    /// Since when channels are spoken in from here: somebody else may have done so right before.
    since: HashMap<u16, Instant>,
    /// Up to when it is known what others sent.
    known: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    at: Instant,
    whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Sent from here, in this place.
    Ours { number: u64, standing: Standing },
    /// Sent by others, or before this process began.
    Others,
}

/// Whether a message that has a place may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is on record.
    Yes,
    /// Others took the room: another place is needed.
    TakenBack,
    /// It was not put on record in time.
    Late,
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

    /// The same for an account of which a record is kept: nothing is [covered](Self::covered) before
    /// [`cover`](Self::cover) says so.
    #[must_use]
    pub fn recorded(per_30s: usize) -> Self {
        let limiter = Self::new(per_30s);
        limiter.covered.send_replace(0);
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
            let mut news = self.covered.subscribe();
            while let Some(at) = self.channel_free_at(channel, standing) {
                tokio::select! {
                    waited = wait(at, until) => waited?,
                    // What others sent is known, perhaps. The sender is `self`.
                    _ = news.changed() => {}
                }
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

    /// Waits until `place` is on record, so that whoever speaks for the account counts it.
    pub async fn covered(&self, place: &Place, until: Instant) -> Recorded {
        let mut covered = self.covered.subscribe();
        loop {
            let up_to = *covered.borrow_and_update();
            if !self.lock().has(place.number) {
                return Recorded::TakenBack;
            }
            if place.number <= up_to {
                return Recorded::Yes;
            }
            // The sender is `self`, so it cannot be gone.
            if !matches!(timeout_at(until, covered.changed()).await, Ok(Ok(()))) {
                return Recorded::Late;
            }
        }
    }

    /// Places up to this number are on record.
    pub fn cover(&self, number: u64) {
        self.covered.send_replace(number);
    }

    /// Of the places that were on record before they were taken, those that nobody has taken yet are none.
    pub fn cover_no_more(&self) {
        let taken = self.lock().taken;
        self.covered.send_if_modified(|covered| {
            let ahead = *covered > taken;
            *covered = taken.min(*covered);
            ahead
        });
    }

    /// Waits until something was counted, or begun, since this was last asked.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many places were taken, and when those were that still count.
    #[must_use]
    pub fn counted(&self) -> (u64, Vec<Instant>) {
        let (now, state) = (Instant::now(), self.lock());
        let ours = state.sent.iter().filter(|message| message.whose != Whose::Others);
        (state.taken, ours.map(|message| message.at).filter(|at| *at + WINDOW > now).collect())
    }

    /// What others sent for the account up to `known`, and perhaps later, instead of what was known of that.
    /// Places that are not on record and have no room beside it are taken back.
    pub fn learn(&self, mut others: Vec<Instant>, known: Instant) {
        others.sort_unstable();
        // More than this cannot matter, whatever a record says.
        let others = others.split_off(others.len().saturating_sub(self.elevated));
        let (now, covered) = (Instant::now(), *self.covered.borrow());
        let mut state = self.lock();
        state.known = Some(known);
        state.sent.retain(|message| message.whose != Whose::Others && message.at + WINDOW > now);
        state.sent.extend(others.into_iter().map(|at| Message { at, whose: Whose::Others }));
        state.sent.make_contiguous().sort_by_key(|message| message.at);
        let pending = |message: &Message| match message.whose {
            Whose::Ours { number, standing } if number > covered => Some(standing),
            _ => None,
        };
        let room = state.sent.iter().filter_map(pending).map(|standing| self.limit(standing)).min();
        if room.is_some_and(|room| state.sent.len() > room) {
            state.sent.retain(|message| pending(message).is_none());
        }
        drop(state);
        self.covered.send_modify(|_| ());
    }

    /// From now on channels of this partition are spoken in from here. Somebody else may have spoken there
    /// right before.
    pub fn begin(&self, partition: u16) {
        self.lock().since.insert(partition, Instant::now());
        self.changed.notify_one();
    }

    /// Whether it should [learn](Self::learn) what others sent before it began to speak somewhere.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let state = self.lock();
        state.since.values().max().is_some_and(|since| state.known.is_none_or(|known| known < *since))
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
                let place = (over - 1).min(state.sent.len().max(1) - 1);
                state.sent.get(place).map_or(now, |message| message.at + WINDOW)
            }
        };
        pause.max(window).saturating_duration_since(now)
    }

    /// Twitch says that the limit is exceeded: nothing more is sent for a whole window.
    pub fn exhaust(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.sent.clear();
        // No place of anybody: it is not taken back.
        let whose = Whose::Ours { number: 0, standing: Standing::Normal };
        state.sent.extend(std::iter::repeat_n(Message { at: now, whose }, self.elevated));
        drop(state);
        self.changed.notify_one();
    }

    fn take(&self, channel: &str, standing: Standing) -> Result<Place, Instant> {
        let mut state = self.lock();
        let now = Instant::now();
        while state.sent.front().is_some_and(|message| message.at + WINDOW <= now) {
            state.sent.pop_front();
        }
        // The window is free for one more when all but `limit - 1` of its messages are old.
        if let Some(over) = (state.sent.len() + 1).checked_sub(self.limit(standing))
            && over > 0
            && let Some(message) = state.sent.get(over - 1)
        {
            return Err(message.at + WINDOW);
        }
        state.taken += 1;
        let number = state.taken;
        // What others sent is known to the second only, and may seem to be yet to come.
        let place = state.sent.partition_point(|message| message.at <= now);
        state.sent.insert(place, Message { at: now, whose: Whose::Ours { number, standing } });
        if state.channels.len() >= SWEEP_AT {
            state.channels.retain(|_, at| *at + CHANNEL_PAUSE > now);
        }
        state.channels.insert(channel.into(), now);
        self.changed.notify_one();
        Ok(Place { number, at: now })
    }

    fn channel_free_at(&self, channel: &str, standing: Standing) -> Option<Instant> {
        if standing == Standing::Elevated {
            return None;
        }
        let state = self.lock();
        let spoken = state.channels.get(channel).copied();
        let id = ChannelId::new(channel).ok();
        let others = id.and_then(|id| state.others_spoke_until(partition(&id)));
        let free = spoken.max(others)? + CHANNEL_PAUSE;
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

impl State {
    /// When others may have spoken last in a channel of this partition, as far as that is known.
    fn others_spoke_until(&self, partition: u16) -> Option<Instant> {
        let since = *self.since.get(&partition)?;
        if self.known.is_none_or(|known| known < since) {
            return Some(since);
        }
        let last = self.sent.iter().rev().find(|message| message.whose == Whose::Others)?;
        Some(last.at.min(since))
    }

    fn has(&self, place: u64) -> bool {
        let is = |message: &Message| matches!(message.whose, Whose::Ours { number, .. } if number == place);
        self.sent.iter().rev().any(is)
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
