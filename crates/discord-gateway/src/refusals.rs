//! Channels in which Discord refused the bot a moment ago. Nothing is tried there for a while:
//! each refusal counts against the budget of the whole bot, and whoever shuts the bot out of a channel
//! and then calls for it could spend that budget for everybody.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::rest::RestError;

/// How long a channel is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// How many channels are remembered.
const MAX_CHANNELS: usize = 1024;

/// The channels that refused.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<u64, (Instant, RestError)>>);

impl Refusals {
    /// What Discord said in this channel a moment ago.
    #[must_use]
    pub fn of(&self, channel: u64) -> Option<RestError> {
        self.with(|known| {
            known.get(&channel).filter(|(at, _)| at.elapsed() < LEFT_ALONE).map(|(_, error)| error.clone())
        })
    }

    /// Remembers an outcome, if it is a refusal.
    pub fn note(&self, channel: u64, error: &RestError) {
        if !matches!(error, RestError::Refused { status: 403, .. }) {
            return;
        }
        self.with(|known| {
            if known.len() >= MAX_CHANNELS {
                known.retain(|_, (at, _)| at.elapsed() < LEFT_ALONE);
            }
            if known.len() < MAX_CHANNELS {
                known.insert(channel, (Instant::now(), error.clone()));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<u64, (Instant, RestError)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
