//! One gateway session: what was dispatched to it, kept so that a client can come back and have
//! replayed what it missed. The connection takes frames from here; live and replayed ones go the
//! same way.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::discord::snowflake::Id;

/// Frames that may wait for a connected but slow client before it is cut off.
const MAX_UNSENT: usize = 65_536;
/// Frames that a connection takes at once.
const BATCH: usize = 64;

/// A dispatch in the order of its session.
#[derive(Clone, Debug)]
pub struct Frame {
    /// `s`.
    pub seq: u64,
    /// `t`.
    pub name: Cow<'static, str>,
    /// `d`, already written down; shared among sessions.
    pub data: Arc<str>,
}

impl Frame {
    /// The whole payload.
    pub fn text(&self) -> String {
        format!(r#"{{"t":"{}","s":{},"op":0,"d":{}}}"#, self.name, self.seq, self.data)
    }
}

/// What a connection gets when it asks for more.
#[derive(Debug)]
pub enum Taken {
    /// These come next; none when there is nothing new.
    Frames(Vec<Frame>),
    /// Another connection has resumed the session, or it was ended.
    Displaced,
    /// The client was too slow.
    Overrun,
}

/// Why a session cannot be resumed.
#[derive(Debug, PartialEq, Eq)]
pub enum NotResumed {
    /// It is unknown, over, or what was missed is no longer there.
    Gone,
    /// The client says it got more than was ever sent.
    BadSequence,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its id, as in READY.
    pub id: String,
    /// Which shard of how many.
    pub shard: (u32, u32),
    /// What it wants to hear of.
    pub intents: u64,
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seq: u64,
    /// The newest frame that is no longer kept.
    forgotten: u64,
    /// The newest frame that the connection has taken.
    cursor: u64,
    frames: VecDeque<Frame>,
    connection: Option<(u64, Arc<Notify>)>,
    left: Instant,
    ended: bool,
    overrun: bool,
}

impl Session {
    /// A session that `connection` has just started, for a shard with so many guilds.
    pub fn new(
        id: String,
        shard: (u32, u32),
        intents: u64,
        guilds: usize,
        connection: (u64, Arc<Notify>),
    ) -> Self {
        let state = State {
            seq: 0,
            forgotten: 0,
            cursor: 0,
            frames: VecDeque::new(),
            connection: Some(connection),
            left: Instant::now(),
            ended: false,
            overrun: false,
        };
        Self { id, shard, intents, capacity: (guilds * 75).clamp(100, 3500), state: Mutex::new(state) }
    }

    /// Whether an event of this guild, or of direct messages, belongs to this shard.
    pub fn serves(&self, guild: Option<Id>) -> bool {
        let (shard, shards) = self.shard;
        guild.map_or(shard == 0, |guild| guild.shard_of(shards) == shard)
    }

    /// Adds a dispatch.
    pub fn push(&self, name: Cow<'static, str>, data: Arc<str>) {
        let mut state = self.lock();
        state.seq += 1;
        let seq = state.seq;
        state.frames.push_back(Frame { seq, name, data });
        state.trim(self.capacity);
        if let Some((_, wake)) = &state.connection {
            wake.notify_one();
        }
    }

    /// The next frames for a connection.
    pub fn take(&self, connection: u64) -> Taken {
        let mut state = self.lock();
        if state.ended || state.connection.as_ref().is_none_or(|(current, _)| *current != connection) {
            return Taken::Displaced;
        }
        if state.overrun {
            return Taken::Overrun;
        }
        let from = state.frames.partition_point(|frame| frame.seq <= state.cursor);
        let frames: Vec<Frame> = state.frames.range(from..).take(BATCH).cloned().collect();
        if let Some(last) = frames.last() {
            state.cursor = last.seq;
            state.trim(self.capacity);
        }
        Taken::Frames(frames)
    }

