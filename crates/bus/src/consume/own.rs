//! The consumer of a partition that one process takes alone, and how it passes to the next one.
//!
//! Each owner makes a consumer of its own, under a name that nobody had before, and removes the one that
//! was there. The server forgets with it who had been given what, so the next owner gets all that is not
//! done, at once and in the order in which it was stored. What the owner before still says about its
//! deliveries goes nowhere: it can neither acknowledge nor hold what is somebody else's by now.
//!
//! How often a message was given out is forgotten too. So that one that kills its owners is found all the
//! same, each consumer remembers, in its metadata, up to where owners have ended with something in hand,
//! and how often. From the second time on they are given out one by one, in one partition of the process after
//! the other: what is next to the culprit is not taken for it.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_nats::jetstream::consumer::{Info, pull};
use futures_util::TryStreamExt as _;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::Source;
use crate::{connect::Bus, topology::Queue};

/// From so many ends on, what was in hand then is given out one by one.
const ONE_BY_ONE: u32 = 2;
/// How long a partition waits for the suspects of another one. What is held up longer there waits for
/// something, and does not end its owner.
const TURN_LIMIT: Duration = Duration::from_secs(10);
/// The keys of what a consumer remembers.
const UP_TO: &str = "vigie-suspects-up-to";
const TIMES: &str = "vigie-suspects-times";

/// Whether this process may have the partition at this very moment.
pub(super) type May = Arc<dyn Fn() -> bool + Send + Sync>;

/// A partition that is taken alone.
pub(super) struct Own {
    pub(super) queue: Queue,
    pub(super) partition: u16,
    may: May,
    /// The name of the consumer while there is one.
    name: String,
    suspects: Suspects,
    /// Held while suspects are given out.
    turn: Option<OwnedSemaphorePermit>,
}

/// Messages up to a place in the stream that owners had in hand when they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspects {
    up_to: u64,
    times: u32,
}

/// What an owner leaves behind.
#[derive(Clone, Copy, Debug)]
struct Past {
    /// Up to here messages were given out.
    delivered: u64,
    /// Up to here they are done.
    done: u64,
    /// How many are given out and not done.
    in_hand: usize,
    suspects: Suspects,
}

impl Suspects {
    /// How often a message was in the hands of an owner that ended.
    pub(super) const fn before(self, sequence: u64) -> u32 {
        if sequence <= self.up_to { self.times } else { 0 }
    }

    const fn one_by_one(self) -> bool {
        self.times >= ONE_BY_ONE
    }

    /// Those of the next owner.
    const fn after(past: Past) -> Self {
        let Past { delivered, done, in_hand, suspects } = past;
        let cleared = done >= suspects.up_to;
        match (in_hand, cleared) {
            (0, true) => Self { up_to: 0, times: 0 },
            // It ended before it came to them.
            (0, false) => suspects,
            (_, true) => Self { up_to: delivered, times: 1 },
            (_, false) => Self { up_to: delivered, times: suspects.times.saturating_add(1) },
        }
    }
}

