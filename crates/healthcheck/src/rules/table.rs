//! All rules: what is bad from which value on, for how long, and until when.

use std::time::Duration;

use super::Bounds;
use crate::{
    averages::COUNTED,
    services::{FAILURES_WITHIN, RESTARTS_WITHIN},
};

/// What is bad.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, for logs and programs.
    pub name: &'static str,
    /// Its name for people.
    pub what: &'static str,
    /// From where on.
    pub bounds: Bounds,
    /// Nobody can tell while NATS is away.
    pub needs_nats: bool,
    /// The value counts what happened within this time; zero when it is a state. A watch that has not run for so long
    /// does not know that it is over.
    pub within: Duration,
}

/// A condition that is there (1) or not (0).
const fn is_so(name: &'static str, what: &'static str, critical: bool, hold_s: u64, calm_s: u64) -> Rule {
    let (warning, critical) = if critical { (None, Some(1.0)) } else { (Some(1.0), None) };
    let (hold, calm) = (Duration::from_secs(hold_s), Duration::from_secs(calm_s));
    Rule {
        name,
        what,
        bounds: Bounds { warning, critical, clear: 1.0, hold, calm },
        needs_nats: false,
        within: Duration::ZERO,
    }
}

/// A value with a bound for a warning and one for critical.
const fn above(
    name: &'static str,
    what: &'static str,
    (warning, critical): (f64, f64),
    clear: f64,
    (hold_s, calm_s): (u64, u64),
) -> Rule {
    let (hold, calm) = (Duration::from_secs(hold_s), Duration::from_secs(calm_s));
    let bounds = Bounds { warning: Some(warning), critical: Some(critical), clear, hold, calm };
    Rule { name, what, bounds, needs_nats: false, within: Duration::ZERO }
}

impl Rule {
    const fn seen_by_nats(self) -> Self {
        Self { needs_nats: true, ..self }
    }

    const fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// Every rule. Times are in seconds: how long before it is told, how long before it is over.
pub const RULES: [Rule; 23] = [
    is_so("nats", "NATS cannot be reached", true, 10, 5),
    is_so("streams", "streams are missing in NATS", true, 30, 5).seen_by_nats(),
    // In seconds of silence, so that the time is in the value.
    Rule {
        bounds: Bounds {
            warning: None,
            critical: Some(30.0),
            clear: 0.1,
            hold: Duration::ZERO,
            calm: Duration::ZERO,
        },
        ..is_so("silent", "does not answer", true, 0, 0)
    }
    .seen_by_nats(),
    // 1 when some instances are not ready, 2 when none is.
    above("unready", "not ready", (1.0, 2.0), 1.0, (30, 5)).seen_by_nats(),
    is_so("shards", "shards without a session", false, 60, 10).seen_by_nats(),
    is_so("channels", "channels that the bot is not let into", false, 60, 10).seen_by_nats(),
    // Fresh starts.
    above("restarts", "starts again and again", (3.0, 6.0), 0.5, (0, 0))
        .seen_by_nats()
        .within(RESTARTS_WITHIN),
    // A background task that fails ends its service, which starts afresh. Once may be somebody who
    // started it again by hand.
    Rule {
        bounds: Bounds {
            warning: Some(2.0),
            critical: None,
            clear: 0.5,
            hold: Duration::ZERO,
            calm: Duration::ZERO,
        },
        ..is_so("failures", "background tasks fail", false, 0, 0)
    }
    .seen_by_nats()
    .within(FAILURES_WITHIN),
    // In MB, of all services together.
    above("memory", "memory of the bot", (500.0, 800.0), 0.9, (60, 60)).seen_by_nats(),
    // In seconds.
    above("latency", "slow", (10.0, 30.0), 0.8, (15, 30)).seen_by_nats(),
    // Age of the oldest message, in seconds. An answer may wait 30 s for the limits of its platform.
    above("lag", "work waits too long", (45.0, 120.0), 0.5, (10, 10)).seen_by_nats(),
    // How full a stream is, in percent.
    above("full", "stream nearly full", (80.0, 95.0), 0.9, (10, 30)).seen_by_nats(),
    is_so("dead", "dead letters", false, 0, 0).seen_by_nats().within(COUNTED),
    // In degrees Celsius. A Pi slows down from 80 on.
    above("temperature", "too hot", (70.0, 80.0), 0.93, (60, 60)),
    // In percent.
    above("disk", "disk nearly full", (85.0, 95.0), 0.97, (60, 60)),
    above("machine-memory", "memory of the machine nearly used up", (90.0, 97.0), 0.95, (60, 60)),
    is_so("power", "too little power", false, 0, 600),
    is_so("slowed", "the processor is slowed down", false, 30, 300),
    // 1 when it is old, or the last try failed, 2 when it is very old.
    above("backup", "no good backup", (1.0, 2.0), 1.0, (0, 0)).seen_by_nats(),
    is_so("drill", "the last backup could not be restored", true, 0, 0).seen_by_nats(),
    // 1 when it runs out soon, or cannot be looked at, 2 when it runs out very soon.
    above("certificate", "certificate runs out", (1.0, 2.0), 1.0, (0, 0)),
    is_so("channel", "people cannot be told", false, 0, 0),
    is_so("witness", "the witness outside cannot be reached", false, 0, 0),
];

/// A rule by its name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    const ALL: &[Rule] = &RULES;
    ALL.iter().find(|rule| rule.name == name)
}
