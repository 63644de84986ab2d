//! Discord's rate limits, learned from the headers of every response and never hard-coded.
//! Source: <https://docs.discord.com/developers/topics/rate-limits>.
//!
//! A bucket is named by `X-RateLimit-Bucket` and the id at the top of the path (channel, guild,
//! webhook). Until the bucket of a route is known, its requests go one after the other. Sending and
//! retrying is [`super::Rest`]'s business.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::headers::Limits;

/// How many buckets are remembered. An unused one is forgotten above this.
const MAX_BUCKETS: usize = 4096;
/// Added to every reset, because the clock that counts is Discord's.
const SLACK: Duration = Duration::from_millis(20);
/// The window of the global limit, with a margin for requests that travel faster than others.
const SECOND: Duration = Duration::from_millis(1050);
/// A tenth of the limit is let through in this time, so that a burst is not all of a second's.
const TENTH: Duration = Duration::from_millis(100);

/// What a request is limited by: the method with the route template, and the id at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Such as `POST /channels/{id}/messages`.
    pub route: &'static str,
    /// The channel, guild or webhook; 0 when the route has none.
    pub top: u64,
}

/// The request would have to wait for longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long at least.
    pub wait: Duration,
}

/// Keeps requests within the limits.
#[derive(Debug)]
pub struct Limiter {
    buckets: Mutex<Buckets>,
    global: Global,
}

#[derive(Debug, Default)]
struct Buckets {
    /// One route can have another bucket in direct messages than in a guild.
    names: HashMap<Place, Arc<str>>,
    known: HashMap<Key, Arc<Bucket>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Unlearned(Place),
    Learned(Arc<str>, u64),
}

#[derive(Debug)]
struct Bucket {
    /// First come, first served.
    turn: tokio::sync::Mutex<()>,
    window: Mutex<Window>,
    /// A response came; only the holder of `turn` waits for it.
    answered: Notify,
}

#[derive(Debug)]
struct Window {
    /// `None` until a response told.
    limit: Option<u32>,
    remaining: u32,
    in_flight: u32,
    /// A window has begun of which no response told yet: there is no more than its limit.
    fresh: bool,
    resets_at: Instant,
    closed_until: Instant,
}

enum Step {
    Go,
    At(Instant),
    AfterResponse,
}

/// The right to send one request. [`Limiter::learn`] returns it with what the response told;
/// dropping it says that no response came.
#[derive(Debug)]
pub struct Permit {
    place: Place,
    bucket: Arc<Bucket>,
}

