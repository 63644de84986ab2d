//! Who hangs, and who of them is told to start again now. Nothing is asked here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    rules::{Level, Pace},
    services::ServiceView,
    view::View,
    words::duration,
};

/// An instance that answered before and does not for so long hangs, or is gone.
const SILENT_LIMIT: Duration = Duration::from_secs(30);
/// One that says for so long that it is not ready will not be by waiting.
const UNREADY_LIMIT: Duration = Duration::from_secs(300);
/// What all depend on must be well for so long first: after an outage everybody needs a moment.
const WELL_FOR: Duration = Duration::from_secs(60);
/// After one was told, before another is: what it does to the others must be seen first.
const SETTLE: Duration = Duration::from_secs(60);
/// Before the same service is told again; doubled with each time.
const PAUSE: Duration = Duration::from_secs(120);
/// The budget is one of an hour.
const BUDGET_OF: Duration = Duration::from_secs(3600);
/// These need nothing but NATS, so that while it is well they should be ready. Others may lack what no start brings
/// back: a platform, a place for backups, Docker.
const NEED_NATS_ALONE: [&str; 1] = ["command-worker"];

/// When each service was told, in Unix milliseconds, the last time last.
pub type Told = BTreeMap<String, Vec<u64>>;

/// An instance that hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    /// Its service.
    pub service: String,
    /// Its name.
    pub instance: String,
    /// The rule that says so.
    pub rule: &'static str,
    /// In words.
    pub why: String,
    /// Whether somebody would hear it if not this one: another instance of the service.
    pub has_others: bool,
}

/// What is decided from one look to the next.
#[derive(Debug)]
pub struct Plan {
    pace: Pace,
    budget: usize,
    well_since: Option<Instant>,
    gone: BTreeSet<(String, String)>,
}

impl Plan {
    /// A service is told at most `budget` times in an hour; 0 is never.
    pub fn new(budget: usize, pace: Pace) -> Self {
        Self { pace, budget, well_since: None, gone: BTreeSet::new() }
    }

    /// Who is to be told after this look, when somebody is.
    pub fn choose(&mut self, view: &View, told: &Told) -> Option<Patient> {
        let patients = self.patients(view);
        self.gone.retain(|one| patients.iter().any(|patient| patient.is(one)));
        if !is_well(view) {
            self.well_since = None;
            return None;
        }
        let well_since = *self.well_since.get_or_insert(view.taken);
        let well_for = view.taken.saturating_duration_since(well_since);
        if well_for < self.pace.of(WELL_FOR) || is_common(view) || !self.has_settled(view.at_ms, told) {
            return None;
        }
        let may = |patient: &Patient| {
            !self.gone.iter().any(|one| patient.is(one)) && self.may(&patient.service, view.at_ms, told)
        };
        patients.into_iter().find(may)
    }

    /// It was stopped, and does not hang: it is not told again before it was there again.
    pub fn is_gone(&mut self, patient: Patient) {
        self.gone.insert((patient.service, patient.instance));
    }

    /// Notes that a service was told.
    pub fn note(&self, service: &str, at_ms: u64, told: &mut Told) {
        for times in told.values_mut() {
            times.retain(|time| ago(*time, at_ms).is_some_and(|ago| ago < self.ms(BUDGET_OF)));
        }
        told.retain(|_, times| !times.is_empty());
        told.entry(service.to_owned()).or_default().push(at_ms);
    }

    fn patients(&self, view: &View) -> Vec<Patient> {
        // Who watches is watched by its own health.
        let others = view.found.services.iter().filter(|service| service.name != env!("CARGO_PKG_NAME"));
        others.flat_map(|service| self.silent(service).chain(self.unready(service))).collect()
    }

