//! Chatter that another gateway should tell: it is kept until it was heard that it did. What was not told
//! in time is told from here, so that nothing is lost when the other dies.
//!
//! What is told twice in the end (both were cut off from NATS, say) has the same event id.

use std::{collections::HashMap, time::Duration};

use protocol::{Batch, CommunityId, Event};
use tokio::time::Instant;

use crate::mapping::Seen;

/// How long the other may take to tell. A death is noticed within 4.3 s, and then this gateway is the
/// first.
const HOLD: Duration = Duration::from_secs(5);
/// How long what the other had read may be on its way, once this gateway is the first: a batch waits for
/// 250 ms, and NATS may be slow.
const SETTLE: Duration = Duration::from_secs(1);
/// Events that are kept over all channels; when there are more, those of the busiest channel are told.
const MAX_HELD: usize = 4096;

/// Keeps chatter.
#[derive(Debug, Default)]
pub struct Standby {
    channels: HashMap<CommunityId, Vec<Held>>,
    count: usize,
    /// What was told lately: the other may hear a line before this gateway does.
    told: Seen,
}

#[derive(Debug)]
struct Held {
    event: Event,
    since: Instant,
    /// Whether another should tell it. What came after this gateway became the first waits only for what
    /// came before.
    others: bool,
}

impl Standby {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether something of a channel is kept.
    #[must_use]
    pub fn has(&self, channel: &CommunityId) -> bool {
        self.channels.contains_key(channel)
    }

    /// Keeps an event, unless it was told; `others` says whether another gateway should tell it. Gives
    /// what there is no room for.
    pub fn hold(&mut self, event: Event, others: bool) -> Vec<Event> {
        if self.told.knows(event.id.as_str()) {
            return Vec::new();
        }
        let held = Held { since: Instant::now(), others, event };
        self.channels.entry(held.event.community.clone()).or_default().push(held);
        self.count += 1;
        if self.count <= MAX_HELD {
            return Vec::new();
        }
        let busiest = self.channels.iter().max_by_key(|(_, held)| held.len());
        let busiest = busiest.map(|(channel, _)| channel.clone());
        busiest.map(|channel| self.take(&channel, usize::MAX)).unwrap_or_default()
    }

    /// Somebody told a batch: nobody else need.
    pub fn heard(&mut self, batch: &Batch) {
        for event in &batch.events {
            self.told.first_time(event.id.as_str());
            let Some(held) = self.channels.get_mut(&event.community) else { continue };
            let before = held.len();
            held.retain(|held| held.event.id != event.id);
            self.count -= before - held.len();
            if held.is_empty() {
                self.channels.remove(&event.community);
            }
        }
    }

    /// What was not told in time. `ahead` says how many should tell a channel rather than this gateway: each
    /// has its time, so that of those who are left one tells.
    pub fn due(&mut self, ahead: impl Fn(&CommunityId) -> u32) -> Vec<Event> {
        let due = self.channels.iter().map(|(channel, held)| {
            let of_others = held.iter().rev().find(|held| held.others);
            let count = match ahead(channel) {
                0 if of_others.is_none_or(|last| last.since.elapsed() >= SETTLE) => held.len(),
                0 => 0,
                ahead => held.iter().take_while(|held| held.since.elapsed() >= HOLD * ahead).count(),
            };
            (channel.clone(), count)
        });
        let due: Vec<_> = due.filter(|(_, count)| *count > 0).collect();
        due.into_iter().flat_map(|(channel, count)| self.take(&channel, count)).collect()
    }

    /// All that nobody has told.
    pub fn rest(&mut self) -> Vec<Event> {
        self.count = 0;
        self.channels.drain().flat_map(|(_, held)| held).map(|held| held.event).collect()
    }

    /// While NATS was away nothing could be heard: the time begins anew.
    pub fn renew(&mut self) {
        let now = Instant::now();
        self.channels.values_mut().flatten().for_each(|held| held.since = now);
    }

    fn take(&mut self, channel: &CommunityId, count: usize) -> Vec<Event> {
        let Some(held) = self.channels.get_mut(channel) else { return Vec::new() };
        let taken: Vec<_> = held.drain(..count.min(held.len())).map(|held| held.event).collect();
        self.count -= taken.len();
        if held.is_empty() {
            self.channels.remove(channel);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Platform, VERSION};

    use super::*;
    use crate::{irc::Guarded, mapping::Mapper};

    fn event(n: usize) -> Event {
        let line = format!(
            "@display-name=Max;id=id-{n};room-id=1;tmi-sent-ts=1;user-id=2 :max!max@max PRIVMSG #olive :hi"
        );
        let guarded = Guarded::new(&line).unwrap();
        Mapper::new("vigie_bot", "!").event(&guarded.line().unwrap(), 1).unwrap()
    }

    fn batch(numbers: &[usize]) -> Batch {
        let events = numbers.iter().map(|n| event(*n)).collect();
        Batch { v: VERSION, platform: Platform::Twitch, events }
    }

    fn ids(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_first_did_not_tell_is_told_after_a_while() {
        let mut standby = Standby::default();
        standby.heard(&batch(&[0]));
        for n in 0..4 {
            assert!(standby.hold(event(n), true).is_empty());
        }
        standby.heard(&batch(&[2]));
        tokio::time::advance(HOLD - Duration::from_millis(1)).await;
        assert!(standby.due(|_| 1).is_empty());
        standby.renew();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(standby.due(|_| 1).is_empty());
        tokio::time::advance(HOLD).await;
        assert_eq!(ids(&standby.due(|_| 1)), ["twitch:id-1", "twitch:id-3"]);
        assert!(standby.is_empty() && standby.channels.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_who_wait_one_tells() {
        let mut standby = Standby::default();
        standby.hold(event(1), true);
        tokio::time::advance(HOLD * 2 - Duration::from_millis(1)).await;
        assert!(standby.due(|_| 2).is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(ids(&standby.due(|_| 2)), ["twitch:id-1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_becomes_the_first_tells_all_in_order() {
        let mut standby = Standby::default();
        standby.hold(event(1), true);
        tokio::time::advance(SETTLE / 2).await;
        standby.hold(event(2), false);
        assert!(standby.due(|_| 0).is_empty());
        tokio::time::advance(SETTLE / 2).await;
        assert_eq!(ids(&standby.due(|_| 0)), ["twitch:id-1", "twitch:id-2"]);
        assert!(!standby.has(&event(1).community));
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_no_room_for_is_told() {
        let mut standby = Standby::default();
        assert!((0..MAX_HELD).all(|n| standby.hold(event(n), true).is_empty()));
        assert_eq!(standby.hold(event(MAX_HELD), true).len(), MAX_HELD + 1);
        assert!(standby.is_empty());
    }
}
