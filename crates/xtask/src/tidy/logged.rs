//! The crates whose own words are logged at the level of the setting: each of ours that a service consists
//! of, or what it says below a warning is never seen.

use super::{Text, crates};

const PLACE: &str = "crates/service/src/telemetry.rs";
/// Crates that no service consists of.
const NO_PART: [&str; 3] = ["testkit", "e2e", "xtask"];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    match files.iter().find(|file| file.path == PLACE) {
        Some(file) => differences(&file.text, crates::names()),
        None => vec![format!("{PLACE} is missing")],
    }
}

fn differences<'a>(source: &str, crates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some(listed) = listed(source) else {
        return vec![format!("{PLACE}: expected a list `const OURS: [&str; …] = […];`")];
    };
    let ours: Vec<String> =
        crates.filter(|name| !NO_PART.contains(name)).map(|name| name.replace('-', "_")).collect();
    let missing = ours.iter().filter(|name| !listed.contains(&name.as_str()));
    let missing = missing.map(|name| format!("{PLACE}: OURS lacks {name}: what it logs would not be seen"));
    let strange = listed.iter().filter(|name| !ours.iter().any(|ours| ours == *name));
    missing
        .chain(strange.map(|name| format!("{PLACE}: OURS has {name}, which is no part of a service")))
        .collect()
}

/// The names between the brackets.
fn listed(source: &str) -> Option<Vec<&str>> {
    let (_, rest) = source.split_once("const OURS: ")?;
    let (list, _) = rest.split_once("= [")?.1.split_once("];")?;
    Some(list.split('"').skip(1).step_by(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_is_found() {
        let source =
            "const OURS: [&str; 2] = [\n    \"bus\",\n    \"gone\",\n];\nconst NEXT: &str = \"x\";\n";
        let problems = differences(source, ["bus", "command-worker", "xtask"].into_iter());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("OURS lacks command_worker"), "{problems:?}");
        assert!(problems[1].contains("OURS has gone"), "{problems:?}");
        assert!(differences(source, ["bus", "gone", "e2e"].into_iter()).is_empty());
        assert_eq!(differences("", ["bus"].into_iter()).len(), 1);
    }
}
