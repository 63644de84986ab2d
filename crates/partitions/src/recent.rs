//! What this process did lately, so that what comes again is not done again.
//!
//! NATS knows an id again only while its message is there, or for some minutes while it runs: started anew,
//! it takes a second copy of what was done before for something new. Copies are common, since two gateways
//! read each channel of Twitch, and since what was not confirmed is sent again.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long an id is remembered: as long as the bus knows duplicates.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// How many are remembered at most.
const MAX_REMEMBERED: usize = 16_384;

/// The last ids, as hashes: one of them is that of another id by chance once in 2^50.
///
/// It ends with the process. What must never be done twice is claimed besides.
#[derive(Debug, Default)]
pub struct Recent {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
}

impl Recent {
    /// Remembers an id; `false` when it is known.
    pub fn insert(&self, id: &impl Hash) -> bool {
        let hash = self.hasher.hash_one(id);
        self.with(|state| {
            let new = state.known.insert(hash);
            if new {
                state.order.push_back((Instant::now(), hash));
            }
            new
        })
    }

    /// Whether an id was remembered lately.
    pub fn contains(&self, id: &impl Hash) -> bool {
        let hash = self.hasher.hash_one(id);
        self.with(|state| state.known.contains(&hash))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.order.front().is_some_and(|(at, _)| at.elapsed() > REMEMBERED) {
            state.forget_first();
        }
        let outcome = work(&mut state);
        if state.order.len() > MAX_REMEMBERED {
            state.forget_first();
        }
        outcome
    }
}

impl State {
    fn forget_first(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.known.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_enough_others_have_come() {
        let recent = Recent::default();
        assert!(recent.insert(&0_usize));
        assert!(!recent.insert(&0_usize));
        assert!((1..MAX_REMEMBERED).all(|n| recent.insert(&n)));
        assert!(recent.contains(&0_usize));
        assert!(recent.insert(&MAX_REMEMBERED));
        assert!(!recent.contains(&0_usize));
        assert!(recent.contains(&1_usize));
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_known_for_some_minutes() {
        let recent = Recent::default();
        assert!(recent.insert(&1));
        tokio::time::advance(REMEMBERED).await;
        assert!(recent.contains(&1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!recent.contains(&1));
    }
}