impl Limiter {
    /// Grants at most `per_second` requests in any second, over all routes.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { buckets: Mutex::default(), global: Global::new(per_second) }
    }

    /// Waits until a request may be sent. `on_wait` is told how long, whenever that is known.
    ///
    /// # Errors
    /// [`TooLong`], as soon as it is known that `deadline` would be over first.
    pub async fn acquire(
        &self,
        place: Place,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Result<Permit, TooLong> {
        let late = |_| TooLong { wait: Duration::ZERO };
        let permit = 'bucket: loop {
            let bucket = self.bucket(place);
            let _turn = timeout_at(deadline, bucket.turn.lock()).await.map_err(late)?;
            loop {
                // While this waited, a response may have told that the route belongs elsewhere.
                if !Arc::ptr_eq(&bucket, &self.bucket(place)) {
                    continue 'bucket;
                }
                let step = bucket.window().step();
                match step {
                    Step::Go => break 'bucket Permit { place, bucket: bucket.clone() },
                    Step::At(at) => wait(at, deadline, on_wait).await?,
                    Step::AfterResponse => {
                        timeout_at(deadline, bucket.answered.notified()).await.map_err(late)?;
                    }
                }
            }
        };
        self.global.acquire(deadline, on_wait).await?;
        Ok(permit)
    }

    /// Takes a permit back with what the response's headers told.
    pub fn learn(&self, permit: Permit, limits: &Limits) {
        let now = Instant::now();
        let bucket = match &limits.bucket {
            Some(name) => self.learned(permit.place, name),
            None => permit.bucket.clone(),
        };
        let same = Arc::ptr_eq(&bucket, &permit.bucket);
        let mut window = bucket.window();
        let others = window.in_flight.saturating_sub(u32::from(same));
        window.update(limits, others, now);
        drop(window);
        bucket.answered.notify_one();
        drop(permit);
    }

    /// The global limit is shared with other gateways: this one takes an equal part of it.
    pub fn share_with(&self, gateways: usize) {
        self.global.state().sharing = gateways.max(1);
    }

    /// Keeps everything but interaction callbacks back for `pause`: a 429 of scope `global`.
    pub fn pause_all(&self, pause: Duration) {
        self.global.pause(pause);
    }

    /// How many buckets are known, and how many of them let nothing through at the moment.
    pub fn buckets_in_use(&self) -> (usize, usize) {
        let (buckets, now) = (self.buckets(), Instant::now());
        let empty = buckets.known.values().filter(|bucket| bucket.window().is_empty(now)).count();
        (buckets.known.len(), empty)
    }

    fn bucket(&self, place: Place) -> Arc<Bucket> {
        let mut buckets = self.buckets();
        let key = match buckets.names.get(&place) {
            Some(name) => Key::Learned(name.clone(), place.top),
            None => Key::Unlearned(place),
        };
        buckets.get(key)
    }

    fn learned(&self, place: Place, name: &str) -> Arc<Bucket> {
        let mut buckets = self.buckets();
        let name = match buckets.names.get(&place) {
            Some(known) if **known == *name => known.clone(),
            _ => buckets.name(place, name),
        };
        buckets.get(Key::Learned(name, place.top))
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    fn name(&mut self, place: Place, name: &str) -> Arc<str> {
        if self.names.len() >= MAX_BUCKETS {
            let known = &self.known;
            self.names.retain(|place, name| known.contains_key(&Key::Learned(name.clone(), place.top)));
        }
        if self.names.len() >= MAX_BUCKETS {
            self.names.clear();
        }
        let name: Arc<str> = name.into();
        self.names.insert(place, name.clone());
        name
    }

    fn get(&mut self, key: Key) -> Arc<Bucket> {
        if let Some(bucket) = self.known.get(&key) {
            return bucket.clone();
        }
        if self.known.len() >= MAX_BUCKETS {
            self.forget();
        }
        self.known.entry(key).or_default().clone()
    }

    /// Forgets buckets that nobody uses: those whose window is over, or all of them when that is not
    /// enough, because a 429 teaches again while memory does not come back.
    fn forget(&mut self) {
        let now = Instant::now();
        let idle = |bucket: &Arc<Bucket>| Arc::strong_count(bucket) == 1;
        self.known.retain(|_, bucket| !idle(bucket) || bucket.window().resets_at > now);
        if self.known.len() >= MAX_BUCKETS {
            self.known.retain(|_, bucket| !idle(bucket));
        }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        let now = Instant::now();
        let window = Window {
            limit: None,
            remaining: 0,
            in_flight: 0,
            fresh: false,
            resets_at: now,
            closed_until: now,
        };
        Self { turn: tokio::sync::Mutex::default(), window: Mutex::new(window), answered: Notify::new() }
    }
}

impl Bucket {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Takes one request out of the window, or says what to wait for.
    fn step(&mut self) -> Step {
        let now = Instant::now();
        if self.closed_until > now {
            return Step::At(self.closed_until);
        }
        let Some(limit) = self.limit else {
            if self.in_flight > 0 {
                return Step::AfterResponse;
            }
            self.in_flight = 1;
            return Step::Go;
        };
        if self.resets_at <= now {
            if !self.fresh {
                self.fresh = true;
                self.remaining = limit.saturating_sub(self.in_flight);
            }
            if self.remaining == 0 && self.in_flight > 0 {
                return Step::AfterResponse;
            }
            self.remaining = if self.remaining == 0 { limit } else { self.remaining };
        }
        if self.remaining == 0 {
            return Step::At(self.resets_at);
        }
        self.remaining -= 1;
        self.in_flight += 1;
        Step::Go
    }

    fn is_empty(&self, now: Instant) -> bool {
        let spent = self.limit.is_some() && self.remaining == 0 && self.resets_at > now;
        spent || self.closed_until > now
    }

