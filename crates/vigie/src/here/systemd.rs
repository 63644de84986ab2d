//! systemd: the units of vigie.target.

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use super::{
    Part, State,
    lines::{LogLine, Logs, Wanted, is_called},
    program,
};

const TARGET: &str = "vigie.target";
/// What the names of units begin with.
const START: &str = "vigie-";
const END: &str = ".service";

/// Units that systemd knows, when it was found.
pub(crate) struct Systemd {
    units: Vec<Unit>,
}

/// A line of `systemctl list-units`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    active: String,
    sub: String,
}

/// What journalctl tells of a line.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Value,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    unit: String,
    /// Of what systemd itself says about a unit.
    #[serde(rename = "UNIT", default)]
    about: String,
}

impl Systemd {
    /// The units, if systemd runs this machine and has vigie.target.
    pub(super) async fn find() -> Option<Self> {
        if !program::is_there("systemctl") {
            return None;
        }
        let files =
            program::ask(systemctl(["list-unit-files", "--no-legend", "--no-pager", TARGET])).await.ok()?;
        if !files.contains(TARGET) {
            return None;
        }
        Some(Self { units: units().await.unwrap_or_default() })
    }

    /// Whether some of it runs.
    pub(super) fn runs(&self) -> bool {
        self.units.iter().any(|unit| matches!(unit.active.as_str(), "active" | "activating"))
    }

    pub(super) async fn parts(&self) -> anyhow::Result<Vec<Part>> {
        Ok(units().await?.iter().map(Unit::part).collect())
    }

    /// `start`, `stop` or `restart`.
    pub(super) async fn order(&self, verb: &str, names: &[String]) -> anyhow::Result<()> {
        let units = match names {
            [] => vec![TARGET.to_owned()],
            names => self.meant(names)?,
        };
        // A person who is not root is asked for the password there.
        let mut command = systemctl([verb]);
        command.args(units).stdin(std::process::Stdio::inherit());
        program::tell(command, true).await
    }

    pub(super) async fn logs(&self, wanted: &Wanted) -> anyhow::Result<Logs> {
        let units = match &wanted.names[..] {
            [] => vec![format!("{START}*")],
            names => self.meant(names)?,
        };
        let lines = wanted.lines.to_string();
        let mut command = program::command("journalctl", ["--no-pager", "--output=json", "--lines", &lines]);
        command.args(units.into_iter().map(|unit| format!("--unit={unit}")));
        if wanted.follow {
            command.arg("--follow");
        }
        Logs::of_program(command, read_entry)
    }

    /// The units of these parts.
    fn meant(&self, names: &[String]) -> anyhow::Result<Vec<String>> {
        let mut units = Vec::new();
        for name in names {
            let found = self.units.iter().filter(|unit| is_called(part_of(&unit.name), name));
            let found: Vec<String> = found.map(|unit| unit.name.clone()).collect();
            if found.is_empty() {
                return Err(super::no_part(name, self.units.iter().map(|unit| part_of(&unit.name))));
            }
            units.extend(found);
        }
        Ok(units)
    }
}

impl Unit {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (name, load, active, sub) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // One that is only spoken of by another is not installed.
        let there = load != "not-found" || active != "inactive";
        (there && name.ends_with(END)).then(|| Self {
            name: name.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
        })
    }

    fn part(&self) -> Part {
        let state = match (self.active.as_str(), self.sub.as_str()) {
            // It waits until it is started again.
            ("failed", _) | ("activating", "auto-restart") => State::Failing,
            ("active", _) => State::Ready,
            ("activating" | "reloading", _) => State::Starting,
            _ => State::Down,
        };
        let detail = format!("{} ({})", self.active, self.sub);
        Part { name: part_of(&self.name).to_owned(), state, detail }
    }
}

fn systemctl<const N: usize>(arguments: [&str; N]) -> Command {
    program::command("systemctl", arguments)
}

async fn units() -> anyhow::Result<Vec<Unit>> {
    let pattern = format!("{START}*{END}");
    let list = systemctl(["list-units", "--all", "--plain", "--no-legend", "--no-pager", &pattern]);
    Ok(program::ask(list).await?.lines().filter_map(Unit::read).collect())
}

/// `vigie-command-worker@1.service` is `command-worker@1`.
fn part_of(unit: &str) -> &str {
    let name = unit.strip_suffix(END).unwrap_or(unit);
    name.strip_prefix(START).unwrap_or(name)
}

fn read_entry(line: &str) -> Option<LogLine> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    let text = match entry.message {
        Value::String(text) => text,
        // What is no text is written as its bytes.
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => return None,
    };
    let unit = if entry.about.is_empty() { &entry.unit } else { &entry.about };
    Some(LogLine { part: part_of(unit).to_owned(), line: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: &str = "\
vigie-command-worker@1.service loaded active     running      Vigie: command worker 1
vigie-command-worker@2.service loaded inactive   dead         Vigie: command worker 2
vigie-discord-gateway.service  loaded activating auto-restart Vigie: the Discord gateway
vigie-nats.service             loaded failed     failed       Vigie: NATS
vigie-backup.service           not-found inactive dead        vigie-backup.service
";

    fn systemd() -> Systemd {
        Systemd { units: UNITS.lines().filter_map(Unit::read).collect() }
    }

    #[test]
    fn units_are_parts_with_their_states() {
        let parts: Vec<Part> = systemd().units.iter().map(Unit::part).collect();
        let told: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.state)).collect();
        let expected = [
            ("command-worker@1", State::Ready),
            ("command-worker@2", State::Down),
            ("discord-gateway", State::Failing),
            ("nats", State::Failing),
        ];
        assert_eq!(told, expected);
        assert!(systemd().runs());
    }

    #[test]
    fn a_name_means_all_units_of_it() {
        let meant = |name: &str| systemd().meant(&[name.to_owned()]);
        let workers = ["vigie-command-worker@1.service", "vigie-command-worker@2.service"];
        assert_eq!(meant("command-worker").unwrap(), workers);
        assert_eq!(meant("command-worker@2").unwrap(), workers[1..]);
        assert!(meant("dashboard").is_err());
    }

    #[test]
    fn lines_of_the_journal_are_read_and_bytes_made_text() {
        let line = |text| read_entry(text).map(|line| (line.part, line.line));
        let nats = "nats".to_owned();
        let said = r#"{"MESSAGE":"a | b","_SYSTEMD_UNIT":"vigie-nats.service"}"#;
        assert_eq!(line(said), Some((nats.clone(), "a | b".to_owned())));
        let started = r#"{"MESSAGE":"Started.","_SYSTEMD_UNIT":"init.scope","UNIT":"vigie-nats.service"}"#;
        assert_eq!(line(started), Some((nats.clone(), "Started.".to_owned())));
        let bytes = r#"{"MESSAGE":[104,105,27],"_SYSTEMD_UNIT":"vigie-nats.service"}"#;
        assert_eq!(line(bytes), Some((nats, "hi\u{1b}".to_owned())));
        assert_eq!(line("oops"), None);
    }
}
