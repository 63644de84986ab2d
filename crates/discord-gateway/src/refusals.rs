//! What Discord refused the bot a moment ago, by channel and route: who may not react may still write.
//! It is not tried again for a while: each refusal counts against the budget of the whole bot, and
//! whoever shuts the bot out of a channel and then calls for it could spend that budget for everybody.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::rest::{Place, RestError};

/// How long a refusal is believed.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// How many refusals are remembered.
const MAX_PLACES: usize = 1024;

/// What was refused.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Place, (Instant, RestError)>>);

impl Refusals {
    /// What Discord said there a moment ago.
    #[must_use]
    pub fn of(&self, place: Place) -> Option<RestError> {
        self.with(|known| {
            known.get(&place).filter(|(at, _)| at.elapsed() < LEFT_ALONE).map(|(_, error)| error.clone())
        })
    }

    /// Remembers an outcome, if it is a refusal.
    pub fn note(&self, place: Place, error: &RestError) {
        if !matches!(error, RestError::Refused { status: 403, .. }) {
            return;
        }
        self.with(|known| {
            if known.len() >= MAX_PLACES {
                known.retain(|_, (at, _)| at.elapsed() < LEFT_ALONE);
            }
            if known.len() < MAX_PLACES {
                known.insert(place, (Instant::now(), error.clone()));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Place, (Instant, RestError)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_its_route_and_channel_only() {
        let refusals = Refusals::default();
        let refused = RestError::Refused { status: 403, code: 50013, message: String::new() };
        let place = |route, top| Place { route, top };
        refusals.note(place("PUT", 1), &refused);
        assert_eq!(refusals.of(place("PUT", 1)), Some(refused));
        assert_eq!(refusals.of(place("POST", 1)), None);
        assert_eq!(refusals.of(place("PUT", 2)), None);
        let missing = RestError::Refused { status: 404, code: 10008, message: String::new() };
        refusals.note(place("POST", 1), &missing);
        assert_eq!(refusals.of(place("POST", 1)), None);
    }
}
