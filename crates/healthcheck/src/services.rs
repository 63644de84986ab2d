//! Who answered when, and who came back with a fresh start. What it all means is decided in `rules`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bus::Heard;
use protocol::ServiceStats;

use crate::rules::Pace;

/// An instance that left this many questions unanswered in a row is not there: it was stopped, or hangs.
const MISSED_MAX: u32 = 3;
/// Its last words are remembered for so many, to see a fresh start when it is back: 10 min.
const REMEMBERED: u32 = 120;
/// More instances of one service than any bot has.
const INSTANCES_MAX: usize = 256;
/// More services than any bot has.
const SERVICES_MAX: usize = 64;
/// Fresh starts within this time count.
pub const RESTARTS_WITHIN: Duration = Duration::from_secs(600);
/// And those that nobody ordered within this one.
pub const FAILURES_WITHIN: Duration = Duration::from_secs(3600);
/// What people asked for, as services count it, and what they could not do.
const REQUESTS: [&str; 2] = ["commands_total", "interactions_total"];
const ERRORS: [&str; 1] = ["errors_total"];
/// By which a service says that it ends because it was asked to.
const ENDING: &str = "ending";
/// More fresh starts need not be told apart.
const RESTARTS_MAX: usize = 64;
/// No more than this of the time between two looks is silence: when more has passed, it was this service that
/// stood still, and what was answered meanwhile waits to be heard.
const BETWEEN_LOOKS: Duration = Duration::from_secs(15);
/// A service that does not answer for so long from the start on does not run.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A service that need not be there is forgotten after this silence.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// All services that were seen or must be there.
#[derive(Debug, Default)]
pub struct Services {
    known: BTreeMap<String, Known>,
    /// What people asked, and errors, since this watch began; fresh starts of services do not set them back.
    pub requests: f64,
    /// Errors that services counted.
    pub errors: f64,
}

#[derive(Debug, Default)]
struct Known {
    expected: bool,
    seen: bool,
    silent: Duration,
    instances: BTreeMap<String, Instance>,
    restarts: VecDeque<Instant>,
    failures: VecDeque<Instant>,
}

#[derive(Debug)]
struct Instance {
    stats: Arc<ServiceStats>,
    took: Duration,
    heard: bool,
    missed: u32,
    silent: Duration,
    unready: Duration,
}

/// A service, as it is now.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whether one of its instances answered since this watch began.
    pub seen: bool,
    /// Since when none of its instances answered; zero while one does.
    pub silent: Duration,
    /// Those that answer, by name.
    pub instances: Vec<InstanceView>,
    /// Those that answered before, not long ago, by name.
    pub lost: Vec<Lost>,
    /// How often one of them came back with a fresh start, in the last 10 min.
    pub restarts: usize,
    /// How often of those nobody had ordered it, as far as is known, in the last hour.
    pub failures: usize,
}

/// An instance of a service.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// What it said last.
    pub stats: Arc<ServiceStats>,
    /// How long its last answer took.
    pub took: Duration,
    /// Since when it says that it is not ready; zero while it is.
    pub unready: Duration,
}

/// An instance that answers no more.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Its name.
    pub instance: String,
    /// Since when.
    pub silent: Duration,
}

/// What an answer showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing new.
    None,
    /// A service that was never seen.
    Service,
    /// An instance that has started afresh since its last answer.
    Restart {
        /// As another version, or the one before ended because it was asked to: somebody wanted it.
        ordered: bool,
    },
}

