//! The budget of invalid requests. Discord bans an address that collects 10,000 answers of 401, 403
//! or 429 (not of scope `shared`) within 10 minutes; this stops at half of that.
//! Source: <https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans>.
//!
//! It counts; [`super::Rest`] asks and refuses. Saving the counts is the caller's business.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::{Deserialize, Serialize};

/// How many invalid requests are allowed within [`WINDOW_MS`]; half of what Discord bans for.
pub const MAX_INVALID: u32 = 5000;
/// The window that counts, in milliseconds.
pub const WINDOW_MS: u64 = 10 * 60 * 1000;
/// Counts are kept per slot of this length, in milliseconds, so that there are at most 61.
const SLOT_MS: u64 = 10_000;

/// The invalid requests of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// When the slot began, in Unix milliseconds.
    pub at_ms: u64,
    /// How many there were.
    pub count: u32,
}

/// How many invalid requests were made lately.
#[derive(Debug)]
pub struct Budget {
    limit: u32,
    sharing: AtomicU32,
    slots: Mutex<VecDeque<Slot>>,
    others: Mutex<Vec<Slot>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_INVALID)
    }
}

impl Budget {
    /// A budget of `limit` invalid requests per 10 minutes.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, sharing: AtomicU32::new(1), slots: Mutex::default(), others: Mutex::default() }
    }

    /// The budget is shared with other gateways: this one takes an equal part of it.
    pub fn share_with(&self, gateways: u32) {
        self.sharing.store(gateways.max(1), Ordering::Relaxed);
    }

    /// What other gateways have spent counts against the whole, not against this one's part.
    pub fn set_others(&self, mut spent: Vec<Slot>) {
        spent.sort_unstable_by_key(|slot| slot.at_ms);
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = spent;
    }

    /// Adds what an earlier process counted.
    pub fn restore(&self, saved: &[Slot], now_ms: u64) {
        self.with(now_ms, |slots| {
            slots.extend(saved.iter().filter(|slot| slot.at_ms <= now_ms));
            slots.make_contiguous().sort_unstable_by_key(|slot| slot.at_ms);
        });
    }

    /// What a later process should [`restore`](Self::restore).
    #[must_use]
    pub fn saved(&self, now_ms: u64) -> Vec<Slot> {
        self.with(now_ms, |slots| slots.iter().copied().collect())
    }

    /// Counts one invalid request.
    pub fn spend(&self, now_ms: u64) {
        self.with(now_ms, |slots| {
            let at_ms = now_ms - now_ms % SLOT_MS;
            match slots.back_mut() {
                Some(last) if last.at_ms == at_ms => last.count = last.count.saturating_add(1),
                _ => slots.push_back(Slot { at_ms, count: 1 }),
            }
        });
    }

    /// How many were made within the window.
    #[must_use]
    pub fn spent(&self, now_ms: u64) -> u32 {
        self.with(now_ms, |slots| sum(&*slots))
    }

    /// When requests may be made again, in Unix milliseconds; `None` when they may be made now.
    #[must_use]
    pub fn closed_until_ms(&self, now_ms: u64) -> Option<u64> {
        let part = (self.limit / self.sharing.load(Ordering::Relaxed)).max(1);
        let own = self.with(now_ms, |slots| Vec::from_iter(slots.iter().copied()));
        let mut all = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.retain(|slot| slot.at_ms + SLOT_MS + WINDOW_MS > now_ms);
        all.extend(&own);
        all.sort_unstable_by_key(|slot| slot.at_ms);
        closed_until(&own, part).max(closed_until(&all, self.limit))
    }

    fn with<T>(&self, now_ms: u64, work: impl FnOnce(&mut VecDeque<Slot>) -> T) -> T {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        while slots.front().is_some_and(|slot| slot.at_ms + SLOT_MS + WINDOW_MS <= now_ms) {
            slots.pop_front();
        }
        work(&mut slots)
    }
}

/// When fewer than `limit` are left of these, oldest first.
fn closed_until(slots: &[Slot], limit: u32) -> Option<u64> {
    let mut left = sum(slots);
    if left < limit {
        return None;
    }
    slots.iter().find_map(|slot| {
        left = left.saturating_sub(slot.count);
        (left < limit).then_some(slot.at_ms + SLOT_MS + WINDOW_MS)
    })
}

fn sum<'a>(slots: impl IntoIterator<Item = &'a Slot>) -> u32 {
    slots.into_iter().fold(0, |sum, slot| sum.saturating_add(slot.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000;

    #[test]
    fn it_closes_when_spent_and_opens_when_the_oldest_are_forgotten() {
        let budget = Budget::new(3);
        for at in [START, START + 60_000, START + 60_001] {
            assert_eq!(budget.closed_until_ms(at), None);
            budget.spend(at);
        }
        let until = budget.closed_until_ms(START + 60_002).unwrap();
        assert!((START + WINDOW_MS..=START + WINDOW_MS + SLOT_MS).contains(&until));
        assert_eq!(budget.spent(until - 1), 3);
        assert_eq!(budget.closed_until_ms(until), None);
        assert_eq!(budget.spent(until), 2);
    }

    #[test]
    fn a_restart_does_not_give_a_new_budget() {
        let before = Budget::new(2);
        before.spend(START);
        before.spend(START);
        let after = Budget::new(2);
        after.restore(&before.saved(START), START + 1000);
        assert!(after.closed_until_ms(START + 1000).is_some());
    }

    #[test]
    fn what_others_spend_counts_against_the_whole_and_is_never_saved_as_ones_own() {
        let budget = Budget::new(10);
        budget.share_with(2);
        budget.set_others(vec![Slot { at_ms: START, count: 6 }]);
        assert_eq!(budget.closed_until_ms(START), None);
        for _ in 0..4 {
            assert_eq!(budget.closed_until_ms(START), None);
            budget.spend(START);
        }
        assert!(budget.closed_until_ms(START).is_some(), "together they have spent all");
        budget.set_others(Vec::new());
        assert_eq!(budget.closed_until_ms(START), None);
        budget.spend(START);
        assert!(budget.closed_until_ms(START).is_some(), "its own part is spent");
        assert_eq!(budget.saved(START), [Slot { at_ms: START - START % SLOT_MS, count: 5 }]);
    }

    #[test]
    fn the_memory_it_takes_is_bounded() {
        let budget = Budget::new(u32::MAX);
        for step in 0..10_000 {
            budget.spend(START + step * 1000);
        }
        assert!(budget.saved(START + 10_000_000).len() <= 61);
    }
}
