//! What a look found, as values for the rules.

use std::time::Duration;

use super::{Pace, Reading, rule};
use crate::{
    backups::{self, Backups},
    certificates::Known,
    config::Config,
    services::ServiceView,
    view::{Condition, Findings},
    words::{bytes, duration},
};

/// Streams whose oldest message says that nobody takes them.
const WORK: [&str; 4] = ["EVENTS", "CHATTER", "ACTIONS_DISCORD", "ACTIONS_TWITCH"];

/// What nobody can tell of a service before it has answered.
const OF_SERVICES: [&str; 7] = ["silent", "unready", "shards", "channels", "restarts", "failures", "latency"];
/// A certificate that ends sooner is to be looked after, and one that ends so soon at once.
const ENDS_SOON: [Duration; 2] = [Duration::from_secs(14 * 86400), Duration::from_secs(3 * 86400)];

/// Everything of a look that a rule may find bad. `at_ms` is when it was made, in Unix milliseconds.
pub fn readings(found: &Findings, config: &Config, at_ms: u64) -> Vec<Reading> {
    let pace = config.pace;
    let mut all = Readings(Vec::new());
    all.of_nats(found);
    for service in &found.services {
        all.of_service(service, pace);
    }
    all.of_bot(found);
    all.of_machine(found);
    for server in config.certificates.iter().map(ToString::to_string) {
        all.of_certificate(&server, found.certificates.get(&server), at_ms);
    }
    if found.services.iter().any(|service| service.name == backups::SERVICE) {
        all.of_backups(found.backups.as_ref(), config.backup_after, at_ms);
    }
    for (channel, condition) in &found.channels {
        all.can_be_told("channel", channel, condition);
    }
    if let Some(witness) = &found.witness {
        all.can_be_told("witness", "", witness);
    }
    all.0
}

struct Readings(Vec<Reading>);

impl Readings {
    fn add(&mut self, name: &str, subject: &str, value: f64, text: String) {
        if let Some(rule) = rule(name) {
            self.0.push(Reading { rule, subject: subject.to_owned(), value: Some(value), text });
        }
    }

    /// Nobody can tell yet.
    fn unknown(&mut self, name: &str, subject: &str) {
        if let Some(rule) = rule(name) {
            let subject = subject.to_owned();
            self.0.push(Reading { rule, subject, value: None, text: String::new() });
        }
    }

    fn can_be_told(&mut self, name: &str, subject: &str, condition: &Condition) {
        match condition {
            Condition::Untried => self.unknown(name, subject),
            tried => {
                let trouble = tried.trouble();
                self.so(name, subject, !trouble.is_empty(), trouble.to_owned());
            }
        }
    }

    fn so(&mut self, name: &str, subject: &str, is_so: bool, text: String) {
        self.add(name, subject, if is_so { 1.0 } else { 0.0 }, text);
    }

    fn of_nats(&mut self, found: &Findings) {
        let trouble = found.nats.trouble.clone();
        self.so("nats", "", trouble.is_some(), trouble.unwrap_or_default());
        let missing = &found.nats.survey.missing;
        let text = format!("{} not there: run `vigie provision`", missing.join(", "));
        self.so("streams", "", !missing.is_empty(), text);
        for stream in &found.nats.survey.streams {
            if let Some(limit) = stream.limit_bytes.filter(|limit| *limit > 0) {
                let used = crate::host::percent(stream.bytes, limit);
                let text = format!("{} of {} are used", bytes(stream.bytes), bytes(limit));
                self.add("full", stream.name, used, text);
            }
            if WORK.contains(&stream.name) {
                let text = format!("{} waiting, the oldest for {}", stream.messages, duration(stream.oldest));
                self.add("lag", stream.name, stream.oldest.as_secs_f64(), text);
            }
        }
        let text = format!("{} in the last hour: `vigie dead list` says what and why", found.letters);
        self.so("dead", "", found.letters > 0, text);
    }

