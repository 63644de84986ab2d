//! Whether a version works: not that its containers run, but that each of them says it does its work, for a while,
//! without errors and without a fresh start. When that is not so in time, the gate stays closed.

use std::time::Duration;

use protocol::ServiceStats;

use crate::{crew::Container, units::unit_of};

/// Counters of what went wrong.
const ERRORS: [&str; 2] = ["errors_total", "interactions_unanswered_total"];
/// Counters of what was done, against which errors are held.
const WORK: [&str; 2] = ["commands_total", "interactions_total"];
/// So many errors are nothing.
const ERRORS_FREE: f64 = 3.0;
/// Beyond that, one in so many.
const ERRORS_ONE_IN: f64 = 20.0;

/// How long things must and may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Until which all must have worked for long enough.
    pub limit: Duration,
    /// How long they must work without a break.
    pub watch: Duration,
    /// The same for the first worker alone.
    pub canary: Duration,
    /// Between two looks.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            // A health check has 10 s to begin and 10 × 3 s to fail; a Discord session may wait for its turn.
            limit: Duration::from_secs(240),
            watch: Duration::from_secs(30),
            canary: Duration::from_secs(10),
            look: Duration::from_secs(1),
        }
    }
}

/// What one service must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the compose file.
    pub service: String,
    /// Its name on NATS, for what answers there.
    pub answers_as: Option<String>,
    /// The id of the image.
    pub image: String,
    /// At least so many.
    pub count: usize,
    /// Containers that do not count.
    pub not: Vec<String>,
    /// The units that are looked at, where there are units: others were given up on before.
    pub units: Option<Vec<String>>,
    /// Containers of before: their fresh starts and errors may be long ago, and they need not be better than they were.
    pub known: Vec<String>,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// All containers.
    pub containers: Vec<Container>,
    /// What services say; `None` when NATS could not be asked.
    pub stats: Option<Vec<ServiceStats>>,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    wanted: Vec<Wanted>,
    limit: Duration,
    watch: Duration,
    good_since: Option<Duration>,
}

/// What a look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Open,
    /// It is not known yet; what is waited for.
    Wait(String),
    /// It does not: why, and whose log says more.
    Closed(String, Option<String>),
}

/// What is not as it should be, and with which container.
type Trouble = (String, Option<String>);

impl Gate {
    /// A gate for these services.
    #[must_use]
    pub const fn new(wanted: Vec<Wanted>, limit: Duration, watch: Duration) -> Self {
        Self { wanted, limit, watch, good_since: None }
    }

    /// One look, `at` after the first.
    pub fn look(&mut self, at: Duration, sample: &Sample) -> Verdict {
        let mut trouble = None;
        let (mut errors, mut work) = (0.0, 0.0);
        let mut worst = (0.0, None);
        for wanted in &self.wanted {
            let ours: Vec<&Container> = sample.containers.iter().filter(|it| wanted.counts(it)).collect();
            let fails = |it: &&&Container| !wanted.known.contains(&it.id) && (it.fails() || it.restarts > 0);
            if let Some(bad) = ours.iter().find(fails) {
                return Verdict::Closed(format!("{}: {}", wanted.service, bad.words()), Some(bad.id.clone()));
            }
            trouble = trouble.or_else(|| wanted.trouble(&ours, sample.stats.as_deref()));
            let fresh = ours.iter().filter(|it| !wanted.known.contains(&it.id));
            for (it, stats) in fresh.filter_map(|it| Some((it, said(it, sample.stats.as_deref()?)?))) {
                let own = sum(stats, &ERRORS);
                errors += own;
                work += sum(stats, &WORK);
                if own > worst.0 {
                    worst = (own, Some(it.id.clone()));
                }
            }
        }
        if errors > ERRORS_FREE && errors * ERRORS_ONE_IN > work {
            return Verdict::Closed(format!("{errors} errors in {work} commands"), worst.1);
        }
        if let Some(trouble) = trouble {
            self.good_since = None;
            return self.not_yet(at, trouble);
        }
        let since = *self.good_since.get_or_insert(at);
        if at.saturating_sub(since) >= self.watch {
            return Verdict::Open;
        }
        self.not_yet(at, ("all work; looking whether they go on".to_owned(), None))
    }

