//! The table of a run, as Markdown and as JSON, and each line that broke a promise.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

use super::{
    kinds::KINDS,
    ledger::{Fate, Ledger, Line},
    verdict::{Judge, Window},
};

/// Lines that met no fault.
const NO_FAULT: &str = "none";
/// Lines that broke a promise and are told in full.
const MOST_TOLD: usize = 50;

/// What a run was.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// What makes it repeatable.
    pub seed: u64,
    /// How long faults were made, in seconds.
    pub seconds: u64,
    /// Gateways of each platform.
    pub gateways: usize,
    /// Workers.
    pub workers: usize,
    /// Commands a second on each platform.
    pub rate: u32,
    /// `release` or `debug`.
    pub build: &'static str,
}

/// A row of the table: the lines that met one kind of fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The kind of fault.
    pub fault: String,
    /// How often it happened.
    pub times: usize,
    /// Commands that met it.
    pub lines: usize,
    /// Replied to once, the late ones included.
    pub answered: usize,
    /// Not replied to, without an excuse.
    pub lost: usize,
    /// Replied to more than once.
    pub doubled: usize,
    /// Not replied to, for no bot could hear it.
    pub unheard: usize,
    /// Not replied to, for its reply was being sent and is sent at most once.
    pub at_most_once: usize,
    /// Replied to after more than 10 s.
    pub late: usize,
    /// Replied to after a later line of their channel was.
    pub overtaken: usize,
    /// From the fault until lines were answered at once again, at the median, in milliseconds.
    pub recovery_p50_ms: Option<u64>,
    /// The same at the 99th of a hundred.
    pub recovery_p99_ms: Option<u64>,
    #[serde(skip)]
    recoveries: Vec<u64>,
}

/// A line that broke a promise.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// `lost` or `doubled`.
    pub fate: Fate,
    /// All that is known about it, for a person.
    pub story: String,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the run was.
    #[serde(flatten)]
    pub facts: Facts,
    /// By kind of fault.
    pub rows: Vec<Row>,
    /// All of it.
    pub total: Row,
    /// Lines that need no reply.
    pub chatter: u64,
    /// What happened that nobody had asked for.
    pub incidents: Vec<String>,
    /// What broke a promise.
    pub broken: Vec<Case>,
}

impl Row {
    fn named(fault: &str) -> Self {
        Self { fault: fault.to_owned(), ..Self::default() }
    }

    fn count(&mut self, line: &Line, fate: Fate) {
        self.lines += 1;
        self.overtaken += usize::from(line.overtaken);
        match fate {
            Fate::Answered => self.answered += 1,
            Fate::Late => (self.answered, self.late) = (self.answered + 1, self.late + 1),
            Fate::Doubled => self.doubled += 1,
            Fate::Unheard => self.unheard += 1,
            Fate::AtMostOnce => self.at_most_once += 1,
            Fate::Lost => self.lost += 1,
        }
    }

    fn recovered(&mut self, recovery: Option<Duration>) {
        self.times += 1;
        self.recoveries.extend(recovery.and_then(|time| u64::try_from(time.as_millis()).ok()));
    }

    fn settle(&mut self) {
        self.recoveries.sort_unstable();
        let at = |percent: usize| {
            let place = (self.recoveries.len() * percent).div_ceil(100).saturating_sub(1);
            self.recoveries.get(place).copied()
        };
        (self.recovery_p50_ms, self.recovery_p99_ms) = (at(50), at(99));
    }

    fn markdown(&self, bold: bool) -> String {
        let name = if bold { format!("**{}**", self.fault) } else { self.fault.clone() };
        let seconds = |ms: Option<u64>| match ms {
            Some(ms) => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
            None => "-".to_owned(),
        };
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.times,
            self.lines,
            self.answered,
            self.lost,
            self.doubled,
            self.unheard,
            self.at_most_once,
            self.late,
            self.overtaken,
            seconds(self.recovery_p50_ms),
            seconds(self.recovery_p99_ms),
        )
    }
}