    fn of_service(&mut self, service: &ServiceView, pace: Pace) {
        let name = &service.name;
        let silence = service.silent * pace.0;
        if !service.is_known(pace) {
            return OF_SERVICES.iter().for_each(|rule| self.unknown(rule, name));
        }
        let text = format!("none has answered for {}", duration(service.silent));
        self.add("silent", name, silence.as_secs_f64(), text);
        let (ready, there) = (service.ready(), service.instances.len());
        let reason =
            service.instances.iter().find(|one| !one.stats.ready).map(|one| one.stats.reason.as_str());
        let bad = match (there - ready, ready) {
            (0, _) => 0.0,
            (_, 0) => 2.0,
            _ => 1.0,
        };
        self.add("unready", name, bad, format!("{ready} of {there} ready: {}", reason.unwrap_or_default()));
        if let (Some(shards), Some(live)) = (service.number("shards"), service.number("shards_ready")) {
            let text = format!("{live} of {shards} shards have a session");
            self.add("shards", name, (shards - live).max(0.0), text);
        }
        // Each gateway is refused by the same ones.
        let refused = service.instances.iter().filter_map(|one| one.stats.metrics.get("channels_refused"));
        if let Some(refused) = refused.copied().reduce(f64::max) {
            let text = format!("Twitch refuses {refused}: banned there, or misspelt; its log names them");
            self.so("channels", name, refused > 0.0, text);
        }
        let text = format!("{} fresh starts within 10 min; its log says why", service.restarts);
        self.add("restarts", name, service.restarts as f64, text);
        let text = format!("it ended by itself {} times within an hour; its log says why", service.failures);
        self.add("failures", name, service.failures as f64, text);
        if let Some(took) = service.latency() {
            self.add("latency", name, took.as_secs_f64(), format!("{} to answer", duration(took)));
        }
    }

    fn of_bot(&mut self, found: &Findings) {
        let used: u64 = found.services.iter().map(ServiceView::memory_bytes).sum();
        let mb = crate::words::megabytes(used);
        self.add("memory", "", mb, format!("{} in all services", bytes(used)));
    }

    fn of_certificate(&mut self, server: &str, known: Option<&Known>, at_ms: u64) {
        let (bad, text) = match known {
            None => return self.unknown("certificate", server),
            Some(Known::Trouble(reason)) => (1.0, format!("it cannot be looked at: {reason}")),
            Some(Known::Until(until_ms)) => {
                let left = Duration::from_millis(until_ms.saturating_sub(at_ms));
                let bad = ENDS_SOON.iter().filter(|soon| left < **soon).count() as f64;
                let text = match left {
                    Duration::ZERO => "it has run out".to_owned(),
                    left => format!("valid for {} more", duration(left)),
                };
                (bad, text)
            }
        };
        self.add("certificate", server, bad, text);
    }