impl Services {
    /// Those that must be there, and those that were seen before the last start of this one.
    pub fn new<'a>(expected: &'a [String], seen: impl Iterator<Item = &'a String>) -> Self {
        let mut known: BTreeMap<String, Known> = seen.map(|name| (name.clone(), Known::default())).collect();
        for name in expected {
            known.entry(name.clone()).or_default().expected = true;
        }
        Self { known, ..Self::default() }
    }

    /// Takes an answer.
    pub fn heard(&mut self, heard: Heard, now: Instant) -> News {
        let Heard { stats, took } = heard;
        let Some(took) = took else {
            self.ends(stats);
            return News::None;
        };
        if !self.known.contains_key(&stats.service) && self.known.len() >= SERVICES_MAX {
            return News::None;
        }
        let mut news = if self.known.contains_key(&stats.service) { News::None } else { News::Service };
        let known = self.known.entry(stats.service.clone()).or_default();
        known.seen = true;
        let known_before = known.instances.get(&stats.instance);
        let unready = known_before.filter(|_| !stats.ready).map(|before| before.unready).unwrap_or_default();
        let before = known_before.map(|instance| instance.stats.clone());
        self.requests += grown(before.as_deref(), &stats, &REQUESTS, "command-worker");
        self.errors += grown(before.as_deref(), &stats, &ERRORS, "");
        if let Some(before) = before.filter(|before| stats.uptime_s < before.uptime_s) {
            let told = before.metrics.get(ENDING).is_some_and(|ending| *ending > 0.0);
            news = News::Restart { ordered: told || stats.build != before.build };
            note(&mut known.restarts, now);
        }
        if known.instances.len() < INSTANCES_MAX || known.instances.contains_key(&stats.instance) {
            let (name, silent) = (stats.instance.clone(), Duration::ZERO);
            let stats = Arc::new(stats);
            known.instances.insert(name, Instance { stats, took, heard: true, missed: 0, silent, unready });
        }
        news
    }

    /// Takes the last word of an instance, which is no answer: it is as if it was never asked again.
    fn ends(&mut self, stats: ServiceStats) {
        let Some(known) = self.known.get_mut(&stats.service) else { return };
        let Some(instance) = known.instances.get_mut(&stats.instance) else { return };
        let before = instance.stats.clone();
        if stats.uptime_s < before.uptime_s {
            // Of one that ended before it was heard at all.
            return;
        }
        self.requests += grown(Some(&before), &stats, &REQUESTS, "command-worker");
        self.errors += grown(Some(&before), &stats, &ERRORS, "");
        instance.stats = Arc::new(stats);
    }

    /// Notes that a service started afresh since it failed: nobody has ordered it.
    pub fn failed(&mut self, service: &str, now: Instant) {
        if let Some(known) = self.known.get_mut(service) {
            note(&mut known.failures, now);
        }
    }

    /// Notes who did not answer since the last call, which was `since` ago. While they cannot be asked nobody is
    /// to blame: pass `asked` as false. Gives the names of services that are forgotten.
    pub fn look(&mut self, asked: bool, since: Duration, pace: Pace, now: Instant) -> Vec<String> {
        let since = since.min(pace.of(BETWEEN_LOOKS));
        for known in self.known.values_mut() {
            let answered = known.instances.values().any(|instance| instance.heard);
            known.silent = match (answered, asked) {
                (true, _) => Duration::ZERO,
                (false, true) => known.silent + since,
                (false, false) => known.silent,
            };
            for instance in known.instances.values_mut() {
                if instance.heard && !instance.stats.ready {
                    instance.unready += since;
                }
                if asked && !instance.heard {
                    instance.missed += 1;
                    instance.silent += since;
                }
                instance.heard = false;
            }
            known.instances.retain(|_, instance| instance.missed < REMEMBERED);
            known.restarts.retain(|at| now.saturating_duration_since(*at) < RESTARTS_WITHIN);
            known.failures.retain(|at| now.saturating_duration_since(*at) < FAILURES_WITHIN);
        }
        let over = |known: &Known| !known.expected && known.silent >= FORGOTTEN_AFTER;
        let forgotten =
            self.known.iter().filter(|(_, known)| over(known)).map(|(name, _)| name.clone()).collect();
        self.known.retain(|_, known| !over(known));
        forgotten
    }

    /// All of them, as they are now.
    pub fn view(&self) -> Vec<ServiceView> {
        let of = |(name, known): (&String, &Known)| {
            let (there, lost): (Vec<_>, Vec<_>) =
                known.instances.iter().partition(|(_, instance)| instance.missed < MISSED_MAX);
            ServiceView {
                name: name.clone(),
                seen: known.seen,
                silent: known.silent,
                instances: there
                    .into_iter()
                    .map(|(_, one)| InstanceView {
                        stats: one.stats.clone(),
                        took: one.took,
                        unready: one.unready,
                    })
                    .collect(),
                lost: lost
                    .into_iter()
                    .map(|(name, one)| Lost { instance: name.clone(), silent: one.silent })
                    .collect(),
                restarts: known.restarts.len(),
                failures: known.failures.len(),
            }
        };
        self.known.iter().map(of).collect()
    }

    /// The names of all, to be kept over a restart.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }
}

