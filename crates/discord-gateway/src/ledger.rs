//! The day's budget of IDENTIFYs: 1,000 for the bot, whichever of its gateways makes them. Whoever
//! spends all has the token reset.
//! Source: <https://docs.discord.com/developers/events/gateway#session-start-limit-object>.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::{Bucket, BucketError};
use serde::{Deserialize, Serialize};
use service::clock::unix_ms;
use tracing::{info, warn};

/// This part of the day's budget is not touched: whatever else uses the same token, or counts otherwise
/// than this, must not spend the last one. Who started too often waits for the next day.
const RESERVED_PART: u32 = 20;
/// How long the ledger may hold an IDENTIFY up.
const KEEP_LIMIT: Duration = Duration::from_secs(2);

/// What `/gateway/bot` tells about the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SessionStartLimit {
    /// IDENTIFYs per day.
    pub total: u32,
    /// How many are left.
    pub remaining: u32,
    /// When the day is over, in milliseconds from now.
    pub reset_after: u64,
    /// How many may be made per 5 s.
    pub max_concurrency: u32,
}

/// The day's budget, as it is kept across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// IDENTIFYs per day.
    pub total: u32,
    /// How many are left.
    pub remaining: u32,
    /// When the day is over, in Unix milliseconds.
    pub resets_at_ms: u64,
    /// When the last one was made, in Unix milliseconds: a new process must not come right after it.
    #[serde(default)]
    pub last_at_ms: u64,
}

impl Ledger {
    /// The smaller of what Discord says and what was kept of the same day: whichever is right, the
    /// budget is not overdrawn.
    #[must_use]
    pub fn seed(limit: SessionStartLimit, kept: Option<Self>, now_ms: u64) -> Self {
        let last_at_ms = kept.map_or(0, |kept| kept.last_at_ms);
        let kept = kept.filter(|kept| kept.resets_at_ms > now_ms && kept.total == limit.total);
        Self {
            total: limit.total,
            remaining: kept.map_or(limit.remaining, |kept| kept.remaining.min(limit.remaining)),
            resets_at_ms: now_ms.saturating_add(limit.reset_after),
            last_at_ms,
        }
    }

    /// How many are never used up.
    #[must_use]
    pub const fn reserved(&self) -> u32 {
        self.total / RESERVED_PART
    }

    fn spend(&mut self, now_ms: u64) -> Result<(), String> {
        if self.remaining <= self.reserved() {
            let hours = self.resets_at_ms.saturating_sub(now_ms).div_ceil(60 * 60 * 1000);
            return Err(format!(
                "{} of {} daily session starts are left; the last {} are kept back, because discord \
                 resets the token of a bot that uses up all; the next one is made in about {hours} h. \
                 something made the bot start over and over: look at the log of the last hours",
                self.remaining,
                self.total,
                self.reserved()
            ));
        }
        self.remaining -= 1;
        self.last_at_ms = now_ms;
        Ok(())
    }

    fn roll_over(&mut self, now_ms: u64) {
        if self.resets_at_ms <= now_ms {
            self.remaining = self.total;
            self.resets_at_ms = now_ms + 24 * 60 * 60 * 1000;
        }
    }
}

/// The budget, as all gateways of the bot keep it together.
#[derive(Debug)]
pub struct Starts {
    kv: Bucket,
    key: String,
    /// What counts while NATS is away.
    known: Mutex<Ledger>,
}

impl Starts {
    /// Goes on with the ledger that is kept under `key`.
    pub async fn open(limit: SessionStartLimit, kv: Bucket, key: String) -> Self {
        let starts = Self { kv, key, known: Mutex::new(Ledger::seed(limit, None, unix_ms())) };
        starts.change(|kept, now_ms| *kept = Ledger::seed(limit, Some(*kept), now_ms)).await;
        let Ledger { remaining, total, .. } = starts.ledger();
        info!(remaining, total, "identify budget");
        starts
    }

    /// The ledger as it is known here.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        *self.known()
    }

    /// Counts an IDENTIFY before it is made: after a crash one too many is better than one too few.
    ///
    /// # Errors
    /// Why none may be made now, for a person.
    pub async fn spend(&self) -> Result<(), String> {
        let mut refused = Ok(());
        self.change(|ledger, now_ms| {
            refused = ledger.spend(now_ms);
        })
        .await;
        refused
    }

    /// An IDENTIFY was counted and not made.
    pub async fn refund(&self) {
        self.change(|ledger, _| ledger.remaining = ledger.total.min(ledger.remaining + 1)).await;
    }

    /// Discord has told anew what is left.
    pub async fn reset(&self, limit: SessionStartLimit) {
        self.change(|ledger, now_ms| *ledger = Ledger::seed(limit, None, now_ms)).await;
    }

    /// Changes what is kept, over what the others have written. Without NATS what is known here counts.
    async fn change(&self, mut work: impl FnMut(&mut Ledger, u64)) {
        let shared = async {
            loop {
                let entry = self.kv.entry::<Ledger>(&self.key).await?;
                let (kept, revision) = entry.map_or((None, 0), |entry| (Some(entry.value), entry.revision));
                let mut next = kept.unwrap_or_else(|| self.ledger());
                next.roll_over(unix_ms());
                work(&mut next, unix_ms());
                match self.kv.put_if(&self.key, &next, revision).await {
                    Ok(_) => {
                        *self.known() = next;
                        return Ok(());
                    }
                    Err(BucketError::Changed { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        let reason = match tokio::time::timeout(KEEP_LIMIT, shared).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "NATS does not answer".to_owned(),
        };
        warn!(reason, "the identify budget was not kept");
        let mut known = self.known();
        known.roll_over(unix_ms());
        work(&mut known, unix_ms());
    }

    fn known(&self) -> MutexGuard<'_, Ledger> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: SessionStartLimit =
        SessionStartLimit { total: 1000, remaining: 900, reset_after: 1000, max_concurrency: 1 };

    #[test]
    fn the_ledger_of_the_same_day_is_gone_on_with() {
        let kept = Ledger { total: 1000, remaining: 800, resets_at_ms: 500, last_at_ms: 7 };
        assert_eq!(Ledger::seed(LIMIT, Some(kept), 400).remaining, 800);
        assert_eq!(Ledger::seed(LIMIT, Some(kept), 500).remaining, 900);
        let fresh = Ledger { total: 1000, remaining: 900, resets_at_ms: 1000, last_at_ms: 0 };
        assert_eq!(Ledger::seed(LIMIT, None, 0), fresh);
    }

    #[test]
    fn a_new_day_gives_a_new_budget() {
        let mut ledger = Ledger { total: 1000, remaining: 3, resets_at_ms: 500, last_at_ms: 0 };
        ledger.roll_over(499);
        assert_eq!(ledger.remaining, 3);
        ledger.roll_over(500);
        assert_eq!(ledger.remaining, 1000);
    }
}
