//! Names of settings: how many are set, and which are none, such as misspelt ones.

use std::{collections::BTreeSet, env, path::Path};

use super::{Finding, machine};
use crate::{init, settings};

/// Variables with these beginnings are meant for Vigie, wherever they are set.
const OURS: &[&str] = settings::PLATFORMS;
/// Variables with these beginnings are Docker's.
const DOCKERS: [&str; 3] = ["COMPOSE_", "DOCKER_", "BUILDKIT_"];
/// So many letters may be wrong, missing or too many in a name that is taken for another.
const MOST_WRONG: usize = 2;

/// Every name that means something.
pub(crate) struct Names {
    settings: BTreeSet<String>,
    /// Whether the services said theirs; without them nothing can be said about the rest.
    complete: bool,
    /// Names of settings that must not be shown.
    pub secret: Vec<String>,
    /// What Compose itself reads, if its file is here.
    compose: String,
}

impl Names {
    /// Asks the services.
    pub(crate) fn gather() -> Self {
        let compose = machine::read(Path::new("compose.yaml")).unwrap_or_default();
        let Ok(all) = settings::all() else {
            let settings = settings::common().map(str::to_owned).collect();
            return Self { settings, complete: false, secret: Vec::new(), compose };
        };
        let secret = all.iter().filter(|one| one.secret).map(|one| one.name.clone()).collect();
        let mut settings: BTreeSet<String> = all.into_iter().map(|one| one.name).collect();
        settings.extend(init::example_names().map(str::to_owned));
        Self { settings, complete: true, secret, compose }
    }

    /// How many settings are set in the environment.
    pub(crate) fn set(&self) -> usize {
        variables().iter().filter(|name| self.knows(name)).count()
    }

    /// What is set and is no setting: of the environment only what is clearly meant for Vigie.
    pub(crate) fn unknown(&self, file: &[(String, String)]) -> Vec<Finding> {
        if !self.complete {
            return Vec::new();
        }
        let ours = |name: &String| OURS.iter().any(|start| name.starts_with(start));
        let listed = file.iter().map(|(name, _)| name.clone());
        let names: BTreeSet<String> = variables().into_iter().filter(ours).chain(listed).collect();
        names.iter().filter(|name| !self.knows(name)).map(|name| self.of_unknown(name)).collect()
    }

    fn knows(&self, name: &str) -> bool {
        let bare = name.strip_suffix("_FILE").unwrap_or(name);
        self.settings.contains(name)
            || self.settings.contains(bare)
            || DOCKERS.iter().any(|start| name.starts_with(start))
            || self.compose.contains(&format!("${{{name}"))
    }

    fn of_unknown(&self, name: &str) -> Finding {
        let seen = format!("{name} is no setting of Vigie");
        let near = self.settings.iter().map(|known| (distance(name, known), known)).min();
        match near {
            Some((wrong, known)) if wrong <= MOST_WRONG => {
                Finding::warn("settings", seen, format!("write {known}, if that is what was meant"))
            }
            _ => Finding::note("settings", format!("{seen}: `vigie settings` lists all")),
        }
    }
}

fn variables() -> Vec<String> {
    let filled = env::vars_os().filter(|(_, value)| !value.is_empty());
    filled.filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// How many letters have to be changed, added or taken away to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, theirs) in other.iter().enumerate() {
            let changed = corner + usize::from(letter != *theirs);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_misspelt_name_is_told_what_it_may_be() {
        let known = ["DISCORD_TOKEN", "PREFIX", "LOCALE"].map(str::to_owned);
        let names = Names {
            settings: known.into_iter().collect(),
            complete: true,
            secret: Vec::new(),
            compose: "image: vigie:${VIGIE_TAG:-local}".to_owned(),
        };
        let file = ["DISCORD_TOKN", "PREFIXE", "DISCORD_TOKEN_FILE", "VIGIE_TAG", "COMPOSE_PROFILES", "MINE"];
        let findings = names.unknown(&file.map(|name| (name.to_owned(), "x".to_owned())));
        let mends: Vec<_> = findings.iter().map(|one| (one.verdict, one.mend.as_str())).collect();
        assert_eq!(
            mends,
            [
                (Verdict::Warn, "write DISCORD_TOKEN, if that is what was meant"),
                (Verdict::Note, ""),
                (Verdict::Warn, "write PREFIX, if that is what was meant"),
            ]
        );
    }

    #[test]
    fn letters_are_counted() {
        assert_eq!(
            [("ab", "ab"), ("ab", "b"), ("ab", "acb"), ("", "abc")].map(|(a, b)| distance(a, b)),
            [0, 1, 1, 3]
        );
    }
}