    fn update(&mut self, limits: &Limits, others: u32, now: Instant) {
        if let Some(closed) = limits.closed_for {
            self.closed_until = self.closed_until.max(now + closed + SLACK);
        }
        let (Some(limit), Some(remaining), Some(reset)) =
            (limits.limit, limits.remaining, limits.reset_after)
        else {
            // What Discord's limiter did not see was not counted.
            self.remaining = self.limit.map_or(0, |limit| limit.min(self.remaining + 1));
            return;
        };
        let resets_at = now + reset + SLACK;
        let next_window = self.limit.is_none() || self.fresh || resets_at > self.resets_at + SLACK * 5;
        let left = remaining.saturating_sub(others);
        // Responses overtake each other: while others are under way, the smaller number is the safe one.
        self.remaining = if next_window || others == 0 { left } else { self.remaining.min(left) };
        self.resets_at = if next_window { resets_at } else { self.resets_at.max(resets_at) };
        self.limit = Some(limit.max(1));
        self.fresh = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut window = self.bucket.window();
        window.in_flight = window.in_flight.saturating_sub(1);
        drop(window);
        self.bucket.answered.notify_one();
    }
}

/// The limit over all routes: never more than so many within any one second.
#[derive(Debug)]
struct Global {
    per_second: usize,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<GlobalState>,
}

#[derive(Debug)]
struct GlobalState {
    /// When the last `per_second` requests were let through.
    sent: VecDeque<Instant>,
    closed_until: Instant,
    /// How many gateways share the limit.
    sharing: usize,
}

impl Global {
    fn new(per_second: u32) -> Self {
        let state = GlobalState { sent: VecDeque::new(), closed_until: Instant::now(), sharing: 1 };
        let per_second = usize::try_from(per_second.max(1)).unwrap_or(usize::MAX);
        Self { per_second, turn: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    fn pause(&self, pause: Duration) {
        let mut state = self.state();
        state.closed_until = state.closed_until.max(Instant::now() + pause + SLACK);
    }

    async fn acquire(
        &self,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Result<(), TooLong> {
        let late = |_| TooLong { wait: Duration::ZERO };
        let _turn = timeout_at(deadline, self.turn.lock()).await.map_err(late)?;
        while let Some(at) = self.step(Instant::now()) {
            wait(at, deadline, on_wait).await?;
        }
        Ok(())
    }

    /// Takes one request, or says when to ask again.
    fn step(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        if state.closed_until > now {
            return Some(state.closed_until);
        }
        while state.sent.front().is_some_and(|at| *at + SECOND <= now) {
            state.sent.pop_front();
        }
        let share = (self.per_second / state.sharing).max(1);
        if state.sent.len() >= share {
            return state.sent.front().map(|at| *at + SECOND);
        }
        let burst = (share / 10).max(1);
        let last = state.sent.len().checked_sub(burst).and_then(|index| state.sent.get(index));
        if let Some(again) = last.map(|at| *at + TENTH).filter(|again| *again > now) {
            return Some(again);
        }
        state.sent.push_back(now);
        None
    }

    fn state(&self) -> MutexGuard<'_, GlobalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(
    at: Instant,
    deadline: Instant,
    on_wait: &(dyn Fn(Duration) + Send + Sync),
) -> Result<(), TooLong> {
    let wait = at.saturating_duration_since(Instant::now());
    if at > deadline {
        return Err(TooLong { wait });
    }
    on_wait(wait);
    sleep_until(at).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_limit_holds_in_every_second_and_in_every_tenth() {
        for per_second in [1_usize, 5, 50, 120] {
            let global = Global::new(u32::try_from(per_second).unwrap());
            let (mut now, mut sent) = (Instant::now(), Vec::new());
            while sent.len() < per_second * 4 {
                match global.step(now) {
                    Some(again) => now = again,
                    None => sent.push(now),
                }
            }
            let most = |within: Duration| {
                let of =
                    |from: &Instant| sent.iter().filter(|at| (*from..*from + within).contains(at)).count();
                sent.iter().map(of).max().unwrap()
            };
            assert!(most(Duration::from_millis(1049)) <= per_second, "{per_second}");
            assert!(most(Duration::from_millis(99)) <= (per_second / 10).max(1), "{per_second}");
            assert!(now - sent[0] < Duration::from_secs(5), "{per_second}: {:?}", now - sent[0]);
        }
    }
}
