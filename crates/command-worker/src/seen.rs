//! Which events were counted already, for as many as are worth remembering.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use protocol::EventId;

/// How many ids are remembered. A gateway that was killed repeats at most what it had not handed over
/// yet, some hundred messages; this many is a few seconds of the busiest bot.
const KEPT: usize = 16_384;

/// The last ids, as hashes: two of them are the same by chance once in 2^50.
#[derive(Debug, Default)]
pub struct Seen {
    hasher: RandomState,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Remembers an id; `false` when it is known.
    pub fn is_new(&mut self, id: &EventId) -> bool {
        let hash = self.hasher.hash_one(id);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_an_id_until_enough_others_have_come() {
        let mut seen = Seen::default();
        let id = |n: usize| EventId::from(n as u64);
        assert!(seen.is_new(&id(0)));
        assert!(!seen.is_new(&id(0)));
        assert!((1..KEPT).all(|n| seen.is_new(&id(n))));
        assert!(!seen.is_new(&id(0)));
        assert!(seen.is_new(&id(KEPT)));
        assert!(seen.is_new(&id(0)));
        assert_eq!(seen.known.len(), KEPT);
    }
}
