//! When the account spoke lately, kept where a process that ends takes nothing away, and where all
//! gateways of the account see it: Twitch counts on, whoever speaks, and whoever exceeds its limit is not
//! heard for an hour.
//!
//! There is one page for the account, with a line for each process that spoke. It is written only over
//! the revision that was read, so that of two who take the last place one is refused, reads again, and
//! waits. Nobody has to know who else is there for that. A message is sent when the page names it.
//!
//! A gateway that is alone writes ahead: its page grants some messages more, so that none of these waits
//! for the bucket. Who reads that page counts all that was granted as sent at that moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Bucket, BucketError, Holding};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::clock::unix_ms;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
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
/// How long one answer of the bucket may take before its outcome counts as unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long the last page may take.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// Keeps the record of one account.
pub struct Ledger {
    bucket: Bucket,
    key: String,
    limiter: Arc<Limiter>,
    /// Who writes: a process, not an instance, which may come back and must count its earlier life.
    run: String,
    ahead: usize,
    /// Who else is there.
    held: watch::Receiver<Holding>,
    /// The page as it was read or written last.
    page: Page,
    revision: u64,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// For each process: Unix milliseconds and how many it had sent by then. At most one entry for each
    /// [`GRAIN_MS`] of a window.
    sent: BTreeMap<String, Vec<(u64, usize)>>,
    /// How many more the writer may have sent since.
    #[serde(default)]
    ahead: usize,
    /// Whose page it is.
    #[serde(default)]
    by: String,
}

/// How writing a page ended.
enum Written {
    /// It names so many places.
    Yes(u64),
    /// Somebody else wrote first; what they sent is known now.
    Refused,
}

impl Ledger {
    /// The limits of `login`, with what is known of the time before and of others. Where that cannot be
    /// read, the limits count as used up. `held` tells who else there is.
    pub async fn open(
        bucket: Bucket,
        login: &str,
        per_30s: usize,
        held: watch::Receiver<Holding>,
    ) -> (Self, Arc<Limiter>) {
        let limiter = Arc::new(Limiter::recorded(per_30s));
        let mut ledger = Self {
            bucket,
            key: format!("twitch.{login}.messages"),
            limiter: limiter.clone(),
            run: format!("{:016x}", fastrand::u64(..)),
            ahead: (per_30s / 4).clamp(1, AHEAD),
            held,
            page: Page::default(),
            revision: 0,
        };
        if let Err(error) = ledger.read().await {
            warn!(%error, "it is not known when this account spoke last; nothing is said for {WINDOW:?}");
            limiter.exhaust();
        }
        (ledger, limiter)
    }

