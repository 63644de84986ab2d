//! What was done lately, so that an action that comes again, because its acknowledgement was lost, is
//! not done again. It ends with the process; what must never be done twice is claimed besides, see `held`.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use protocol::ActionId;
use tokio::time::Instant;

/// How long an action is remembered: as long as the bus knows duplicates.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// How many are remembered at most.
const MAX_REMEMBERED: usize = 10_000;

/// The actions done lately.
#[derive(Debug, Default)]
pub(crate) struct Done(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ids: HashSet<ActionId>,
    order: VecDeque<(Instant, ActionId)>,
}

impl Done {
    /// Remembers an action.
    pub(crate) fn insert(&self, id: ActionId) {
        self.with(|state| {
            if state.ids.insert(id.clone()) {
                state.order.push_back((Instant::now(), id));
            }
        });
    }

    /// Whether an action was done lately.
    pub(crate) fn contains(&self, id: &ActionId) -> bool {
        self.with(|state| state.ids.contains(id))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut state);
        while state.order.len() > MAX_REMEMBERED
            || state.order.front().is_some_and(|(at, _)| at.elapsed() > REMEMBERED)
        {
            if let Some((_, id)) = state.order.pop_front() {
                state.ids.remove(&id);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use protocol::{EventId, Platform};

    use super::*;

    fn id(n: u32) -> ActionId {
        EventId::of_platform(Platform::Discord, "1").unwrap().action(n)
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let done = Done::default();
        for n in 0..=u32::try_from(MAX_REMEMBERED).unwrap() {
            done.insert(id(n));
        }
        assert!(!done.contains(&id(0)));
        assert!(done.contains(&id(1)));
    }
}
