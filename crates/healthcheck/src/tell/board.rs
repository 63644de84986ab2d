//! Whether people, and the witness, can be told: written by the channels, read by each look.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::view::Condition;

/// What channels say of themselves; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    channels: BTreeMap<&'static str, Condition>,
    witness: Option<Condition>,
    failures: u64,
}

impl Board {
    /// How a channel is.
    pub fn set_channel(&self, name: &'static str, condition: Condition) {
        self.with(|state| {
            if let Some(Condition::Fine | Condition::Untried) = state.channels.get(name) {
                state.failures += u64::from(!condition.trouble().is_empty());
            }
            state.channels.insert(name, condition);
        });
    }

    /// How the witness is.
    pub fn set_witness(&self, condition: Condition) {
        self.with(|state| {
            if let Some(Condition::Fine | Condition::Untried) = &state.witness {
                state.failures += u64::from(!condition.trouble().is_empty());
            }
            state.witness = Some(condition);
        });
    }

    /// All channels.
    pub fn channels(&self) -> BTreeMap<&'static str, Condition> {
        self.with(|state| state.channels.clone())
    }

    /// The witness; `None` when there is none.
    pub fn witness(&self) -> Option<Condition> {
        self.with(|state| state.witness.clone())
    }

    /// How often something began to fail since the last call.
    pub fn take_failures(&self) -> u64 {
        self.with(|state| std::mem::take(&mut state.failures))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
