//! Whether messages go by Twitch's API or, while it fails, by chat.
//!
//! One failure is enough to leave the API: after most failures nobody knows whether the message was
//! sent, so it is lost, and so would be the next; what a needless change costs is the bot's badge. The
//! way back is tried by one message after a pause. That message [looks](super::helix::Helix::look) first
//! with a question that does no harm, so that an API that is wholly away costs no second message.

use std::{sync::Arc, time::Duration};

use service::{Component, Counter};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::backoff::Backoff;

/// An API that worked for so long is well again: the next pause is the first one.
const WELL_AFTER: Duration = Duration::from_secs(2 * 60);

/// Knows whether the API works; cheap to clone.
#[derive(Clone, Debug)]
pub struct Breaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    health: Component,
    failures: Counter,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    pauses: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It works, since then.
    Works(Instant),
    /// It failed, and nobody uses it before then.
    Pauses(Instant),
    /// It failed, and one message tries whether it works again.
    IsTried,
}

/// Lets one message go by the API. Dropped without a word it says nothing of it.
#[derive(Debug)]
pub struct Pass {
    breaker: Breaker,
    is_trial: bool,
    told: bool,
}

impl Breaker {
    /// The API counts as working. `health` hears when it does not, without being down for that, and
    /// `failures` counts how often that began.
    #[must_use]
    pub fn new(pauses: Backoff, health: Component, failures: Counter) -> Self {
        health.up();
        let state = watch::Sender::new(State { phase: Phase::Works(Instant::now()), pauses });
        Self(Arc::new(Shared { state, health, failures }))
    }

    /// Whether a message may go by the API now.
    #[must_use]
    pub fn pass(&self) -> Option<Pass> {
        let mut is_trial = false;
        self.0.state.send_if_modified(|state| {
            is_trial = matches!(state.phase, Phase::Pauses(until) if until <= Instant::now());
            if is_trial {
                state.phase = Phase::IsTried;
            }
            is_trial
        });
        (is_trial || self.works()).then(|| Pass { breaker: self.clone(), is_trial, told: false })
    }

    /// Waits until it is worth while to ask for a pass. Cancel-safe.
    pub async fn opens(&self) {
        let mut state = self.0.state.subscribe();
        loop {
            let until = match state.borrow_and_update().phase {
                Phase::Works(_) => return,
                Phase::Pauses(until) => Some(until),
                Phase::IsTried => None,
            };
            tokio::select! {
                // The sender is `self`.
                _ = state.changed() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return,
            }
        }
    }

    fn works(&self) -> bool {
        matches!(self.0.state.borrow().phase, Phase::Works(_))
    }
}

impl Pass {
    /// Whether this message finds out if the API works again.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// Whether the API may still be used. Somebody else may have seen it fail.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.told && (self.is_trial || self.breaker.works())
    }

    /// The API answered, whatever it said.
    pub fn worked(&mut self) {
        if self.told() && self.is_trial {
            self.turn(|_| Phase::Works(Instant::now()));
            self.breaker.0.health.up();
        }
    }

    /// The API fails. Only the first word counts: what comes of a request that was given up already says
    /// nothing of the present.
    pub fn failed(&mut self, why: &str) {
        if !self.told() {
            return;
        }
        let mut begins = false;
        let is_trial = self.is_trial;
        self.breaker.0.state.send_if_modified(|state| {
            match state.phase {
                Phase::Works(since) => {
                    begins = true;
                    if since.elapsed() >= WELL_AFTER {
                        state.pauses.reset();
                    }
                }
                Phase::IsTried if is_trial => {}
                // Somebody else said so.
                Phase::IsTried | Phase::Pauses(_) => return false,
            }
            state.phase = Phase::Pauses(Instant::now() + state.pauses.next());
            true
        });
        if begins {
            self.breaker.0.failures.inc();
            self.breaker.0.health.off(format!("messages go by chat, because Twitch's API fails: {why}"));
        }
    }

    /// Whether this is the first word of this message.
    const fn told(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    fn turn(&self, phase: impl FnOnce(&State) -> Phase) {
        self.breaker.0.state.send_modify(|state| state.phase = phase(state));
    }
}

impl Drop for Pass {
    /// A message that was given up before it tried anything leaves that to the next one.
    fn drop(&mut self) {
        if self.is_trial && !self.told {
            self.turn(|_| Phase::Pauses(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use service::Health;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_secs(40);

    fn breaker() -> (Breaker, Health, Counter) {
        let (health, failures) = (Health::default(), Counter::default());
        let api = health.component("api");
        (Breaker::new(Backoff::new(FIRST..MOST), api, failures.clone()), health, failures)
    }

    /// How long it takes until a message may try.
    async fn pause(breaker: &Breaker) -> Duration {
        let begun = Instant::now();
        breaker.opens().await;
        begun.elapsed()
    }

    fn about(wait: Duration, found: Duration) -> bool {
        // Timers have milliseconds.
        found >= wait.mul_f64(0.75) && found <= wait.mul_f64(1.25) + Duration::from_millis(1)
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_ends_the_use_and_one_message_tries_again() {
        let (breaker, health, failures) = breaker();
        let (mut one, mut two) = (breaker.pass().unwrap(), breaker.pass().unwrap());
        assert!(one.holds() && !one.is_trial() && health.readiness().reason.is_empty());
        one.failed("status 500");
        assert!(breaker.pass().is_none() && !two.holds());
        // What was on its way meanwhile changes nothing any more.
        two.failed("status 502");
        let readiness = health.readiness();
        assert!(readiness.ready && readiness.reason.contains("status 500"), "{readiness:?}");
        for wait in [FIRST, FIRST * 2, MOST, MOST] {
            let found = pause(&breaker).await;
            assert!(about(wait, found), "{found:?}");
            let mut trial = breaker.pass().unwrap();
            assert!(trial.is_trial() && trial.holds() && breaker.pass().is_none(), "one at a time");
            trial.failed("status 503");
            trial.worked();
        }
        pause(&breaker).await;
        breaker.pass().unwrap().worked();
        assert!(breaker.pass().is_some_and(|pass| !pass.is_trial()));
        assert!(health.readiness().reason.is_empty());
        assert_eq!(failures.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_again_soon_pauses_for_longer() {
        let (breaker, ..) = breaker();
        for (works_for, wait) in [(Duration::ZERO, FIRST), (FIRST, FIRST * 2), (WELL_AFTER, FIRST)] {
            tokio::time::advance(works_for).await;
            breaker.pass().unwrap().failed("no answer");
            let found = pause(&breaker).await;
            assert!(about(wait, found), "{found:?}");
            breaker.pass().unwrap().worked();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_given_up_leaves_the_trial_to_the_next() {
        let (breaker, ..) = breaker();
        breaker.pass().unwrap().failed("no answer");
        pause(&breaker).await;
        let trial = breaker.pass().unwrap();
        let waiting = breaker.opens();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(trial);
        waiting.await;
        assert!(breaker.pass().is_some_and(|pass| pass.is_trial()));
        drop(breaker.pass());
        assert!(breaker.pass().is_some(), "without a pause");
    }
}