    fn not_yet(&self, at: Duration, (words, id): Trouble) -> Verdict {
        if at < self.limit {
            return Verdict::Wait(words);
        }
        Verdict::Closed(format!("not within {} s: {words}", self.limit.as_secs()), id)
    }
}

impl Wanted {
    fn counts(&self, it: &Container) -> bool {
        let is_ours = |units: &Vec<String>| units.iter().any(|unit| unit == unit_of(&it.id));
        it.service == self.service
            && it.image == self.image
            && !self.not.contains(&it.id)
            && self.units.as_ref().is_none_or(is_ours)
    }

    fn trouble(&self, ours: &[&Container], stats: Option<&[ServiceStats]>) -> Option<Trouble> {
        let service = &self.service;
        let with = |it: &Container, words: String| Some((format!("{service}: {words}"), Some(it.id.clone())));
        if ours.len() < self.count {
            return Some((format!("{service}: {} of {} containers are there", ours.len(), self.count), None));
        }
        let is_known = |it: &Container| self.known.contains(&it.id);
        let is_there = |it: &Container| if is_known(it) { it.state == "running" } else { it.works() };
        if let Some(slow) = ours.iter().find(|it| !is_there(it)) {
            return with(slow, slow.words());
        }
        self.answers_as.as_ref()?;
        let mut fresh = ours.iter().filter(|it| !is_known(it)).peekable();
        fresh.peek()?;
        let Some(stats) = stats else {
            return Some(("NATS cannot be asked how services are".to_owned(), None));
        };
        fresh.find_map(|it| match said(it, stats) {
            None => with(it, format!("{} and does not answer on NATS", it.words())),
            Some(stats) if !stats.ready => with(it, format!("not ready: {}", stats.reason)),
            Some(_) => None,
        })
    }
}

/// What the service in this container says of itself.
fn said<'a>(container: &Container, stats: &'a [ServiceStats]) -> Option<&'a ServiceStats> {
    let name = &container.instance;
    let begins = |stats: &ServiceStats| name.ends_with('-') && stats.instance.starts_with(name);
    stats.iter().find(|stats| stats.instance == *name || begins(stats))
}