    fn silent<'a>(&self, service: &'a ServiceView) -> impl Iterator<Item = Patient> + use<'a> {
        let limit = self.pace.of(SILENT_LIMIT);
        service.lost.iter().filter(move |lost| lost.silent >= limit).map(|lost| Patient {
            service: service.name.clone(),
            instance: lost.instance.clone(),
            rule: "silent",
            why: format!("it has not answered for {}", duration(lost.silent)),
            has_others: !service.instances.is_empty(),
        })
    }

    fn unready<'a>(&self, service: &'a ServiceView) -> impl Iterator<Item = Patient> + use<'a> {
        let limit = self.pace.of(UNREADY_LIMIT);
        let needs_nats_alone = NEED_NATS_ALONE.contains(&service.name.as_str());
        let unready = service
            .instances
            .iter()
            .filter(move |one| needs_nats_alone && one.unready >= limit && !one.stats.ready);
        unready.map(|one| Patient {
            service: service.name.clone(),
            instance: one.stats.instance.clone(),
            rule: "unready",
            why: format!("it has not been ready for {}: {}", duration(one.unready), one.stats.reason),
            has_others: false,
        })
    }

    fn has_settled(&self, at_ms: u64, told: &Told) -> bool {
        told.values().flatten().filter_map(|time| ago(*time, at_ms)).all(|ago| ago >= self.ms(SETTLE))
    }

    fn may(&self, service: &str, at_ms: u64, told: &Told) -> bool {
        let times = told.get(service).map(Vec::as_slice).unwrap_or_default();
        let lately =
            || times.iter().filter_map(|time| ago(*time, at_ms)).filter(|ago| *ago < self.ms(BUDGET_OF));
        let count = lately().count();
        let pause = self.ms(PAUSE).saturating_mul(1 << count.saturating_sub(1).min(16));
        count < self.budget && lately().all(|ago| ago >= pause)
    }

    fn ms(&self, time: Duration) -> u64 {
        u64::try_from(self.pace.of(time).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Patient {
    fn is(&self, (service, instance): &(String, String)) -> bool {
        self.service == *service && self.instance == *instance
    }
}

/// `None` for a time that is still to come: the clock was set back.
const fn ago(time_ms: u64, at_ms: u64) -> Option<u64> {
    at_ms.checked_sub(time_ms)
}

/// Whether all that the services depend on is well: NATS, what is declared in it, and the disk it writes to.
fn is_well(view: &View) -> bool {
    let nats = &view.found.nats;
    let is_full = view.alerts.iter().any(|alert| alert.rule == "disk" && alert.level == Level::Critical);
    nats.trouble.is_none() && nats.survey.missing.is_empty() && !is_full
}

/// When most are silent at once it is none of them that hangs, but what they run on.
fn is_common(view: &View) -> bool {
    let seen = || view.found.services.iter().filter(|service| service.seen);
    seen().filter(|service| service.instances.is_empty()).count() * 2 > seen().count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{ServiceStats, VERSION};

    use super::*;
    use crate::{
        rules::Alert,
        services::{InstanceView, Lost},
        view::Findings,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn instance(service: &str, unready_s: u32) -> InstanceView {
        let stats = ServiceStats {
            v: VERSION,
            service: service.to_owned(),
            instance: format!("{service}-1"),
            build: String::new(),
            uptime_s: 1,
            ready: unready_s == 0,
            reason: "lease: not confirmed".to_owned(),
            resident_bytes: 1,
            metrics: BTreeMap::new(),
        };
        InstanceView { stats: Arc::new(stats), took: SECOND, unready: SECOND * unready_s }
    }

    /// A service with one instance: how long it is silent, or else not ready, in seconds.
    fn service(name: &str, silent_s: u32, unready_s: u32) -> ServiceView {
        let lost = Lost { instance: format!("{name}-1"), silent: SECOND * silent_s };
        ServiceView {
            name: name.to_owned(),
            seen: true,
            silent: SECOND * silent_s,
            instances: if silent_s == 0 { vec![instance(name, unready_s)] } else { Vec::new() },
            lost: if silent_s == 0 { Vec::new() } else { vec![lost] },
            restarts: 0,
            failures: 0,
        }
    }

    /// Looks that are made one after the other.
    struct Looks {
        plan: Plan,
        begin: Instant,
        told: Told,
    }

    impl Looks {
        fn new(budget: usize) -> Self {
            Self { plan: Plan::new(budget, Pace(1)), begin: Instant::now(), told: Told::new() }
        }

        fn view(&self, at_s: u32, services: Vec<ServiceView>) -> View {
            View {
                at_ms: 1_000_000 + u64::from(at_s) * 1000,
                taken: self.begin + SECOND * at_s,
                uptime: SECOND,
                found: Findings { services, ..Findings::default() },
                alerts: Vec::new(),
                silences: crate::silences::Silences::new(),
                latency_ms: None,
                memory_mb: None,
                requests: 0.0,
                errors: 0.0,
                failures: 0,
                heartbeat_ms: None,
                settled: true,
            }
        }

        /// Who is told, by instance.
        fn look(&mut self, view: &View) -> Option<String> {
            let patient = self.plan.choose(view, &self.told)?;
            self.plan.note(&patient.service, view.at_ms, &mut self.told);
            Some(patient.instance)
        }

        fn at(&mut self, at_s: u32, services: Vec<ServiceView>) -> Option<String> {
            let view = self.view(at_s, services);
            self.look(&view)
        }
    }

    fn one_hangs() -> Vec<ServiceView> {
        vec![service("backup", 0, 0), service("command-worker", 30, 0)]
    }

    #[test]
    fn it_is_told_with_longer_and_longer_pauses_and_no_more_than_the_budget() {
        let mut looks = Looks::new(3);
        looks.at(0, one_hangs());
        let told: Vec<u32> =
            (1..3600).filter(|at_s| at_s % 5 == 0 && looks.at(*at_s, one_hangs()).is_some()).collect();
        assert_eq!(told, [60, 180, 420], "after 2 min, 4 min, and then not within the hour");
        assert_eq!(
            looks.at(3660, one_hangs()).as_deref(),
            Some("command-worker-1"),
            "an hour after the first"
        );
        let mut never = Looks::new(0);
        assert!((0..100).all(|at_s| never.at(at_s * 5, one_hangs()).is_none()));
    }

    #[test]
    fn a_clock_that_was_wrong_once_stops_nothing() {
        let mut looks = Looks::new(3);
        looks.told.insert("command-worker".to_owned(), vec![9_000_000_000_000; 3]);
        looks.at(0, one_hangs());
        assert!(looks.at(60, one_hangs()).is_some());
        assert_eq!(looks.told["command-worker"].len(), 1, "what is still to come is forgotten");
    }

    #[test]
    fn nobody_is_told_while_what_it_depends_on_is_the_patient() {
        let mut looks = Looks::new(3);
        looks.at(0, one_hangs());
        let mut away = looks.view(60, one_hangs());
        away.found.nats.trouble = Some("no answer within 4 s".to_owned());
        assert_eq!(looks.look(&away), None);
        assert_eq!(looks.at(65, one_hangs()), None, "NATS is only just back");
        let mut missing = looks.view(130, one_hangs());
        missing.found.nats.survey.missing = vec!["EVENTS"];
        assert_eq!(looks.look(&missing), None);
        looks.at(135, one_hangs());
        let mut full = looks.view(200, one_hangs());
        let (rule, subject, text) = ("disk".to_owned(), String::new(), String::new());
        full.alerts.push(Alert { rule, subject, level: Level::Critical, since_ms: 1, text });
        assert_eq!(looks.look(&full), None);
        looks.at(205, one_hangs());
        assert!(looks.at(265, one_hangs()).is_some());
    }

    #[test]
    fn one_after_the_other_and_nobody_when_most_are_silent() {
        let mut looks = Looks::new(3);
        let two = || {
            let (silent, well) = (["backup", "deployer"], ["command-worker", "healthcheck"]);
            let silent = silent.into_iter().map(|name| service(name, 40, 0));
            silent.chain(well.into_iter().map(|name| service(name, 0, 0))).collect::<Vec<_>>()
        };
        let most = || [two(), vec![service("webhook-deploy", 40, 0)]].concat();
        looks.at(0, most());
        assert_eq!(looks.at(60, most()), None, "it is what they run on");
        assert_eq!(looks.at(65, two()).as_deref(), Some("backup-1"));
        assert_eq!(looks.at(70, two()), None);
        assert_eq!(looks.at(125, two()).as_deref(), Some("deployer-1"));
    }

    #[test]
    fn nobody_is_told_for_an_outage_of_what_is_not_watched() {
        let mut looks = Looks::new(3);
        let unready = |name: &str, unready_s| vec![service("backup", 0, 0), service(name, 0, unready_s)];
        for name in ["discord-gateway", "twitch-gateway", "deployer"] {
            looks.at(0, unready(name, 9000));
            assert_eq!(looks.at(600, unready(name, 9600)), None, "{name}");
        }
        assert_eq!(looks.at(605, unready("command-worker", 299)), None);
        assert_eq!(looks.at(610, unready("command-worker", 300)).as_deref(), Some("command-worker-1"));
        let silent = vec![service("backup", 0, 0), service("discord-gateway", 30, 0)];
        assert_eq!(looks.at(700, silent).as_deref(), Some("discord-gateway-1"));
        let watch = vec![service("backup", 0, 0), service("healthcheck", 30, 0)];
        assert_eq!(looks.at(800, watch), None, "it is watched by its own health");
    }

    #[test]
    fn who_was_stopped_is_not_told_again_before_it_was_there_again() {
        let mut looks = Looks::new(3);
        looks.at(0, one_hangs());
        let view = looks.view(60, one_hangs());
        let patient = looks.plan.choose(&view, &looks.told).unwrap();
        looks.plan.is_gone(patient);
        assert_eq!(looks.at(65, one_hangs()), None);
        looks.at(70, vec![service("backup", 0, 0), service("command-worker", 0, 0)]);
        assert!(looks.at(120, one_hangs()).is_some());
    }
}
