//! Named counters of what happened, which a test can wait on instead of sleeping.
//!
//! Names are dotted paths such as `discord.identify` or `twitch.privmsg.in`. A counter exists from
//! the first time somebody counts it or asks for it, and only ever grows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// All counters of one sandbox; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<String, watch::Sender<u64>>>>);

/// A wait ended before the counter got there.
#[derive(Debug, thiserror::Error)]
#[error("counter {name} stayed at {seen} of {wanted} for {waited:?}; all counters: {all:?}")]
pub struct NotReached {
    /// Which counter was waited on.
    pub name: String,
    /// Its last value.
    pub seen: u64,
    /// The value that was waited for.
    pub wanted: u64,
    /// How long the wait took.
    pub waited: Duration,
    /// Every counter at that time, to see what happened instead.
    pub all: BTreeMap<String, u64>,
}

impl Counters {
    /// Adds one.
    pub fn add(&self, name: &str) {
        self.add_many(name, 1);
    }

    /// Adds `n`.
    pub fn add_many(&self, name: &str, n: u64) {
        self.sender(name).send_modify(|count| *count += n);
    }

    /// The value now; 0 for a counter that nobody has counted yet.
    pub fn get(&self, name: &str) -> u64 {
        *self.sender(name).borrow()
    }

    /// Every counter with its value.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|(name, count)| (name.clone(), *count.borrow())).collect()
    }

    /// Waits until the counter is at least `wanted` and returns its value.
    ///
    /// # Errors
    /// [`NotReached`] after `within`, with every counter as it was then.
    pub async fn wait(&self, name: &str, wanted: u64, within: Duration) -> Result<u64, NotReached> {
        let mut watched = self.sender(name).subscribe();
        let reached = watched.wait_for(|count| *count >= wanted);
        if let Ok(Ok(count)) = tokio::time::timeout(within, reached).await {
            return Ok(*count);
        }
        Err(NotReached {
            name: name.to_owned(),
            seen: self.get(name),
            wanted,
            waited: within,
            all: self.all(),
        })
    }

    fn sender(&self, name: &str) -> watch::Sender<u64> {
        let mut all = self.lock();
        match all.get(name) {
            Some(sender) => sender.clone(),
            None => all.entry(name.to_owned()).or_insert_with(|| watch::channel(0).0).clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
