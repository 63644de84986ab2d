//! Whether a service does its work now. Ready is "session READY and heartbeats acknowledged",
//! "joined", "consumer attached", never merely "process up".

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The health of a service, made of components; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, State>>>);

#[derive(Clone, Debug)]
struct State {
    condition: Condition,
    fatal_after: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Condition {
    Up,
    Off(String),
    Down { reason: String, since: Instant },
}

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether all components work.
    pub ready: bool,
    /// Whether a component has been down for so long that the service gives up.
    pub alive: bool,
    /// `name: reason` of each component that does not work or is switched off; empty otherwise.
    pub reason: String,
}

/// One part of a service that can work or not.
#[derive(Clone, Debug)]
pub struct Component {
    name: &'static str,
    health: Health,
}

impl Health {
    /// Adds a component, which is down until it says otherwise.
    #[must_use]
    pub fn component(&self, name: &'static str) -> Component {
        let condition = Condition::Down { reason: "starting".to_owned(), since: Instant::now() };
        self.with(|states| states.insert(name, State { condition, fatal_after: None }));
        Component { name, health: self.clone() }
    }

    /// How the service is now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.with(|states| {
            let mut answer = Readiness { ready: true, alive: true, reason: String::new() };
            if states.is_empty() {
                answer.ready = false;
                "starting".clone_into(&mut answer.reason);
            }
            for (name, state) in states.iter() {
                let reason = match &state.condition {
                    Condition::Up => continue,
                    Condition::Off(reason) => reason,
                    Condition::Down { reason, since } => {
                        answer.ready = false;
                        answer.alive &= state.fatal_after.is_none_or(|limit| since.elapsed() < limit);
                        reason
                    }
                };
                let separator = if answer.reason.is_empty() { "" } else { "; " };
                answer.reason += &format!("{separator}{name}: {reason}");
            }
            answer
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<&'static str, State>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Component {
    /// The service ends itself with an error when this component is down for so long.
    #[must_use]
    pub fn fatal_after(self, limit: Duration) -> Self {
        self.health.with(|states| {
            if let Some(state) = states.get_mut(self.name) {
                state.fatal_after = Some(limit);
            }
        });
        self
    }

    /// It works.
    pub fn up(&self) {
        self.set(Condition::Up);
    }

    /// It does not work. `reason` says what a person should know or do.
    pub fn down(&self, reason: impl Into<String>) {
        self.set(Condition::Down { reason: reason.into(), since: Instant::now() });
    }

    /// It is switched off by choice, which does not make the service unready.
    pub fn off(&self, reason: impl Into<String>) {
        self.set(Condition::Off(reason.into()));
    }

    /// Keeps it in step with what is watched, until `shutdown`. `trouble` says why it does not work.
    ///
    /// # Errors
    /// When there is nothing to watch any more before that.
    pub async fn follow<T>(
        self,
        mut watched: watch::Receiver<T>,
        trouble: impl Fn(&T) -> Option<String>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let now = trouble(&watched.borrow_and_update());
            match now {
                None => self.up(),
                Some(reason) => self.down(reason),
            }
            tokio::select! {
                changed = watched.changed() => changed?,
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Logs changes only, so that a component may report as often as it likes.
    fn set(&self, mut next: Condition) {
        self.health.with(|states| {
            let Some(state) = states.get_mut(self.name) else { return };
            match (&state.condition, &mut next) {
                (Condition::Up, Condition::Up) => return,
                (Condition::Off(before), Condition::Off(now)) if before == now => return,
                (Condition::Down { reason, since }, Condition::Down { reason: now, since: from }) => {
                    *from = *since;
                    if reason == now {
                        return;
                    }
                }
                _ => {}
            }
            match &next {
                Condition::Up => info!(component = self.name, "up"),
                Condition::Off(reason) => info!(component = self.name, reason, "off"),
                Condition::Down { reason, .. } => warn!(component = self.name, reason, "down"),
            }
            state.condition = next;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_components_are_up_or_off() {
        let health = Health::default();
        assert!(!health.readiness().ready, "a service that has not said anything is not ready");
        let (nats, discord) = (health.component("nats"), health.component("discord"));
        assert_eq!(health.readiness().reason, "discord: starting; nats: starting");
        nats.up();
        discord.off("no DISCORD_TOKEN");
        let off = Readiness { ready: true, alive: true, reason: "discord: no DISCORD_TOKEN".to_owned() };
        assert_eq!(health.readiness(), off);
        discord.down("heartbeat not acknowledged");
        assert!(!health.readiness().ready);
    }

    #[test]
    fn a_component_that_stays_down_ends_the_life_of_the_service() {
        let health = Health::default();
        let stuck = health.component("stuck").fatal_after(Duration::ZERO);
        assert!(!health.readiness().alive);
        stuck.up();
        assert!(health.readiness().alive);
    }
}
