//! How often the account may join and log in, over all its gateways: Twitch counts the account.
//!
//! Each gateway keeps a window of its own, and all of them a page in a bucket, on which a place is
//! written only over the revision that was read. What is exceeded here costs a minute of patience, not an
//! hour of silence as with messages, and reading matters more: while the bucket does not answer, each
//! keeps to its own window.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::{Bucket, BucketError, Link};
use serde::{Deserialize, Serialize};
use service::clock::unix_ms;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::limiter::Window;

/// How long one answer of the bucket may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A place that nobody took is given to another for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Gives places; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Desk>);

/// Takes places for [`Pace`], one after the other.
pub struct Pacer {
    desk: Arc<Desk>,
    local: Window,
    bucket: Bucket,
    link: watch::Receiver<Link>,
    key: String,
    limit: usize,
    window: Duration,
}

/// Where places are asked for and given.
#[derive(Debug)]
struct Desk {
    places: Semaphore,
    waiting: AtomicUsize,
    taken: AtomicUsize,
    asked: Notify,
}

/// Counts one who waits for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the bucket is asked by.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where the page is.
    pub bucket: Bucket,
    /// Whether it can be asked.
    pub link: watch::Receiver<Link>,
    /// Whose page it is.
    pub login: String,
}

/// Places in the window, as Unix milliseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Page {
    taken: Vec<u64>,
}

impl Pace {
    /// At most `limit` places in `window` for the account; `what` they are for. The second part has to
    /// run.
    #[must_use]
    pub fn new(shared: &Shared, what: &str, limit: usize, window: Duration) -> (Self, Pacer) {
        let places = Semaphore::new(0);
        let none = AtomicUsize::new;
        let desk = Arc::new(Desk { places, waiting: none(0), taken: none(0), asked: Notify::new() });
        let local = Window::new(limit, window);
        let Shared { bucket, link, login } = shared.clone();
        let key = format!("twitch.{login}.{what}");
        (Self(desk.clone()), Pacer { desk, local, bucket, link, key, limit, window })
    }

    /// Waits for a place, first come first served. Cancel-safe: what nobody takes goes to the next.
    pub async fn take(&self) {
        let Desk { places, waiting, taken, asked } = &*self.0;
        waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(waiting);
        asked.notify_one();
        // It is never closed.
        if let Ok(place) = places.acquire().await {
            place.forget();
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Pacer {
    /// Gives places until `shutdown`.
    ///
    /// # Errors
    /// None: what is not known is not waited for.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.serve() => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }

    async fn serve(&self) {
        let Desk { places, waiting, taken, asked } = &*self.desk;
        let (mut given, mut at) = (0_usize, Instant::now());
        loop {
            if at.elapsed() >= FRESH {
                given -= places.forget_permits(places.available_permits());
            }
            let left = given.saturating_sub(taken.load(Ordering::Relaxed));
            if waiting.load(Ordering::Relaxed) > left {
                self.book().await;
                (given, at) = (given + 1, Instant::now());
                places.add_permits(1);
            } else {
                asked.notified().await;
            }
        }
    }

    async fn book(&self) {
        self.local.take().await;
        while *self.link.borrow() == Link::Up {
            match timeout(ANSWER_WITHIN, self.try_book()).await {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(wait))) => sleep(wait).await,
                Ok(Err(BucketError::Changed { .. })) => {}
                Ok(Err(error)) => return debug!(%error, "the account's other gateways are not counted"),
                Err(_elapsed) => return debug!("the account's other gateways are not counted"),
            }
        }
    }

    /// Writes down a place; otherwise tells how long there will be none.
    async fn try_book(&self) -> Result<Option<Duration>, BucketError> {
        let found = self.bucket.entry::<Page>(&self.key).await?;
        let (mut page, revision) = found.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
        let now_ms = unix_ms();
        let age = |at_ms: &u64| Duration::from_millis(now_ms.saturating_sub(*at_ms));
        // A clock that was set back must not keep anybody out for longer than a window.
        page.taken.retain(|at_ms| age(at_ms) < self.window && *at_ms <= now_ms + 1000);
        page.taken.sort_unstable();
        if let Some(over) = (page.taken.len() + 1).checked_sub(self.limit)
            && over > 0
            && let Some(oldest) = page.taken.get(over - 1)
        {
            return Ok(Some(self.window.saturating_sub(age(oldest))));
        }
        page.taken.push(now_ms);
        self.bucket.put_if(&self.key, &page, revision).await.map(|_revision| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_that_is_not_taken_is_not_lost_and_what_others_took_is_counted() {
        const WINDOW: Duration = Duration::from_millis(1500);
        let nats = testkit::Nats::start().await;
        let bus = nats.bus("test").await;
        let bucket = bus.bucket(bus::BucketName::Session).await.unwrap();
        let shared = Shared { bucket, link: bus.link(), login: "vigie_bot".to_owned() };
        let shutdown = CancellationToken::new();
        let start = || {
            let (pace, pacer) = Pace::new(&shared, "joins", 6, WINDOW);
            tokio::spawn(pacer.run(shutdown.clone()));
            pace
        };
        let (one, two) = (start(), start());
        let begun = Instant::now();
        for pace in [&one, &two, &one, &two, &one] {
            // Given up while it is written down.
            assert!(futures_util::poll!(Box::pin(pace.take())).is_pending());
            tokio::task::yield_now().await;
            pace.take().await;
        }
        two.take().await;
        assert!(begun.elapsed() < WINDOW, "{:?}", begun.elapsed());
        one.take().await;
        assert!(begun.elapsed() >= WINDOW, "{:?}", begun.elapsed());
        shutdown.cancel();
    }
}
