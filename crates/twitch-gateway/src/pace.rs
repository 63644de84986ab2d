//! How often the account may join and log in, over all its gateways: Twitch counts the account.
//!
//! Each gateway keeps a window of its own, and all of them a page in a bucket, on which a place is
//! written only over the revision that was read. What is exceeded here costs a minute of patience, not an
//! hour of silence as with messages, and reading matters more: while the bucket does not answer, each
//! keeps to its own window.

use std::time::Duration;

use bus::{Bucket, BucketError, Link};
use serde::{Deserialize, Serialize};
use service::clock::unix_ms;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::limiter::Window;

/// How long one answer of the bucket may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Those who wait for a place. One that gave up still has its place in this queue until its turn.
const QUEUE: usize = 64;
/// A place that nobody took is given to another for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Gives places; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pace(mpsc::Sender<oneshot::Sender<()>>);

/// Takes places for [`Pace`], one after the other.
pub struct Pacer {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    local: Window,
    bucket: Bucket,
    link: watch::Receiver<Link>,
    key: String,
    limit: usize,
    window: Duration,
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
        let (ask, asked) = mpsc::channel(QUEUE);
        let local = Window::new(limit, window);
        let Shared { bucket, link, login } = shared.clone();
        let key = format!("twitch.{login}.{what}");
        (Self(ask), Pacer { asked, local, bucket, link, key, limit, window })
    }

    /// Waits for a place, first come first served. Cancel-safe: what nobody takes goes to the next.
    pub async fn take(&self) {
        let (give, given) = oneshot::channel();
        if self.0.send(give).await.is_err() || given.await.is_err() {
            // Nobody gives any more: the service is ending.
            std::future::pending::<()>().await;
        }
    }
}

impl Pacer {
    /// Gives places until `shutdown`.
    ///
    /// # Errors
    /// None: what is not known is not waited for.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let serve = async {
            let mut spare: Option<Instant> = None;
            while let Some(ask) = self.asked.recv().await {
                if ask.is_closed() {
                    continue;
                }
                if spare.take_if(|at| at.elapsed() < FRESH).is_none() {
                    self.book().await;
                }
                spare = ask.send(()).err().map(|()| Instant::now());
            }
        };
        tokio::select! {
            () = serve => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
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