    fn of_backups(&mut self, backups: Option<&Backups>, after: Duration, at_ms: u64) {
        let Some(backups) = backups else {
            self.unknown("backup", "");
            return self.unknown("drill", "");
        };
        let status = &backups.status;
        // It is off: nobody has said where to, or when.
        if status.good_ms.is_none() && status.next_ms.is_none() && status.job.is_none() {
            return;
        }
        let age = Duration::from_millis(at_ms.saturating_sub(status.good_ms.unwrap_or(backups.since_ms)));
        let failed = backups.tried.as_ref();
        let failed =
            failed.filter(|end| !end.good && status.good_ms.is_none_or(|good_ms| good_ms < end.at_ms));
        let bad = match (age >= after * 2, age >= after || failed.is_some()) {
            (true, _) => 2.0,
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        let mut text = match status.good_ms {
            Some(_) => format!("the last good one is {} old", duration(age)),
            None => "there is none yet".to_owned(),
        };
        if let Some(end) = failed {
            text += &format!("; the last try failed: {}", end.words);
        }
        self.add("backup", "", bad, text);
        if let Some(drill) = &status.drill {
            self.so("drill", "", !drill.good, drill.words.clone());
        }
    }

    fn of_machine(&mut self, found: &Findings) {
        let machine = &found.machine;
        if let Some(celsius) = machine.temperature {
            self.add("temperature", "", celsius, format!("{celsius:.0} °C"));
        }
        if let Some(disk) = machine.disk {
            let text = format!("{:.0} % used, {} left", disk.used_percent(), bytes(disk.available_bytes));
            self.add("disk", "", disk.used_percent(), text);
        }
        if let Some(memory) = machine.memory {
            let used = 100.0 - crate::host::percent(memory.available_bytes, memory.bytes);
            let text = format!("{used:.0} % used, {} left", bytes(memory.available_bytes));
            self.add("machine-memory", "", used, text);
        }
        if let Some(power) = machine.power {
            let text = "the power supply or its cable is too weak; data on the SD card may be damaged";
            self.so("power", "", power.under_voltage, text.to_owned());
            if let Some(slowed) = power.slowed {
                self.so("slowed", "", slowed, "too little power, or too much heat".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use protocol::control::BackupStatus;
    use service::Settings;

    use super::*;
    use crate::{config::SETTINGS, rules::Level};

    /// After a restart of the watch, what was wrong before would else be over, and wrong again a moment later.
    #[test]
    fn what_was_not_asked_yet_is_unknown_and_not_fine() {
        let variables =
            HashMap::from([("HEALTHCHECK_CERTIFICATES".to_owned(), "example.org:443".to_owned())]);
        let config = Config::read(&mut Settings::from_variables(&[SETTINGS], variables));
        let services = crate::services::Services::new(&[backups::SERVICE.to_owned()], [].iter()).view();
        let found = Findings { services, ..Findings::default() };
        let unknown: Vec<(&str, String)> = readings(&found, &config, 1)
            .into_iter()
            .filter(|reading| reading.value.is_none())
            .map(|reading| (reading.rule.name, reading.subject))
            .collect();
        let of_service = OF_SERVICES.map(|rule| (rule, backups::SERVICE.to_owned()));
        let others = [("certificate", "example.org:443"), ("backup", ""), ("drill", "")];
        let others = others.map(|(rule, subject)| (rule, subject.to_owned()));
        assert_eq!(unknown, [of_service.as_slice(), &others].concat());
    }

    /// Compose starts the service also where nobody has said where to save to.
    #[test]
    fn backups_that_are_off_are_never_too_old() {
        let config = Config::read(&mut Settings::from_variables(&[SETTINGS], HashMap::new()));
        let services = crate::services::Services::new(&[backups::SERVICE.to_owned()], [].iter()).view();
        let judged = |status| {
            let backups = Some(Backups { since_ms: 0, status, tried: None });
            let found = Findings { services: services.clone(), backups, ..Findings::default() };
            let month_ms = 30 * 24 * 60 * 60 * 1000;
            let all = readings(&found, &config, month_ms).into_iter();
            all.filter(|reading| reading.rule.name == "backup")
                .map(|reading| reading.value)
                .collect::<Vec<_>>()
        };
        assert_eq!(judged(BackupStatus::default()), []);
        assert_eq!(judged(BackupStatus { next_ms: Some(1), ..BackupStatus::default() }), [Some(2.0)]);
    }

    /// Each value just over the bound of a warning, and what is asked here is what docs/health.md says.
    #[test]
    fn what_is_found_is_held_against_the_bounds_of_the_docs() {
        const HELD: Duration = Duration::from_secs(61);
        let config = Config::read(&mut Settings::from_variables(&[SETTINGS], HashMap::new()));
        let stats = protocol::ServiceStats {
            v: protocol::VERSION,
            service: "command-worker".to_owned(),
            instance: "command-worker-1".to_owned(),
            build: String::new(),
            uptime_s: 1,
            ready: true,
            reason: String::new(),
            resident_bytes: 501_000_000,
            metrics: std::collections::BTreeMap::new(),
        };
        let mut services = crate::services::Services::default();
        let took = Some(Duration::from_millis(10_100));
        services.heard(bus::Heard { stats, took }, std::time::Instant::now());
        let stream = bus::StreamState {
            name: "EVENTS",
            messages: 1,
            bytes: 81,
            limit_bytes: Some(100),
            oldest: Duration::from_secs(46),
            last: 1,
        };
        let survey = bus::Survey { streams: vec![stream], ..bus::Survey::default() };
        let machine = crate::host::Machine {
            temperature: Some(70.5),
            disk: Some(crate::host::Disk { bytes: 100, available_bytes: 14 }),
            memory: Some(crate::host::Memory { bytes: 100, available_bytes: 9, ..Default::default() }),
            power: Some(crate::host::Power { under_voltage: false, slowed: Some(true) }),
            ..Default::default()
        };
        let found = Findings {
            machine,
            nats: crate::nats::NatsState { survey, ..Default::default() },
            services: services.view(),
            ..Findings::default()
        };
        let judged = |found: &Findings| {
            let mut rules = crate::rules::Rules::new(Pace(1), &[]);
            for now in [Duration::ZERO, HELD] {
                rules.judge(readings(found, &config, 1), |_| false, now, 1);
            }
            let mut alerts: Vec<_> =
                rules.alerts().into_iter().map(|alert| (alert.rule, alert.level)).collect();
            alerts.sort();
            alerts
        };
        let expected =
            ["disk", "full", "lag", "latency", "machine-memory", "memory", "slowed", "temperature"];
        assert_eq!(judged(&found), expected.map(|rule| (rule.to_owned(), Level::Warning)));
        // And just below.
        let mut found = found;
        found.machine.temperature = Some(69.5);
        found.machine.disk = Some(crate::host::Disk { bytes: 100, available_bytes: 16 });
        found.machine.memory =
            Some(crate::host::Memory { bytes: 100, available_bytes: 11, ..Default::default() });
        found.machine.power = None;
        let instance = &mut found.services[0].instances[0];
        instance.took = Duration::from_millis(9_900);
        std::sync::Arc::make_mut(&mut instance.stats).resident_bytes = 499_000_000;
        (found.nats.survey.streams[0].bytes, found.nats.survey.streams[0].oldest) =
            (79, Duration::from_secs(44));
        assert_eq!(judged(&found), []);
    }
}