impl Own {
    pub(super) fn new(queue: Queue, partition: u16, may: May) -> Self {
        Self { queue, partition, may, name: String::new(), suspects: Suspects::default(), turn: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn suspects(&self) -> Suspects {
        self.suspects
    }

    /// Whether messages are given out one by one.
    pub(super) const fn is_careful(&self) -> bool {
        self.suspects.one_by_one()
    }

    /// Whether `sequence` is the first one after the suspects, which are all done then.
    pub(super) const fn is_past_suspects(&self, sequence: u64) -> bool {
        self.is_careful() && sequence > self.suspects.up_to
    }

    /// They are done.
    pub(super) fn clear_suspects(&mut self) {
        self.suspects = Suspects::default();
        self.turn = None;
    }

    /// Removes the consumer that is there and makes another one.
    ///
    /// # Errors
    /// When this process may not have the partition, the stream is not there, or NATS does not answer.
    pub(super) async fn renew(&mut self, bus: &Bus) -> Result<(), Source> {
        let stream = self.queue.stream().name();
        let handle = bus.jetstream.get_stream_no_info(stream).await?;
        let prefix = self.queue.consumers_of(self.partition);
        let names: Vec<String> = handle.consumer_names().try_collect().await?;
        // Where there is none, a server that started again has forgotten it, and we have not.
        let mut suspects = self.suspects;
        for name in names.iter().filter(|name| name.starts_with(&prefix)) {
            let info = handle.consumer_info(name).await?;
            // Who makes its own consumer anew has not ended with anything in hand.
            suspects = if *name == self.name { self.suspects } else { Suspects::after(Past::of(&info)) };
            if suspects.one_by_one() && self.turn.is_none() {
                // Before the old one goes: who ends in the meantime has not tried these.
                let turn = timeout(TURN_LIMIT, bus.suspects.clone().acquire_owned()).await;
                self.turn = turn.ok().transpose()?;
            }
            if !(self.may)() {
                return Err("the partition may be somebody else's".into());
            }
            bus.jetstream.delete_consumer_from_stream(name, stream).await?;
        }
        if !suspects.one_by_one() {
            self.turn = None;
        }
        let name = format!("{prefix}{:08x}", fastrand::u32(..));
        let mut config = self.queue.consumer(self.partition, name.clone());
        config.metadata = suspects.metadata();
        if suspects.one_by_one() {
            config.max_ack_pending = 1;
        }
        bus.jetstream.create_consumer_strict_on_stream(config, stream).await?;
        (self.name, self.suspects) = (name, suspects);
        Ok(())
    }

    /// Whether nothing is given out, and nothing is left to be.
    pub(super) async fn is_idle(&self, bus: &Bus) -> bool {
        let stream = self.queue.stream().name();
        let consumer = bus.jetstream.get_consumer_from_stream::<pull::Config, _, _>(&self.name, stream).await;
        consumer.is_ok_and(|consumer| {
            let info = consumer.cached_info();
            info.num_ack_pending == 0 && info.num_pending == 0
        })
    }

    /// Removes the consumer while it is ours.
    pub(super) async fn remove(&self, bus: &Bus) -> Result<(), Source> {
        bus.jetstream.delete_consumer_from_stream(&self.name, self.queue.stream().name()).await?;
        Ok(())
    }
}

impl Suspects {
    fn metadata(self) -> HashMap<String, String> {
        if self.times == 0 {
            return HashMap::new();
        }
        [(UP_TO, self.up_to.to_string()), (TIMES, self.times.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }

    fn of(metadata: &HashMap<String, String>) -> Self {
        let number = |key| metadata.get(key).and_then(|value: &String| value.parse::<u64>().ok());
        let times = number(TIMES).map_or(0, |times| u32::try_from(times).unwrap_or(u32::MAX));
        Self { up_to: number(UP_TO).unwrap_or_default(), times }
    }
}

impl Past {
    fn of(info: &Info) -> Self {
        Self {
            delivered: info.delivered.stream_sequence,
            done: info.ack_floor.stream_sequence,
            in_hand: info.num_ack_pending,
            suspects: Suspects::of(&info.config.metadata),
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("queue", &self.queue)
            .field("partition", &self.partition)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(delivered: u64, done: u64, in_hand: usize, suspects: Suspects) -> Suspects {
        Suspects::after(Past { delivered, done, in_hand, suspects })
    }

    #[test]
    fn what_kills_its_owners_is_counted_and_what_is_behind_it_is_not() {
        let none = Suspects::default();
        let first = after(20, 4, 12, none);
        assert_eq!(first, Suspects { up_to: 20, times: 1 });
        let second = after(9, 4, 5, first);
        assert_eq!(second, Suspects { up_to: 9, times: 2 });
        assert_eq!((second.before(5), second.before(9), second.before(10)), (2, 2, 0));
        assert!(second.one_by_one());
        let third = after(5, 4, 1, second);
        assert_eq!((third.before(5), third.before(6)), (3, 0));
    }

    #[test]
    fn an_owner_that_ends_with_nothing_in_hand_changes_nothing() {
        let suspects = Suspects { up_to: 20, times: 2 };
        assert_eq!(after(7, 7, 0, suspects), suspects);
        assert_eq!(after(30, 30, 0, suspects), Suspects::default());
        assert_eq!(after(31, 30, 1, suspects), Suspects { up_to: 31, times: 1 });
    }

    #[test]
    fn what_a_consumer_remembers_is_read_as_it_was_written() {
        for suspects in [Suspects::default(), Suspects { up_to: 7, times: 3 }] {
            assert_eq!(Suspects::of(&suspects.metadata()), suspects);
        }
    }
}