    /// Lets `connection` go on after frame `seq`; returns how many frames it missed.
    ///
    /// # Errors
    /// When that is not possible any more, or never was.
    pub fn resume(
        &self,
        seq: u64,
        connection: (u64, Arc<Notify>),
        grace: Duration,
    ) -> Result<u64, NotResumed> {
        let mut state = self.lock();
        if seq > state.seq {
            return Err(NotResumed::BadSequence);
        }
        let too_late = state.connection.is_none() && state.left.elapsed() > grace;
        if state.ended || too_late || seq < state.forgotten {
            return Err(NotResumed::Gone);
        }
        if let Some((_, displaced)) = state.connection.replace(connection) {
            displaced.notify_one();
        }
        state.overrun = false;
        state.cursor = seq;
        // An earlier resume is no news.
        state.frames.retain(|frame| frame.name != "RESUMED");
        Ok(state.frames.iter().filter(|frame| frame.seq > seq).count() as u64)
    }

    /// The connection is gone; the session waits for its client.
    pub fn leave(&self, connection: u64) {
        let mut state = self.lock();
        if state.connection.as_ref().is_some_and(|(current, _)| *current == connection) {
            state.connection = None;
            state.left = Instant::now();
            state.trim(self.capacity);
        }
    }

    /// It can never be resumed.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.frames.clear();
        if let Some((_, wake)) = &state.connection {
            wake.notify_one();
        }
    }

    /// Whether a client is connected to it.
    pub fn connected(&self) -> bool {
        self.lock().connection.is_some()
    }

    /// Whether nobody can come back to it.
    pub fn over(&self, grace: Duration) -> bool {
        let state = self.lock();
        state.ended || (state.connection.is_none() && state.left.elapsed() > grace)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn trim(&mut self, capacity: usize) {
        let connected = self.connection.is_some();
        while self.frames.len() > capacity
            && let Some(oldest) = self.frames.front().map(|frame| frame.seq)
        {
            if connected && oldest > self.cursor {
                if self.frames.len() <= MAX_UNSENT {
                    return;
                }
                self.overrun = true;
            }
            self.forgotten = oldest;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new("s".to_owned(), (0, 1), 0, 1, (1, Arc::new(Notify::new())))
    }

    fn push(session: &Session, times: usize) {
        for _ in 0..times {
            session.push(Cow::Borrowed("X"), Arc::from("1"));
        }
    }

    fn seqs(taken: Taken) -> Vec<u64> {
        match taken {
            Taken::Frames(frames) => frames.iter().map(|frame| frame.seq).collect(),
            other => panic!("expected frames, got {other:?}"),
        }
    }

    #[test]
    fn a_resume_replays_exactly_what_was_missed() {
        let session = session();
        push(&session, 5);
        assert_eq!(seqs(session.take(1)), [1, 2, 3, 4, 5]);
        session.leave(1);
        push(&session, 2);
        let missed = session.resume(4, (2, Arc::new(Notify::new())), Duration::from_secs(1));
        assert_eq!(missed, Ok(3));
        assert_eq!(seqs(session.take(2)), [5, 6, 7]);
        assert!(matches!(session.take(1), Taken::Displaced));
    }

    #[test]
    fn what_fell_out_of_the_buffer_cannot_be_replayed() {
        let session = session();
        push(&session, 1);
        session.take(1);
        session.leave(1);
        push(&session, 101);
        let again = |seq| session.resume(seq, (2, Arc::new(Notify::new())), Duration::from_secs(1));
        assert_eq!(again(1), Err(NotResumed::Gone));
        assert_eq!(again(103), Err(NotResumed::BadSequence));
        assert_eq!(again(2), Ok(100));
    }

    #[test]
    fn a_connected_client_may_lag_beyond_the_resume_buffer() {
        let session = session();
        push(&session, 500);
        let mut got = Vec::new();
        while got.len() < 500 {
            got.extend(seqs(session.take(1)));
        }
        assert_eq!(got, (1..=500).collect::<Vec<u64>>());
    }
}
