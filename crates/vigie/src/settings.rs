//! `vigie settings`: every setting of every service, as the binaries themselves say; and the settings
//! of this one.

use std::{
    collections::BTreeMap,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use service::{COMMON, Setting, Settings};

use crate::{
    cli, find,
    paint::{self, Paint},
};

const fn plain(name: &'static str, expected: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, expected, help, secret: false }
}

/// How the names of settings start that belong to a platform.
pub(crate) const PLATFORMS: &[&str] = &["DISCORD_", "TWITCH_"];

/// Every setting that this crate reads for itself.
pub(crate) static SETTINGS: &[Setting] = &[
    plain(
        "NATS_URL",
        "a URL such as nats://127.0.0.1:4222",
        "where NATS is; `vigie up` starts its own when it is not set",
    ),
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    plain(
        "NATS_SERVER",
        "the path of a nats-server 2.14 or newer",
        "what `vigie up` starts; not set: looked for on PATH",
    ),
    Setting {
        name: "NATS_STORAGE",
        default: Some("file"),
        expected: "file or memory",
        help: "where streams are kept; memory spares a worn SD card, but a restart of NATS forgets",
        secret: false,
    },
    Setting {
        name: "NATS_REPLICAS",
        default: Some("1"),
        expected: "1, 3 or 5",
        help: "how many servers of a NATS cluster hold each stream; with 3 one may be lost, with 5 two",
        secret: false,
    },
];

/// What its `--help` ends with.
const EXIT_CODES: &str =
    "Exit codes: 0 listed; 1 a service does not say what it reads; 64 arguments cannot be used";

/// Arguments of `vigie settings`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A setting with those who read it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Known {
    /// The environment variable.
    pub name: String,
    /// What holds when it is not set.
    pub default: Option<String>,
    /// What a value must look like.
    pub expected: String,
    /// What it is for.
    pub help: String,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Who reads it.
    #[serde(default)]
    pub read_by: Vec<String>,
}

/// Lists every setting.
///
/// # Errors
/// When a binary is missing or two of them disagree.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let known = all()?;
    let text = if options.json { cli::json_lines(&known)? } else { render(&known, Paint::stdout()) };
    cli::say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Every setting of every service, sorted by name.
///
/// # Errors
/// As [`run`].
pub(crate) fn all() -> anyhow::Result<Vec<Known>> {
    let mut tables = vec![("vigie".to_owned(), SETTINGS.iter().map(known).collect())];
    let optional = find::OPTIONAL.iter().map(|(name, _)| *name).filter(|name| find::binary(name).is_ok());
    for name in find::SERVICES.into_iter().chain(optional) {
        tables.push((name.to_owned(), of_service(name)?));
    }
    merge(tables)
}

fn of_service(name: &str) -> anyhow::Result<Vec<Known>> {
    let path = find::binary(name)?;
    let output = Command::new(&path).arg("--settings").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", path.display()))?;
    ensure!(output.status.success(), "{name} --settings: {}", output.status);
    let lines = String::from_utf8(output.stdout).with_context(|| format!("{name} --settings: not UTF-8"))?;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{name} --settings: {line}")))
        .collect()
}

fn known(setting: &Setting) -> Known {
    Known {
        name: setting.name.to_owned(),
        default: setting.default.map(str::to_owned),
        expected: setting.expected.to_owned(),
        help: setting.help.to_owned(),
        secret: setting.secret,
        read_by: Vec::new(),
    }
}

/// One entry a name. A service's words win over those of this crate, which only passes values on.
fn merge(tables: Vec<(String, Vec<Known>)>) -> anyhow::Result<Vec<Known>> {
    let mut merged: BTreeMap<String, Known> = BTreeMap::new();
    for (owner, table) in tables.into_iter().rev() {
        for one in table {
            let entry = merged.entry(one.name.clone()).or_insert_with(|| one.clone());
            let agree = entry.default == one.default && entry.secret == one.secret;
            let first = entry.read_by.first().cloned().unwrap_or_default();
            ensure!(
                agree || owner == "vigie",
                "{owner} and {first} disagree about {}: one default is {:?}, the other {:?}",
                one.name,
                one.default,
                entry.default
            );
            entry.read_by.insert(0, owner.clone());
        }
    }
    Ok(merged.into_values().collect())
}

fn render(known: &[Known], paint: Paint) -> String {
    let heading = ["SETTING", "DEFAULT", "WHAT FOR"].map(str::to_owned).to_vec();
    let rows = known.iter().map(|one| {
        vec![one.name.clone(), one.default.clone().unwrap_or_else(|| "-".to_owned()), one.help.clone()]
    });
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    let style = |row, column, cell: String| match (row, column) {
        (0, _) => paint.faint(&cell),
        (_, 0) => paint.strong(&cell),
        _ => cell,
    };
    let table = paint::table(&rows, &[], &style);
    format!(
        "{table}\nSet them in the environment, in NAME_FILE (the path of a file that holds the value), \
         or in vigie.toml.\n"
    )
}

/// Whether settings of this process can be used; says what cannot be.
pub(crate) fn usable(settings: &Settings) -> bool {
    for problem in settings.problems() {
        cli::complain(&format!("vigie: {problem}"));
    }
    settings.problems().is_empty()
}

/// The settings that are the same for every service.
pub(crate) fn common() -> impl Iterator<Item = &'static str> {
    COMMON.iter().map(|setting| setting.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, default: Option<&str>) -> Known {
        Known {
            name: name.to_owned(),
            default: default.map(str::to_owned),
            expected: "something".to_owned(),
            help: format!("what {name} is for"),
            secret: false,
            read_by: Vec::new(),
        }
    }

    #[test]
    fn settings_are_listed_once_with_their_readers() {
        let tables = vec![
            ("vigie".to_owned(), vec![one("NATS_URL", None)]),
            ("a".to_owned(), vec![one("PREFIX", Some("!")), one("NATS_URL", Some("nats://x"))]),
            ("b".to_owned(), vec![one("PREFIX", Some("!"))]),
        ];
        let merged = merge(tables).unwrap();
        assert_eq!(merged[0].default.as_deref(), Some("nats://x"));
        assert_eq!(merged[0].read_by, ["vigie", "a"]);
        insta::assert_snapshot!(render(&merged, Paint::plain()));
    }

    #[test]
    fn two_services_that_disagree_are_named() {
        let tables = vec![
            ("a".to_owned(), vec![one("PREFIX", Some("!"))]),
            ("b".to_owned(), vec![one("PREFIX", Some("?"))]),
        ];
        let error = merge(tables).unwrap_err().to_string();
        assert!(error.starts_with("a and b disagree about PREFIX"), "{error}");
    }
}