    /// Writes a page whenever something was sent, one at a time, until `shutdown`; nothing may be sent
    /// after that.
    ///
    /// # Errors
    /// None: what cannot be written is tried again, and nothing is sent meanwhile.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut failed = false;
        let mut company = self.held.clone();
        loop {
            company.mark_unchanged();
            let ahead = self.grant();
            // Before it is written: what was granted to one that was alone holds no more.
            if ahead == 0 {
                self.limiter.cover_no_more();
            }
            let written = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                written = self.catch_up(ahead) => written,
            };
            let settled = match written {
                Ok(Written::Yes(taken)) => {
                    self.limiter.cover(taken + ahead as u64);
                    failed = false;
                    true
                }
                Ok(Written::Refused) => continue,
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        warn!(%error, "what is sent cannot be put on record; nothing is said until it can");
                    }
                    false
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.limiter.changed(), if settled => {}
                // Whether it is alone decides what is granted. Without a lease nothing is sent.
                Ok(()) = company.changed(), if settled => {}
                () = sleep(AGAIN), if !settled => {}
            }
        }
        // Without it the next start counts some messages that were not sent: a delay, no harm.
        let last = async {
            while matches!(self.write(0).await?, Written::Refused) {}
            Ok::<_, BucketError>(())
        };
        if !matches!(timeout(LAST_WITHIN, last).await, Ok(Ok(()))) {
            warn!("the last messages are not on record; the next start waits for longer than it must");
        }
        Ok(())
    }

    /// What a page grants: nothing as long as others may speak, or may have spoken a moment ago.
    fn grant(&mut self) -> usize {
        let holding = self.held.borrow();
        let alone = holding.living == 1 && !holding.fenced;
        if alone && self.page.others(&self.run, unix_ms()).is_empty() { self.ahead } else { 0 }
    }

    /// Writes a page, after reading it where something was taken over from others.
    async fn catch_up(&mut self, ahead: usize) -> Result<Written, BucketError> {
        if self.limiter.is_behind() {
            self.read().await?;
        }
        self.write(ahead).await
    }

    async fn write(&mut self, ahead: usize) -> Result<Written, BucketError> {
        let now_ms = unix_ms();
        let (taken, sent) = self.limiter.counted();
        let mut next = Page { sent: self.page.sent.clone(), ahead, by: self.run.clone() };
        next.sent.insert(self.run.clone(), grains(&sent, now_ms));
        next.forget(now_ms);
        if next.sent == self.page.sent && ahead == self.page.ahead {
            return Ok(Written::Yes(taken));
        }
        match within(&self.key, self.bucket.put_if(&self.key, &next, self.revision)).await {
            Ok(revision) => {
                (self.page, self.revision) = (next, revision);
                Ok(Written::Yes(taken))
            }
            Err(BucketError::Changed { .. }) => {
                self.read().await?;
                Ok(Written::Refused)
            }
            // It may have been written all the same, and the answer lost: reading tells.
            Err(error) => {
                self.read().await?;
                Err(error)
            }
        }
    }

    /// Reads the page and counts what others sent.
    async fn read(&mut self) -> Result<(), BucketError> {
        let known = Instant::now();
        let found = within(&self.key, self.bucket.entry::<Value>(&self.key)).await?;
        let (value, revision) = found.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
        let mut page = match value {
            Value::Null => Page::default(),
            value => serde_json::from_value(value).unwrap_or_else(|error| {
                warn!(key = self.key, %error, "holds something unexpected; nothing is said for {WINDOW:?}");
                self.limiter.exhaust();
                Page::default()
            }),
        };
        page.settle(&self.run, unix_ms());
        self.limiter.learn(times(&page.others(&self.run, unix_ms()), unix_ms()), known);
        (self.page, self.revision) = (page, revision);
        Ok(())
    }
}

/// An answer that does not come in time is none.
async fn within<T>(
    key: &str,
    answer: impl Future<Output = Result<T, BucketError>>,
) -> Result<T, BucketError> {
    match timeout(ANSWER_WITHIN, answer).await {
        Ok(answered) => answered,
        Err(elapsed) => Err(BucketError::Write { key: key.to_owned(), source: Box::new(elapsed) }),
    }
}

impl Page {
    /// Counts what the writer was granted as sent now, if that was somebody else.
    fn settle(&mut self, run: &str, now_ms: u64) {
        if self.ahead > 0 && self.by != run {
            self.sent.entry(std::mem::take(&mut self.by)).or_default().push((now_ms, self.ahead));
            self.ahead = 0;
        }
    }

    /// What others sent that still counts.
    fn others(&self, run: &str, now_ms: u64) -> Vec<(u64, usize)> {
        let others = self.sent.iter().filter(|(by, _)| *by != run).flat_map(|(_, sent)| sent);
        others.copied().filter(|(at_ms, _)| counts(*at_ms, now_ms)).collect()
    }

    /// Removes what does not count any more, and who has nothing left.
    fn forget(&mut self, now_ms: u64) {
        for sent in self.sent.values_mut() {
            sent.retain(|(at_ms, _)| counts(*at_ms, now_ms));
        }
        self.sent.retain(|_, sent| !sent.is_empty());
    }
}

fn counts(at_ms: u64, now_ms: u64) -> bool {
    Duration::from_millis(now_ms.saturating_sub(at_ms)) < WINDOW
}

fn grains(sent: &[Instant], now_ms: u64) -> Vec<(u64, usize)> {
    let mut grains = BTreeMap::new();
    for at in sent {
        let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at_ms = now_ms.saturating_sub(age_ms);
        *grains.entry(at_ms.div_ceil(GRAIN_MS) * GRAIN_MS).or_insert(0) += 1;
    }
    grains.into_iter().collect()
}

