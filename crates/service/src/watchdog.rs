//! Ends a process whose one thread does not go on any more. It could neither answer a probe nor hear an order to
//! start again; ended, its supervisor starts it again, whichever that is.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::run::complain;

/// How often the runtime shows that it goes on, and how often that is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// After so many looks in a row without a turn the process is ended: a minute. Looks are counted, not time: a
/// process that was frozen, or a machine that slept, has not hung.
const LOOKS: u32 = 12;
/// How long saying why may take.
const WORDS_LIMIT: Duration = Duration::from_millis(500);
/// The thread does nearly nothing.
const STACK_BYTES: usize = 64 * 1024;

/// Looks at the runtime from a thread of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    turns: Arc<AtomicU64>,
    _stop: Sender<Infallible>,
}

/// What one look after the other has seen.
#[derive(Debug, Default)]
struct Sight {
    turns: u64,
    still: u32,
}

impl Watchdog {
    /// Ends the process, with words on standard error, when `turn` has not gone on for a minute.
    ///
    /// # Errors
    /// When there is no room for one more thread.
    pub(crate) fn start(service: &'static str) -> io::Result<Self> {
        Self::watch(INTERVAL, move || {
            let words = format!(
                "{service}: its thread has not gone on for {} s; ending, to be started again",
                INTERVAL.as_secs() * u64::from(LOOKS)
            );
            // What hangs may hold standard error for ever: the words have a moment, and no more.
            let (said, heard) = channel();
            let _ = thread::Builder::new().spawn(move || {
                complain(&words);
                said.send(())
            });
            let _ = heard.recv_timeout(WORDS_LIMIT);
            std::process::abort();
        })
    }

    fn watch(interval: Duration, end: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let turns = Arc::new(AtomicU64::new(0));
        let seen = turns.clone();
        let looks = move || look(&seen, &stopped, interval, end);
        thread::Builder::new().name("watchdog".to_owned()).stack_size(STACK_BYTES).spawn(looks)?;
        Ok(Self { turns, _stop: stop })
    }

    /// Shows, as long as the runtime polls this, that it goes on.
    pub(crate) async fn turn(&self) -> Infallible {
        let mut beat = tokio::time::interval(INTERVAL);
        loop {
            beat.tick().await;
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sight {
    /// Whether nothing has gone on for too long.
    const fn hangs(&mut self, turns: u64) -> bool {
        self.still = if turns == self.turns { self.still + 1 } else { 0 };
        self.turns = turns;
        self.still >= LOOKS
    }
}

fn look(turns: &AtomicU64, stopped: &Receiver<Infallible>, interval: Duration, end: impl FnOnce()) {
    let mut sight = Sight::default();
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        if sight.hangs(turns.load(Ordering::Relaxed)) {
            return end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_still_for_all_looks_in_a_row_hangs() {
        let mut sight = Sight::default();
        for turns in 1..100 {
            assert!(!sight.hangs(turns));
        }
        for _ in 1..LOOKS {
            assert!(!sight.hangs(99));
        }
        assert!(!sight.hangs(100), "it went on at the last moment");
        for _ in 1..LOOKS {
            assert!(!sight.hangs(100));
        }
        assert!(sight.hangs(100));
    }

    #[test]
    fn a_runtime_that_does_not_go_on_is_noticed_by_another_thread() {
        let (ended, end) = channel();
        let watchdog = Watchdog::watch(Duration::from_millis(1), move || ended.send(()).unwrap()).unwrap();
        end.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(watchdog);
    }

    #[test]
    fn nobody_is_ended_by_a_watchdog_that_is_gone() {
        let (ended, end) = channel::<()>();
        drop(Watchdog::watch(Duration::from_secs(3600), move || ended.send(()).unwrap()).unwrap());
        // The thread is over without having ended anything: what it would have told by is dropped.
        assert_eq!(end.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected));
    }
}