fn sum(stats: &ServiceStats, names: &[&str]) -> f64 {
    let counts = |name: &str| names.contains(&name.split('.').next().unwrap_or_default());
    stats.metrics.iter().filter(|(name, _)| counts(name)).map(|(_, value)| value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";

    fn container(health: &str) -> Container {
        Container {
            id: ID.to_owned(),
            service: "command-worker".to_owned(),
            image: "sha256:new".to_owned(),
            folder: String::new(),
            created: "1".to_owned(),
            state: "running".to_owned(),
            health: health.to_owned(),
            restarts: 0,
            instance: "0123456789ab-".to_owned(),
        }
    }

    fn stats(ready: bool, metrics: &[(&str, f64)]) -> ServiceStats {
        ServiceStats {
            v: protocol::VERSION,
            service: "command-worker".to_owned(),
            instance: "0123456789ab-1".to_owned(),
            build: String::new(),
            uptime_s: 1,
            ready,
            reason: if ready { String::new() } else { "consumer: not attached".to_owned() },
            resident_bytes: 1,
            metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }

    fn gate() -> Gate {
        let wanted = Wanted {
            service: "command-worker".to_owned(),
            answers_as: Some("command-worker".to_owned()),
            image: "sha256:new".to_owned(),
            count: 1,
            not: Vec::new(),
            units: None,
            known: Vec::new(),
        };
        Gate::new(vec![wanted], Duration::from_secs(60), Duration::from_secs(10))
    }

    fn sample(container: Container, stats: Option<ServiceStats>) -> Sample {
        Sample { containers: vec![container], stats: stats.map(|stats| vec![stats]) }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_when_all_worked_for_a_while_without_a_break() {
        let mut gate = gate();
        let good = sample(container("healthy"), Some(stats(true, &[])));
        let bad = sample(container("healthy"), Some(stats(false, &[])));
        assert!(matches!(gate.look(at(0), &good), Verdict::Wait(_)));
        let waits = Verdict::Wait("command-worker: not ready: consumer: not attached".to_owned());
        assert_eq!(gate.look(at(8), &bad), waits);
        assert!(matches!(gate.look(at(12), &good), Verdict::Wait(_)));
        assert!(matches!(gate.look(at(21), &good), Verdict::Wait(_)));
        assert_eq!(gate.look(at(22), &good), Verdict::Open);
    }

    #[test]
    fn it_stays_closed_when_the_time_is_over_whatever_is_not_known() {
        let its = || Some(ID.to_owned());
        let silent = "command-worker: container 0123456789ab is running, healthy and does not answer on NATS";
        let slow = "command-worker: container 0123456789ab is running, starting";
        for (sample, words, whose) in [
            (sample(container("starting"), Some(stats(true, &[]))), slow, its()),
            (Sample::default(), "command-worker: 0 of 1 containers are there", None),
            (sample(container("healthy"), None), "NATS cannot be asked how services are", None),
            (Sample { stats: Some(vec![]), ..sample(container("healthy"), None) }, silent, its()),
        ] {
            let mut gate = gate();
            assert_eq!(gate.look(at(59), &sample), Verdict::Wait(words.to_owned()));
            let closed = Verdict::Closed(format!("not within 60 s: {words}"), whose);
            assert_eq!(gate.look(at(60), &sample), closed);
        }
    }

    #[test]
    fn what_ends_and_begins_again_or_errs_too_often_is_not_waited_for() {
        let mut again = container("healthy");
        again.restarts = 1;
        let closed = gate().look(at(1), &sample(again, Some(stats(true, &[]))));
        assert!(matches!(&closed, Verdict::Closed(_, Some(id)) if id == ID), "{closed:?}");
        let erring = stats(true, &[("errors_total.failed", 5.0), ("commands_total.ping", 60.0)]);
        let words = Verdict::Closed("5 errors in 60 commands".to_owned(), Some(ID.to_owned()));
        assert_eq!(gate().look(at(1), &sample(container("healthy"), Some(erring))), words);
        let few = stats(true, &[("errors_total.failed", 5.0), ("commands_total.ping", 200.0)]);
        assert!(matches!(gate().look(at(1), &sample(container("healthy"), Some(few))), Verdict::Wait(_)));
    }

    #[test]
    fn what_came_back_is_only_asked_to_run_as_it_did() {
        let mut gate = gate();
        let mut old = container("unhealthy");
        old.restarts = 7;
        gate.wanted[0].known.push(ID.to_owned());
        let sample = sample(old, Some(stats(false, &[("errors_total.failed", 900.0)])));
        assert!(matches!(gate.look(at(0), &sample), Verdict::Wait(_)));
        assert_eq!(gate.look(at(10), &sample), Verdict::Open);
        let mut ended = sample;
        ended.containers[0].state = "exited".to_owned();
        assert!(matches!(gate.look(at(11), &ended), Verdict::Wait(_)));
    }

    #[test]
    fn units_that_were_given_up_on_before_are_not_looked_at() {
        let mut gate = gate();
        gate.wanted[0].units = Some(vec!["vigie-command-worker@1".to_owned()]);
        let mut sample = sample(container("healthy"), Some(stats(true, &[])));
        sample.containers[0].id = "vigie-command-worker@1#7".to_owned();
        let mut given_up = container("");
        (given_up.id, given_up.state) = ("vigie-command-worker@2#8".to_owned(), "exited".to_owned());
        sample.containers.push(given_up);
        assert!(matches!(gate.look(at(0), &sample), Verdict::Wait(_)));
        assert_eq!(gate.look(at(10), &sample), Verdict::Open);
    }

    #[test]
    fn containers_of_before_prove_nothing() {
        let mut gate = gate();
        gate.wanted[0].not.push(ID.to_owned());
        let old = sample(container("healthy"), Some(stats(true, &[])));
        assert!(matches!(gate.look(at(0), &old), Verdict::Wait(_)));
    }
}
