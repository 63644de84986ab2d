//! When the account spoke lately, kept where a process that ends takes nothing away: Twitch counts on
//! when a gateway starts again, and whoever exceeds its limit is not heard for an hour.
//!
//! A page is written ahead: it names what was sent and grants some messages more, so that none of
//! these waits for the bucket while the next page is written. Who reads the page after a crash counts
//! all that was granted as sent at that moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Bucket, BucketError};
use serde::{Deserialize, Serialize};
use service::clock::unix_ms;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::limiter::{Limiter, WINDOW};

/// The most messages that a page grants.
const AHEAD: usize = 4;
/// Messages are told together that were sent within so long, as sent at its end; a page is short then,
/// however many messages Twitch grants.
const GRAIN_MS: u64 = 1000;
/// Before a page that was not written is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the last page may take.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// Keeps the record of one account.
pub struct Ledger {
    bucket: Bucket,
    key: String,
    limiter: Arc<Limiter>,
    ahead: usize,
}

/// What is kept. At most one entry for each [`GRAIN_MS`] of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// Unix milliseconds and how many were sent by then.
    sent: Vec<(u64, usize)>,
    /// How many may have been sent since.
    ahead: usize,
}

impl Ledger {
    /// The limits of `login`, with what is known of the time before. Where that cannot be read, the
    /// limits count as used up.
    pub async fn open(bucket: Bucket, login: &str, per_30s: usize) -> (Self, Arc<Limiter>) {
        let key = format!("twitch.{login}.sent");
        let page = bucket.get::<Page>(&key).await;
        let known = page.as_ref().ok().and_then(Option::as_ref).map(|page| page.times(unix_ms()));
        let limiter = Arc::new(Limiter::resumed(per_30s, known.unwrap_or_default()));
        if let Err(error) = page {
            warn!(%error, "it is not known when this account spoke last; nothing is said for {WINDOW:?}");
            limiter.exhaust();
        }
        let ahead = (per_30s / 4).clamp(1, AHEAD);
        (Self { bucket, key, limiter: limiter.clone(), ahead }, limiter)
    }

    /// Writes a page whenever something was sent, one at a time, until `shutdown`; nothing may be sent
    /// after that.
    ///
    /// # Errors
    /// None: what cannot be written is tried again, and nothing is sent meanwhile.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut failed = false;
        loop {
            let written = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                written = self.write(self.ahead) => written,
            };
            match written {
                Ok(taken) => {
                    self.limiter.cover(taken + self.ahead as u64);
                    failed = false;
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = self.limiter.changed() => {}
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        warn!(%error, "what is sent cannot be put on record; nothing is said until it can");
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = sleep(AGAIN) => {}
                    }
                }
            }
        }
        // Without it the next start counts some messages that were not sent: a delay, no harm.
        if !matches!(timeout(LAST_WITHIN, self.write(0)).await, Ok(Ok(_))) {
            warn!("the last messages are not on record; the next start waits for longer than it must");
        }
        Ok(())
    }

    async fn write(&self, ahead: usize) -> Result<u64, BucketError> {
        let (taken, sent) = self.limiter.counted();
        let page = Page::of(&sent, ahead, unix_ms());
        self.bucket.put(&self.key, &page).await?;
        Ok(taken)
    }
}

impl Page {
    fn of(sent: &[Instant], ahead: usize, now_ms: u64) -> Self {
        let mut grains = BTreeMap::new();
        for at in sent {
            let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            let at_ms = now_ms.saturating_sub(age_ms);
            *grains.entry(at_ms.div_ceil(GRAIN_MS) * GRAIN_MS).or_insert(0) += 1;
        }
        Self { sent: grains.into_iter().collect(), ahead }
    }

    /// When messages were sent that still count. A clock that was set back makes them younger.
    fn times(&self, now_ms: u64) -> Vec<Instant> {
        let now = Instant::now();
        let granted = (now_ms, self.ahead);
        let sent = self.sent.iter().chain([&granted]);
        let aged = sent.map(|(at_ms, count)| (Duration::from_millis(now_ms.saturating_sub(*at_ms)), *count));
        aged.filter(|(age, _)| *age < WINDOW)
            .flat_map(|(age, count)| {
                let at = now.checked_sub(age).unwrap_or(now);
                // Nobody may send more than this in a window, whatever a page says.
                std::iter::repeat_n(at, count.min(crate::config::MAX_MESSAGES_PER_30S))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{ELEVATED, Standing};

    const NOW_MS: u64 = 1_700_000_000_500;

    #[tokio::test(start_paused = true)]
    async fn a_page_brings_back_when_messages_were_sent() {
        let begun = Instant::now();
        tokio::time::advance(Duration::from_secs(20)).await;
        let sent = [vec![begun; 3], vec![Instant::now(); 2]].concat();
        let page = Page::of(&sent, 4, NOW_MS);
        assert_eq!(page.sent, [(NOW_MS - 19_500, 3), (NOW_MS + 500, 2)]);
        let times = page.times(NOW_MS + 1000);
        let ages = times.iter().map(|at| at.elapsed().as_millis()).collect::<Vec<_>>();
        assert_eq!(ages, [20_500, 20_500, 20_500, 500, 500, 0, 0, 0, 0]);
        assert_eq!(page.times(NOW_MS + 20_000).len(), 2 + 4, "what is older than a window does not count");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_short_however_much_is_said() {
        let sent = vec![Instant::now(); 7500];
        let page = Page::of(&sent, 4, NOW_MS);
        assert_eq!(page.sent.len(), 1);
        assert_eq!(page.times(NOW_MS).len(), 7504);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_used_up_before_a_restart_still_is() {
        let page = Page { sent: vec![(NOW_MS - 10_000, 19)], ahead: 1 };
        let limiter = Limiter::resumed(20, page.times(NOW_MS));
        assert_eq!(limiter.estimate("a", Standing::Normal), WINDOW - Duration::from_secs(10));
        assert_eq!(limiter.estimate("a", Standing::Elevated), Duration::ZERO);
        assert_eq!(limiter.counted().1.len(), 20);
        let until = Instant::now() + WINDOW;
        let place = limiter.acquire("a", Standing::Elevated, until).await.unwrap();
        assert!(!limiter.covered(&place, Instant::now()).await, "it is not on record yet");
        limiter.cover(1);
        assert!(limiter.covered(&place, until).await);
        let next = limiter.acquire("a", Standing::Elevated, until).await.unwrap();
        assert!(!limiter.covered(&next, Instant::now()).await);
        limiter.exhaust();
        assert_eq!(limiter.counted().1.len(), ELEVATED);
    }
}
