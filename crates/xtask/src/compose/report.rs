//! What was found, as tables.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use super::deploys::Deployed;

/// Everything.
#[derive(Debug, Default)]
pub struct Report {
    /// The engine and Compose.
    pub machine: String,
    /// What somebody sees who tries it.
    pub first: Vec<(&'static str, String)>,
    /// What was done while people talked.
    pub trials: Vec<Trial>,
    /// What was rolled out meanwhile.
    pub deploys: Vec<Deployed>,
    /// What the memory under load was measured with.
    pub load: Load,
    /// Memory.
    pub costs: Vec<Cost>,
}

/// A load that was reached, and of which every command was answered.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Of Discord.
    pub guilds: u32,
    /// Chat lines, commands among them.
    pub events_per_second: f64,
    /// Commands in all.
    pub commands: u64,
}

/// What became of what was said during one trial.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// What was done.
    pub name: &'static str,
    /// How long that took.
    pub took: Duration,
    /// What people typed until all was well again.
    pub commands: usize,
    /// One reply.
    pub answered: usize,
    /// No reply, though it was heard.
    pub lost: usize,
    /// More than one reply.
    pub doubled: usize,
    /// No reply, for nobody could hear it, or it was being sent on Twitch.
    pub unheard: usize,
    /// The longest that somebody waited for a reply.
    pub longest: Duration,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, commands, answered, lost, doubled, unheard, .. } = self;
        let took = seconds(self.took);
        write!(f, "{name}, {took}: {commands} commands, {answered} answered, {lost} to be answered, ")?;
        write!(f, "{doubled} doubled, {unheard} unheard, longest wait {}", seconds(self.longest))
    }
}

/// The memory of one service, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Its name.
    pub service: String,
    /// Resident at rest.
    pub rest: u64,
    /// Resident under load.
    pub load: u64,
    /// What the engine counts for the container under load.
    pub counted: u64,
    /// The limit in `compose.yaml`.
    pub limit: u64,
}

impl Report {
    /// Whether nothing was lost or doubled.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost() + self.doubled() == 0
    }

    /// How much was lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.all().map(|trial| trial.lost).sum()
    }

    /// How much was answered twice.
    #[must_use]
    pub fn doubled(&self) -> usize {
        self.all().map(|trial| trial.doubled).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().chain(self.deploys.iter().map(|deployed| &deployed.trial))
    }

    /// The tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("`cargo xtask test --compose` with {}.\n", self.machine);
        self.add_first(&mut text);
        self.add_trials(&mut text);
        self.add_costs(&mut text);
        text
    }

    fn add_first(&self, text: &mut String) {
        if self.first.is_empty() {
            return;
        }
        *text += "\n| what | measured |\n|---|---|\n";
        for (what, measured) in &self.first {
            let _ = writeln!(text, "| {what} | {measured} |");
        }
    }

    fn add_trials(&self, text: &mut String) {
        if self.trials.is_empty() {
            return;
        }
        *text +=
            "\n| what was done | took | commands | answered | lost | doubled | unheard | longest wait |\n";
        *text += "|---|---|---|---|---|---|---|---|\n";
        for trial in &self.trials {
            let Trial { name, commands, answered, lost, doubled, unheard, .. } = trial;
            let (took, longest) = (seconds(trial.took), seconds(trial.longest));
            let _ = writeln!(
                text,
                "| {name} | {took} | {commands} | {answered} | {lost} | {doubled} | {unheard} | {longest} |"
            );
        }
    }

    fn add_costs(&self, text: &mut String) {
        if self.costs.is_empty() {
            return;
        }
        let Load { guilds, events_per_second, commands } = self.load;
        let _ = writeln!(
            text,
            "\nThe default stack in {guilds} guilds, at rest and with {events_per_second:.0} events/s, among them \
             {commands} commands, all answered:"
        );
        *text += "\n| service | resident at rest | resident under load | container under load | limit |\n";
        *text += "|---|---|---|---|---|\n";
        for cost in &self.costs {
            let Cost { service, rest, load, counted, limit } = cost;
            let _ = writeln!(
                text,
                "| {service} | {} | {} | {} | {} |",
                mib(*rest),
                mib(*load),
                mib(*counted),
                mib(*limit)
            );
        }
        let sum = |of: fn(&Cost) -> u64| mib(self.costs.iter().map(of).sum());
        let (rest, load) = (sum(|cost| cost.rest), sum(|cost| cost.load));
        let (counted, limit) = (sum(|cost| cost.counted), sum(|cost| cost.limit));
        let _ = writeln!(text, "| **all** | **{rest}** | **{load}** | **{counted}** | **{limit}** |");
    }
}

/// Adds up what belongs to one service.
#[must_use]
pub fn by_service(all: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (service, bytes) in all {
        *sums.entry(service).or_insert(0) += bytes;
    }
    sums
}

/// As people read it.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_line_is_told_and_fails() {
        let trial = Trial { name: "a", commands: 2, answered: 1, lost: 1, ..Trial::default() };
        let cost = |service: &str, bytes| Cost {
            service: service.to_owned(),
            rest: bytes,
            load: bytes,
            counted: bytes,
            limit: bytes,
        };
        let report = Report {
            trials: vec![trial],
            costs: vec![cost("a", 1 << 20), cost("b", 3 << 19)],
            ..Report::default()
        };
        assert!(!report.is_clean());
        let text = report.markdown();
        assert!(text.contains("| a | 0.0 s | 2 | 1 | 1 | 0 | 0 | 0.0 s |"), "{text}");
        assert!(text.contains("| **all** | **2.5 MiB** |"), "{text}");
    }
}