/// When messages were sent, by this process' clock. What seems to be yet to come was sent now: a clock
/// that was set back makes messages younger.
fn times(sent: &[(u64, usize)], now_ms: u64) -> Vec<Instant> {
    let now = Instant::now();
    sent.iter()
        .flat_map(|(at_ms, count)| {
            let age = Duration::from_millis(now_ms.saturating_sub(*at_ms));
            // Nobody may send more than this in a window, whatever a page says.
            let count = (*count).min(crate::config::MAX_MESSAGES_PER_30S);
            std::iter::repeat_n(now.checked_sub(age).unwrap_or(now), count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{ELEVATED, Recorded, Standing};

    const NOW_MS: u64 = 1_700_000_000_500;

    fn page(run: &str, sent: Vec<(u64, usize)>, ahead: usize) -> Page {
        Page { sent: BTreeMap::from([(run.to_owned(), sent)]), ahead, by: run.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_brings_back_when_messages_were_sent() {
        let begun = Instant::now();
        tokio::time::advance(Duration::from_secs(20)).await;
        let sent = grains(&[vec![begun; 3], vec![Instant::now(); 2]].concat(), NOW_MS);
        assert_eq!(sent, [(NOW_MS - 19_500, 3), (NOW_MS + 500, 2)]);
        let mut page = page("before", sent, 4);
        page.settle("now", NOW_MS + 1000);
        let ages = times(&page.others("now", NOW_MS + 1000), NOW_MS + 1000);
        let ages = ages.iter().map(|at| at.elapsed().as_millis()).collect::<Vec<_>>();
        assert_eq!(ages, [20_500, 20_500, 20_500, 500, 500, 0, 0, 0, 0]);
        assert_eq!(page.others("before", NOW_MS), []);
        page.forget(NOW_MS + 20_000);
        assert_eq!(
            page.others("now", NOW_MS + 20_000).len(),
            2,
            "what is older than a window does not count"
        );
        page.forget(NOW_MS + 60_000);
        assert_eq!(page.sent, BTreeMap::new(), "and whoever is gone for so long has no line");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_short_however_much_is_said() {
        let sent = grains(&vec![Instant::now(); 7500], NOW_MS);
        assert_eq!(sent.len(), 1);
        assert_eq!(times(&sent, NOW_MS).len(), 7500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_used_up_by_others_or_before_a_restart_is() {
        let mut page = page("before", vec![(NOW_MS - 10_000, 19)], 1);
        page.settle("now", NOW_MS);
        let limiter = Limiter::recorded(20);
        limiter.learn(times(&page.others("now", NOW_MS), NOW_MS), Instant::now());
        assert_eq!(limiter.estimate("a", Standing::Normal), WINDOW - Duration::from_secs(10));
        assert_eq!(limiter.estimate("a", Standing::Elevated), Duration::ZERO);
        assert_eq!(limiter.counted().1.len(), 0, "others write for themselves");
        let until = Instant::now() + WINDOW;
        let place = limiter.acquire("a", Standing::Elevated, until).await.unwrap();
        assert_eq!(limiter.covered(&place, Instant::now()).await, Recorded::Late, "it is not on record yet");
        limiter.cover(1);
        assert_eq!(limiter.covered(&place, until).await, Recorded::Yes);
        let next = limiter.acquire("a", Standing::Elevated, until).await.unwrap();
        assert_eq!(limiter.covered(&next, Instant::now()).await, Recorded::Late);
        limiter.exhaust();
        limiter.learn(Vec::new(), Instant::now());
        assert_eq!(limiter.counted().1.len(), ELEVATED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_others_took_first_is_taken_back() {
        let limiter = Limiter::recorded(3);
        let until = Instant::now() + WINDOW * 2;
        let [first, second] = [
            limiter.acquire("a", Standing::Normal, until).await.unwrap(),
            limiter.acquire("b", Standing::Normal, until).await.unwrap(),
        ];
        limiter.cover(1);
        limiter.learn(vec![Instant::now()], Instant::now());
        assert_eq!(limiter.counted().1.len(), 2, "there was room for both");
        limiter.learn(vec![Instant::now(); 2], Instant::now());
        assert_eq!(limiter.covered(&first, until).await, Recorded::Yes);
        assert_eq!(limiter.covered(&second, until).await, Recorded::TakenBack);
        let begun = Instant::now();
        limiter.acquire("b", Standing::Normal, until).await.unwrap();
        assert_eq!(begun.elapsed(), WINDOW, "it waits for another");
    }
}