impl Report {
    /// Counts.
    pub fn new(facts: Facts, ledger: &Ledger, judge: Judge<'_>, incidents: &[(Duration, String)]) -> Self {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let (mut total, mut broken) = (Row::named("all"), Vec::new());
        for window in judge.windows {
            let row = rows.entry(window.name()).or_insert_with(|| Row::named(window.name()));
            let recovery = window.recovery(ledger);
            row.recovered(recovery);
            total.recovered(recovery);
        }
        for line in ledger.lines() {
            let (fate, window) = (judge.fate(line), judge.window(line));
            let name = window.map_or(NO_FAULT, Window::name);
            rows.entry(name).or_insert_with(|| Row::named(name)).count(line, fate);
            total.count(line, fate);
            if matches!(fate, Fate::Lost | Fate::Doubled) {
                broken.push(Case { fate, story: story(line, judge.windows) });
            }
        }
        // As the kinds are declared, then what is none of them.
        let place = |row: &Row| KINDS.iter().position(|kind| kind.name == row.fault).unwrap_or(KINDS.len());
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.sort_by_key(place);
        rows.iter_mut().chain([&mut total]).for_each(Row::settle);
        let incidents = incidents.iter().map(|(at, what)| format!("{}: {what}", clock(*at))).collect();
        Self { facts, rows, total, chatter: ledger.chatter(), incidents, broken }
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    /// The table with a sentence before and after it.
    pub fn markdown(&self) -> String {
        let Facts { seed, seconds, gateways, workers, rate, build } = &self.facts;
        let mut text = format!(
            "`cargo xtask chaos --seed {seed}`: {} min {} s of faults on {gateways} gateway(s) of each platform \
             and {workers} worker(s), {build} build, {rate} commands a second on each platform and {} lines of \
             chatter.\n\n",
            seconds / 60,
            seconds % 60,
            self.chatter,
        );
        text += "| fault | times | commands | answered | lost | doubled | unheard | at most once | late | overtaken | \
                 recovery p50 | p99 |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            text += &row.markdown(false);
        }
        text += &self.total.markdown(true);
        text
    }

    /// What went wrong, for a person; empty when nothing did.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for incident in &self.incidents {
            let _ = writeln!(text, "unasked, {incident}");
        }
        for case in self.broken.iter().take(MOST_TOLD) {
            let _ = writeln!(text, "\n{:?}: {}", case.fate, case.story);
        }
        if self.broken.len() > MOST_TOLD {
            let _ = writeln!(text, "\nand {} more", self.broken.len() - MOST_TOLD);
        }
        text
    }
}

/// `1:02.345`
pub fn clock(at: Duration) -> String {
    let ms = at.as_millis();
    format!("{}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
}

fn story(line: &Line, windows: &[Window]) -> String {
    let mut text = format!(
        "{} in {} on {}, said at {}, heard by {}, {}",
        line.token,
        line.place.channel,
        line.place.platform.name(),
        clock(line.said),
        line.heard,
        line.event.as_deref().unwrap_or("of unknown id"),
    );
    let mut events: Vec<(Duration, String)> = line.traces.clone();
    events.extend(line.replies.iter().map(|at| (*at, "reply seen".to_owned())));
    let near = |window: &&Window| window.begin <= line.said + NEAR && window.end + NEAR >= line.said;
    for window in windows.iter().filter(near) {
        for strike in &window.strikes {
            events.push((strike.at, format!("fault: {strike}")));
        }
        events.push((window.end, "answered at once again".to_owned()));
    }
    events.sort();
    for (at, what) in events {
        let _ = write!(text, "\n    {} {what}", clock(at));
    }
    text
}

/// Faults so near to a line are told with it.
const NEAR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let mut row = Row::named("x");
        for ms in [30, 10, 20] {
            row.recovered(Some(Duration::from_millis(ms)));
        }
        row.recovered(None);
        row.settle();
        assert_eq!((row.times, row.recovery_p50_ms, row.recovery_p99_ms), (4, Some(20), Some(30)));
        assert_eq!(row.markdown(true), "| **x** | 4 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0.02 s | 0.03 s |\n");
    }

    #[test]
    fn a_time_is_read_as_on_a_clock() {
        assert_eq!(clock(Duration::from_millis(62_345)), "1:02.345");
    }
}