impl ServiceView {
    /// Whether it has answered, or had the time to: before that it may have been there all along.
    pub fn is_known(&self, pace: Pace) -> bool {
        self.seen || self.silent >= pace.of(START_LIMIT)
    }

    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.instances.iter().filter(|instance| instance.stats.ready).count()
    }

    /// The longest time that an instance took to answer, or that Discord took to acknowledge its heartbeat.
    pub fn latency(&self) -> Option<Duration> {
        let of = |instance: &InstanceView| {
            let heartbeat_ms = instance.stats.metrics.get("gateway_latency_ms").copied().unwrap_or_default();
            let heartbeat = Duration::try_from_secs_f64(heartbeat_ms / 1000.0).unwrap_or_default();
            instance.took.max(heartbeat)
        };
        self.instances.iter().map(of).max()
    }

    /// The memory of all instances, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.instances.iter().map(|instance| instance.stats.resident_bytes).sum()
    }

    /// The sum of a number over all instances; `None` when none has it.
    pub fn number(&self, name: &str) -> Option<f64> {
        let numbers = self.instances.iter().filter_map(|instance| instance.stats.metrics.get(name));
        numbers.copied().reduce(|a, b| a + b)
    }
}

fn note(times: &mut VecDeque<Instant>, now: Instant) {
    if times.len() == RESTARTS_MAX {
        times.pop_front();
    }
    times.push_back(now);
}

