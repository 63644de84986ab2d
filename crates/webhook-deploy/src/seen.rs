//! Deliveries that were taken, so that none is taken twice.

use std::collections::{HashSet, VecDeque};

/// Deliveries of a hook that are remembered; the oldest is forgotten first.
const SEEN_MAX: usize = 1024;

/// What a delivery is known by: see [`Verified::mark`](crate::signature::Verified).
pub type Mark = [u8; 32];

/// The deliveries of one hook.
#[derive(Debug, Default)]
pub struct Seen {
    known: HashSet<Mark>,
    order: VecDeque<Mark>,
}

impl Seen {
    /// Remembers it; whether it is new.
    pub fn add(&mut self, mark: Mark) -> bool {
        if !self.known.insert(mark) {
            return false;
        }
        self.order.push_back(mark);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Forgets one that came to nothing, so that it may be delivered again.
    pub fn forget(&mut self, mark: &Mark) {
        if self.known.remove(mark) {
            self.order.retain(|one| one != mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: usize) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&number.to_le_bytes());
        mark
    }

    #[test]
    fn a_delivery_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.add(mark(1)) && seen.add(mark(2)));
        assert!(!seen.add(mark(1)) && !seen.add(mark(2)));
        seen.forget(&mark(1));
        seen.forget(&mark(3));
        assert!(seen.add(mark(1)) && !seen.add(mark(2)));
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut seen = Seen::default();
        assert!((0..=SEEN_MAX).all(|number| seen.add(mark(number))));
        assert_eq!((seen.known.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!seen.add(mark(1)));
        assert!(seen.add(mark(0)));
    }
}
