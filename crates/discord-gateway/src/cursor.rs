//! Where a shard resumes after a restart: never ahead of what JetStream has acknowledged.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::{Bucket, BucketError};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{frame::Snowflake, streak::Streak};

/// How often the cursor is written at most.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Before a cursor that could not be read is asked for again.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// How long the last write of a process may take.
const LAST_WRITE_LIMIT: Duration = Duration::from_millis(700);
/// A cursor that could not be written for so long is shown in the health.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What a new process needs to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The session.
    pub session: String,
    /// Where to resume it.
    pub resume_url: String,
    /// Everything up to here is stored.
    pub sequence: u64,
    /// The bot's account, which only READY tells.
    pub user: u64,
    /// How many guilds the shard has, which only READY tells.
    pub guilds: usize,
}

/// Which frames of a session are done: stored in JetStream, or in need of nothing. The cursor is the
/// last sequence before the first one that is not done.
#[derive(Debug, Default)]
pub struct Tracker {
    generation: u64,
    /// Sequences from the first that is not done; those done among them wait for it.
    open: VecDeque<(u64, bool)>,
    /// The highest sequence seen.
    seen: u64,
}

/// A frame that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
    sequence: u64,
}

impl Ticket {
    /// The frame's sequence number.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

impl Tracker {
    /// Another session, or the same one in a new process, whose frames up to `sequence` are done.
    /// Tickets of an earlier one count no more.
    pub fn start(&mut self, sequence: u64) {
        self.generation += 1;
        self.open.clear();
        self.seen = sequence;
    }

    /// A frame that is not done before [`done`](Self::done) was called with its ticket.
    pub fn open(&mut self, sequence: u64) -> Ticket {
        // A replay sends nothing twice; should it, the frame is tracked only once.
        if sequence > self.seen {
            self.seen = sequence;
            self.open.push_back((sequence, false));
        }
        Ticket { generation: self.generation, sequence }
    }

    /// A frame in need of nothing.
    pub fn pass(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    /// A frame is stored.
    pub fn done(&mut self, ticket: Ticket) {
        if ticket.generation != self.generation {
            return;
        }
        if let Ok(at) = self.open.binary_search_by_key(&ticket.sequence, |(sequence, _)| *sequence)
            && let Some((_, done)) = self.open.get_mut(at)
        {
            *done = true;
        }
        while self.open.front().is_some_and(|(_, done)| *done) {
            self.open.pop_front();
        }
    }

    /// Everything up to here is done.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.open.front().map_or(self.seen, |(sequence, _)| sequence.saturating_sub(1))
    }
}

/// The progress of one shard, shared by those who read, publish and write the cursor.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: String,
    state: Mutex<State>,
    urgent: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of the key when it was last read or written here: nothing of somebody else's is overwritten.
    revision: u64,
    tracker: Tracker,
    /// Everything of the cursor but the sequence; `None` without a session.
    session: Option<Cursor>,
}

impl Progress {
    /// A shard without a session.
    #[must_use]
    pub fn new(application: Snowflake, shard: u32, count: u32) -> Self {
        let key = format!("discord.{application}.{shard}.{count}");
        Self(Arc::new(Shared { key, state: Mutex::default(), urgent: Notify::new() }))
    }

    /// The cursor that an earlier process left. While NATS does not answer it is asked again.
    pub async fn restore(&self, kv: &Bucket) -> Option<Cursor> {
        let mut asked = 0;
        let cursor = loop {
            match self.read(kv).await {
                Ok(cursor) => break cursor,
                Err(error) if asked == 0 => {
                    warn!(key = self.0.key, %error, "the resume cursor is not known yet; asking until it is");
                }
                Err(_) => {}
            }
            asked += 1;
            sleep(READ_PAUSE).await;
        };
        if let Some(cursor) = &cursor {
            self.session(cursor.clone());
        }
        cursor
    }

    async fn read(&self, kv: &Bucket) -> Result<Option<Cursor>, BucketError> {
        let entry = match kv.entry::<Option<Cursor>>(&self.0.key).await {
            Err(BucketError::Shape { key, source }) => {
                warn!(key, error = %source, "the resume cursor cannot be read; a new session is started");
                kv.delete(&key).await?;
                None
            }
            entry => entry?,
        };
        let Some(entry) = entry else { return Ok(None) };
        self.state().revision = entry.revision;
        Ok(entry.value)
    }

    /// A session begins, or goes on, at `cursor.sequence`.
    pub fn session(&self, cursor: Cursor) {
        let mut state = self.state();
        state.tracker.start(cursor.sequence);
        state.session = Some(cursor);
        drop(state);
        self.0.urgent.notify_one();
    }

    /// The session is gone: a new process must not try it again.
    pub fn session_lost(&self) {
        let mut state = self.state();
        state.tracker.start(0);
        state.session = None;
        drop(state);
        self.0.urgent.notify_one();
    }

    /// How many guilds the shard has.
    pub fn set_guilds(&self, guilds: usize) {
        if let Some(session) = &mut self.state().session {
            session.guilds = guilds;
        }
    }

