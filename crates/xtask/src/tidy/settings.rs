//! `.env.example` against the settings that the binaries know, so that it never lies.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Text;
use crate::{paths, shell};

const EXAMPLE: &str = ".env.example";
/// The files in which Compose itself reads `${NAME}`.
const COMPOSE: [&str; 2] = ["compose.yaml", "deploy/observability/compose.yaml"];

/// One setting, as a binary prints it with `--settings`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Setting {
    pub name: String,
    pub default: Option<String>,
    pub help: String,
    pub secret: bool,
    /// The binaries that read it.
    pub read_by: Vec<String>,
}

pub(crate) fn check(files: &[Text]) -> anyhow::Result<Vec<String>> {
    let Some(example) = files.iter().find(|file| file.path == EXAMPLE) else {
        return Ok(vec![format!("{EXAMPLE} is missing")]);
    };
    let compose = files.iter().filter(|file| COMPOSE.contains(&file.path.as_str()));
    let asked = compose.flat_map(|file| asked(&file.text)).collect();
    Ok(differences(&known()?, &asked, &listed(&example.text)))
}

/// The names in `${NAME}`, `${NAME:-default}` and the like; `$$` is a dollar.
fn asked(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lines = lines.map(|line| line.replace("$$", ""));
    let names = lines.flat_map(|line| {
        let parts = line.split("${").skip(1);
        let name = |part: &str| part.split(|c| !is_of_name(c)).next().unwrap_or_default().to_owned();
        parts.map(name).collect::<Vec<_>>()
    });
    names.collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// What the binaries say, gathered by `vigie settings`.
pub(super) fn known() -> anyhow::Result<BTreeMap<String, Setting>> {
    let vigie = paths::binary("vigie");
    if !vigie.is_file() {
        bail!("{} is not built: run cargo xtask test, or cargo build --workspace", paths::shown(&vigie));
    }
    let mut command = Command::new(vigie);
    let lines = shell::output(command.args(["settings", "--json"]))?;
    let mut known = BTreeMap::new();
    for line in lines.lines() {
        let setting: Setting =
            serde_json::from_str(line).with_context(|| format!("not a setting: {line}"))?;
        known.insert(setting.name.clone(), setting);
    }
    Ok(known)
}

/// What the example shows, set or commented out: `NAME=value` or `#NAME=value`.
fn listed(example: &str) -> BTreeMap<String, String> {
    let is_name =
        |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_of_name);
    example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .filter(|(name, _)| is_name(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// `asked` are the names that Compose reads itself.
fn differences(
    known: &BTreeMap<String, Setting>,
    asked: &BTreeSet<String>,
    listed: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, setting) in known {
        let default = setting.default.as_deref().unwrap_or_default();
        match listed.get(name) {
            None => problems
                .push(format!("{EXAMPLE}: {name} is missing ({}); add #{name}={default}", setting.help)),
            Some(shown) if shown != default => {
                problems.push(format!("{EXAMPLE}: {name} shows {shown:?}, its default is {default:?}"));
            }
            Some(_) => {}
        }
    }
    for name in listed.keys().filter(|name| !known.contains_key(*name) && !asked.contains(*name)) {
        problems
            .push(format!("{EXAMPLE}: {name} is a setting of no binary, and Compose does not ask for it"));
    }
    // The file of a secret is shown by the secret.
    let shown = |name: &str| listed.contains_key(name) || known.contains_key(name);
    for name in asked.iter().filter(|name| !shown(name) && !name.strip_suffix("_FILE").is_some_and(shown)) {
        problems.push(format!("{EXAMPLE}: {name} is missing, for which Compose asks; add #{name}="));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_and_the_binaries_say_the_same() {
        let setting = |name: &str, default: Option<&str>| {
            let help = "what for".to_owned();
            let default = default.map(str::to_owned);
            let (name, read_by) = (name.to_owned(), Vec::new());
            (name.clone(), Setting { name, default, help, secret: false, read_by })
        };
        let known = BTreeMap::from([
            setting("PREFIX", Some("!")),
            setting("TOKEN", None),
            setting("LOCALE", Some("en")),
            setting("NEW", None),
        ]);
        let example = "# The bot. Not a setting: a=b\nTOKEN=\n#PREFIX=!\n#LOCALE=fr\n#OLD=1\n#PORT=80\n";
        let compose =
            "ports: [\"${PORT:-80}:80\"]\nfile: ${TOKEN_FILE:-x}\nimage: a:${TAG}\nrun: $${DOLLAR}\n";
        assert_eq!(
            differences(&known, &asked(compose), &listed(example)),
            [
                ".env.example: LOCALE shows \"fr\", its default is \"en\"",
                ".env.example: NEW is missing (what for); add #NEW=",
                ".env.example: OLD is a setting of no binary, and Compose does not ask for it",
                ".env.example: TAG is missing, for which Compose asks; add #TAG=",
            ]
        );
    }
}