/// By how much counters have grown since the last answer of this instance; a smaller number is one of a fresh
/// start. `only` is the service whose they are, or empty.
fn grown(before: Option<&ServiceStats>, now: &ServiceStats, counters: &[&str], only: &str) -> f64 {
    if !only.is_empty() && now.service != only {
        return 0.0;
    }
    let sum = |stats: &ServiceStats| -> f64 {
        let counts = |name: &str| counters.contains(&name.split('.').next().unwrap_or_default());
        stats.metrics.iter().filter(|(name, _)| counts(name)).map(|(_, value)| value).sum()
    };
    let (before, now) = (before.map_or(0.0, sum), sum(now));
    if now >= before { now - before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(5);

    fn heard(service: &str, instance: &str, uptime_s: u64, commands: f64) -> Heard {
        let stats = ServiceStats {
            v: protocol::VERSION,
            service: service.to_owned(),
            instance: instance.to_owned(),
            build: "0.1.0 (abc)".to_owned(),
            uptime_s,
            ready: true,
            reason: String::new(),
            resident_bytes: 1 << 20,
            metrics: [("commands_total.ping".to_owned(), commands), ("errors_total.failed".to_owned(), 1.0)]
                .into(),
        };
        Heard { stats, took: Some(Duration::from_millis(3)) }
    }

    fn one(services: &Services, name: &str) -> ServiceView {
        services.view().into_iter().find(|service| service.name == name).unwrap()
    }

    #[test]
    fn silence_is_counted_only_while_somebody_asks() {
        let now = Instant::now();
        let mut services = Services::new(&["command-worker".to_owned()], [].iter());
        services.look(true, LOOK, Pace(1), now);
        assert_eq!(one(&services, "command-worker").silent, LOOK);
        assert_eq!(services.heard(heard("command-worker", "a", 9, 0.0), now), News::None);
        services.look(true, LOOK, Pace(1), now);
        let view = one(&services, "command-worker");
        assert_eq!((view.silent, view.instances.len()), (Duration::ZERO, 1));
        for _ in 0..10 {
            services.look(false, LOOK, Pace(1), now);
        }
        assert_eq!(one(&services, "command-worker").instances.len(), 1);
        for _ in 0..3 {
            services.look(true, LOOK, Pace(1), now);
        }
        let view = one(&services, "command-worker");
        assert_eq!((view.silent, view.instances.len()), (3 * LOOK, 0));
    }

    /// A watch that was itself starved for a minute once said that every service was dead.
    #[test]
    fn while_the_watch_stands_still_nobody_is_silent() {
        let now = Instant::now();
        let mut services = Services::new(&["command-worker".to_owned()], [].iter());
        services.heard(heard("command-worker", "a", 9, 0.0), now);
        services.look(true, LOOK, Pace(1), now);
        services.look(true, 12 * LOOK, Pace(1), now);
        assert!(one(&services, "command-worker").silent < START_LIMIT);
    }

    #[test]
    fn a_fresh_start_is_seen_and_sets_no_count_back() {
        let now = Instant::now();
        let mut services = Services::default();
        assert_eq!(services.heard(heard("command-worker", "a", 100, 7.0), now), News::Service);
        assert_eq!(services.heard(heard("command-worker", "a", 105, 9.0), now), News::None);
        assert_eq!(
            services.heard(heard("command-worker", "a", 2, 3.0), now),
            News::Restart { ordered: false }
        );
        assert_eq!(services.heard(heard("command-worker", "b", 1, 1.0), now), News::None);
        assert_eq!((services.requests, services.errors), (13.0, 2.0));
        assert_eq!(one(&services, "command-worker").restarts, 1);
        services.look(true, LOOK, Pace(1), now + RESTARTS_WITHIN);
        assert_eq!(one(&services, "command-worker").restarts, 0);
    }

    #[test]
    fn a_failure_is_a_fresh_start_of_the_same_version_and_counts_for_an_hour() {
        let now = Instant::now();
        let mut services = Services::default();
        services.heard(heard("command-worker", "a", 100, 0.0), now);
        let mut updated = heard("command-worker", "a", 1, 0.0);
        updated.stats.build = "0.2.0 (def)".to_owned();
        assert_eq!(services.heard(updated, now), News::Restart { ordered: true });
        services.failed("command-worker", now);
        services.look(true, LOOK, Pace(1), now + RESTARTS_WITHIN);
        assert_eq!(one(&services, "command-worker").failures, 1);
        services.look(true, LOOK, Pace(1), now + FAILURES_WITHIN);
        assert_eq!(one(&services, "command-worker").failures, 0);
    }

    /// Two restarts by hand within an hour once looked like tasks that fail.
    #[test]
    fn who_ended_because_it_was_asked_to_has_not_failed() {
        let now = Instant::now();
        let mut services = Services::default();
        let last = |uptime_s, ending, commands| {
            let mut last = heard("command-worker", "a", uptime_s, commands);
            last.stats.metrics.insert(ENDING.to_owned(), ending);
            Heard { took: None, ..last }
        };
        assert_eq!(services.heard(last(9, 1.0, 1.0), now), News::None, "it was never heard of");
        assert_eq!(services.view().len(), 0);
        services.heard(heard("command-worker", "a", 100, 7.0), now);
        assert_eq!(services.heard(last(104, 1.0, 9.0), now), News::None);
        assert_eq!(services.requests, 9.0, "what it did since its last answer counts");
        let start = |services: &mut Services| services.heard(heard("command-worker", "a", 1, 0.0), now);
        assert_eq!(start(&mut services), News::Restart { ordered: true });
        services.heard(heard("command-worker", "a", 50, 0.0), now);
        services.heard(last(51, 0.0, 0.0), now);
        assert_eq!(start(&mut services), News::Restart { ordered: false }, "a task of it failed");
        services.heard(heard("command-worker", "a", 50, 0.0), now);
        assert_eq!(start(&mut services), News::Restart { ordered: false }, "it was killed");
    }

    #[test]
    fn only_what_need_not_be_there_is_forgotten() {
        let now = Instant::now();
        let mut services = Services::new(&["command-worker".to_owned()], ["backup".to_owned()].iter());
        let days: Vec<String> = (0..FORGOTTEN_AFTER.as_secs() / 5)
            .flat_map(|_| services.look(true, LOOK, Pace(1), now))
            .collect();
        assert_eq!(days, ["backup"]);
        assert_eq!(services.names().collect::<Vec<_>>(), ["command-worker"]);
    }
}