    /// See [`Tracker::open`].
    pub fn open(&self, sequence: u64) -> Ticket {
        self.state().tracker.open(sequence)
    }

    /// See [`Tracker::pass`].
    pub fn pass(&self, sequence: u64) {
        self.state().tracker.pass(sequence);
    }

    /// See [`Tracker::done`].
    pub fn done(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut state = self.state();
        for ticket in tickets {
            state.tracker.done(ticket);
        }
    }

    /// The cursor now.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let state = self.state();
        let session = state.session.clone()?;
        Some(Cursor { sequence: state.tracker.acknowledged(), ..session })
    }

    /// Writes the cursor at most once per second, at once when a session begins or ends, and a last
    /// time when `finished`, which is after everything was flushed. What could not be written is written
    /// the next time; `tell` hears why when that goes on for long, and `None` when it is over. Nothing is
    /// written while the shard is not `owned`: it may be somebody else's, who writes it.
    pub async fn write(
        self,
        kv: Bucket,
        finished: CancellationToken,
        owned: impl Fn() -> bool + Send,
        tell: impl Fn(Option<String>) + Send,
    ) {
        let mut tick = tokio::time::interval(WRITE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut written, mut streak) = (None, Streak::default());
        let work = async {
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = self.0.urgent.notified() => {}
                }
                if !owned() {
                    continue;
                }
                match self.write_once(&kv, &mut written).await {
                    Ok(()) if streak.succeeded() => {
                        info!(key = self.0.key, "the resume cursor is written again");
                        tell(None);
                    }
                    Ok(()) => {}
                    Err(error) => self.not_written(&error, streak.failed(Instant::now()), &tell),
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = finished.cancelled() => {}
        }
        if !owned() {
            return;
        }
        let last = tokio::time::timeout(LAST_WRITE_LIMIT, self.write_once(&kv, &mut written)).await;
        if !matches!(last, Ok(Ok(()))) {
            warn!(key = self.0.key, "the last resume cursor was not written; some events will be seen twice");
        }
    }

    fn not_written(&self, error: &BucketError, lasts: Duration, tell: &impl Fn(Option<String>)) {
        if lasts.is_zero() {
            warn!(key = self.0.key, %error, "the resume cursor is not written; trying again until it is");
        } else if lasts >= LOST_AFTER {
            tell(Some(format!(
                "the resume cursor was not written for {} s: a restart would see events twice; look at NATS \
                 and its disk ({error})",
                LOST_AFTER.as_secs()
            )));
        }
    }

    async fn write_once(&self, kv: &Bucket, written: &mut Option<Option<Cursor>>) -> Result<(), BucketError> {
        let now = self.cursor();
        if written.as_ref() == Some(&now) {
            return Ok(());
        }
        let revision = self.state().revision;
        match kv.put_if(&self.0.key, &now, revision).await {
            Ok(revision) => {
                self.state().revision = revision;
                *written = Some(now);
                Ok(())
            }
            Err(error) => {
                // It may be written all the same, and the shard is ours: the next write goes over that.
                if let BucketError::Changed { .. } = error
                    && let Some(entry) = kv.entry::<Option<Cursor>>(&self.0.key).await?
                {
                    self.state().revision = entry.revision;
                }
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Open,
        Pass,
        /// Acknowledges one of the open ones, chosen by this number.
        Done(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Open), Just(Step::Pass), any::<usize>().prop_map(Step::Done)]
    }

    proptest! {
        /// In whatever order the acknowledgements come, the cursor is the last sequence with nothing
        /// open at or before it: not ahead, and not behind either.
        #[test]
        fn the_cursor_is_never_ahead_of_what_is_acknowledged(steps in prop::collection::vec(step(), 0..200)) {
            let mut tracker = Tracker::default();
            tracker.start(7);
            let (mut sequence, mut tickets) = (7, Vec::new());
            for step in steps {
                match step {
                    Step::Open => { sequence += 1; tickets.push(tracker.open(sequence)); }
                    Step::Pass => { sequence += 1; tracker.pass(sequence); }
                    Step::Done(_) if tickets.is_empty() => {}
                    Step::Done(n) => { let at = n % tickets.len(); tracker.done(tickets.swap_remove(at)); }
                }
                let first_open = tickets.iter().map(|ticket| ticket.sequence).min();
                prop_assert_eq!(tracker.acknowledged(), first_open.map_or(sequence, |first| first - 1));
                let pending = tracker.open.iter().filter(|(_, done)| !done).count();
                prop_assert_eq!(pending, tickets.len());
            }
        }
    }

    #[test]
    fn acknowledgements_of_an_earlier_session_do_not_move_the_cursor() {
        let mut tracker = Tracker::default();
        tracker.start(0);
        let old = tracker.open(5);
        tracker.start(1);
        let new = tracker.open(5);
        tracker.done(old);
        assert_eq!(tracker.acknowledged(), 4);
        tracker.done(new);
        assert_eq!(tracker.acknowledged(), 5);
    }
}
