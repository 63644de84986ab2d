//! A hook at work: takes each delivery once, tells the deployer, notes what came of it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bus::Bus;
use protocol::{
    VERSION,
    control::{Audit, AuditResult},
};
use service::{Gauge, clock::unix_ms};
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    answer::Answer,
    desk::{Desk, Told},
    hooks::Hook,
    limits::{Bucket, Rate},
    notes::Notes,
    payload::Event,
    seen::Seen,
    signature::Verified,
};

/// Deliveries of a hook that are given to the deployer.
const DELIVERIES: Rate = Rate { burst: 30, every: Duration::from_secs(2) };
/// What nobody was there to hear is told again so often, for so long after the newest delivery: some forges deliver once
/// only, and a deployer that updates itself is away for a moment.
const TELL_AGAIN: Duration = Duration::from_secs(5);
const TELL_LIMIT: Duration = Duration::from_secs(10 * 60);

/// A hook, and what it remembers.
#[derive(Debug)]
pub struct Place {
    /// What is configured.
    pub hook: Hook,
    seen: Mutex<Seen>,
    deliveries: Mutex<Bucket>,
    desk: Desk,
    owed: Mutex<Owed>,
}

/// Until when something is to be told again, if anything is.
#[derive(Debug, Default)]
struct Owed(Option<Instant>);

/// A delivery that passed every check.
#[derive(Debug)]
pub struct Delivery {
    /// Who it is from.
    pub source: IpAddr,
    /// What proved it.
    pub verified: Verified,
    /// What happened.
    pub event: Event,
    /// The newest commit, where the forge says it.
    pub commit: Option<String>,
}

/// What all places work with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Means {
    /// The way to the deployer.
    pub bus: Bus,
    /// The way to the audit trail.
    pub notes: Notes,
    /// When the deployer last accepted.
    pub accepted_at: Gauge,
    /// Where that goes on which whoever asked does not wait for.
    pub work: TaskTracker,
    /// When it ends.
    pub shutdown: CancellationToken,
}

impl Owed {
    /// A delivery is owed from now on; whether it is the only one.
    fn add(&mut self, now: Instant) -> bool {
        self.0.replace(now + TELL_LIMIT).is_none()
    }

    /// Whether the newest has been told for long enough: then nothing is owed any more.
    fn give_up(&mut self, now: Instant) -> bool {
        let is_over = self.0.is_none_or(|until| until <= now);
        if is_over {
            self.0 = None;
        }
        is_over
    }
}

impl Place {
    /// With nothing to remember.
    #[must_use]
    pub fn new(hook: Hook) -> Self {
        let desk = Desk::new(format!("hook:{}", hook.id));
        let deliveries = Mutex::new(Bucket::new(DELIVERIES, Instant::now()));
        Self { hook, seen: Mutex::default(), deliveries, desk, owed: Mutex::default() }
    }

    /// Takes a delivery, once.
    pub async fn take(self: Arc<Self>, delivery: Delivery, means: &Means) -> Answer {
        let mark = delivery.verified.mark;
        if !lock(&self.seen).add(mark) {
            let (hook, delivery) = (&self.hook.id, delivery.verified.id);
            info!(hook, delivery, "delivered again, and not taken again");
            return Answer::Already;
        }
        if !lock(&self.deliveries).take(Instant::now()) {
            lock(&self.seen).forget(&mark);
            return Answer::HookTooOften;
        }
        let with = means.clone();
        // It is done also when the forge does not wait for the answer: what is remembered must be true.
        match means.work.spawn(self.tell(delivery, with)).await {
            Ok(Told::Accepted { .. }) => Answer::Accepted,
            Ok(Told::Refused { .. }) => Answer::Refused,
            Ok(Told::Nobody) => Answer::NoDeployer,
            Ok(Told::Silent) | Err(_) => Answer::Silent,
        }
    }

    async fn tell(self: Arc<Self>, delivery: Delivery, means: Means) -> Told {
        let told = self.desk.tell(&means.bus, delivery.commit.clone()).await;
        if !matches!(told, Told::Accepted { .. }) {
            lock(&self.seen).forget(&delivery.verified.mark);
        }
        self.note(&delivery, &told, &means);
        if told.may_come_later() && lock(&self.owed).add(Instant::now()) {
            let work = means.work.clone();
            work.spawn(self.tell_later(delivery, means));
        }
        told
    }

    /// Goes on telling of the newest until somebody has heard.
    async fn tell_later(self: Arc<Self>, delivery: Delivery, means: Means) {
        let telling = async {
            loop {
                sleep(TELL_AGAIN).await;
                match self.desk.tell_again(&means.bus).await {
                    Some((_, told)) if told.may_come_later() => {
                        if lock(&self.owed).give_up(Instant::now()) {
                            return None;
                        }
                    }
                    ended => {
                        *lock(&self.owed) = Owed::default();
                        return Some(ended);
                    }
                }
            }
        };
        match means.shutdown.run_until_cancelled(telling).await {
            Some(Some(Some((commit, told)))) => self.note(&Delivery { commit, ..delivery }, &told, &means),
            // Another delivery was heard meanwhile.
            Some(Some(None)) => {}
            Some(None) => {
                warn!(hook = self.hook.id, "nobody was there to hear of what is new; it is given up");
            }
            None => warn!(hook = self.hook.id, "nobody has heard of what is new, and this service ends"),
        }
    }

    fn note(&self, delivery: &Delivery, told: &Told, means: &Means) {
        let Delivery { source, verified, event, commit } = delivery;
        let (result, came) = match told {
            Told::Accepted { job } => (AuditResult::Done, format!("job {job}")),
            Told::Refused { reason } => (AuditResult::Refused, format!("the deployer refused: {reason}")),
            Told::Nobody => (AuditResult::Failed, "nobody serves deploys; told again for a while".to_owned()),
            Told::Silent => {
                (AuditResult::Failed, "the deployer did not answer; told again for a while".to_owned())
            }
        };
        let (event, id, object) = (event.name(), &verified.id, commit.as_deref().unwrap_or(event.name()));
        let Hook { id: hook, forge, about, .. } = &self.hook;
        let of = about.as_ref().map(|about| format!(" of {} in {}", about.branch, about.repository));
        let of = of.unwrap_or_default();
        info!(hook, event, object, delivery = id, %source, result = ?result, came, "delivery");
        if result == AuditResult::Done {
            // Exact until the year 285 million.
            #[allow(clippy::cast_precision_loss)]
            means.accepted_at.set((unix_ms() / 1000) as f64);
        }
        means.notes.add(Audit {
            v: VERSION,
            at_ms: unix_ms(),
            service: env!("CARGO_PKG_NAME").to_owned(),
            by: self.desk.by().to_owned(),
            verb: "request".to_owned(),
            object: object.to_owned(),
            result,
            words: format!("{}: {event}{of}, delivery {id} from {source}; {came}", forge.name()),
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came after nine minutes was given up a minute later, with the first of them.
    #[test]
    fn the_newest_is_told_again_for_as_long_as_the_first() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut owed = Owed::default();
        assert!(owed.add(at(0)) && !owed.add(at(590)), "one goes on telling of all");
        assert!(!owed.give_up(at(600)) && !owed.give_up(at(1189)));
        assert!(owed.give_up(at(1190)));
        assert!(owed.add(at(1200)), "the next one begins anew");
    }
}
