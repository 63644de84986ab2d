//! Who may depend on whom: the crate table of `docs/ARCHITECTURE.md`, held against cargo metadata.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::paths;

/// A crate with the crates of this workspace that it may import.
type Row = (&'static str, &'static [&'static str]);

const TABLE: [Row; 21] = [
    ("protocol", &[]),
    ("service", &[]),
    ("lanes", &[]),
    ("child", &[]),
    ("bus", &["protocol"]),
    ("presence", &["protocol", "service", "bus"]),
    ("partitions", &["protocol", "service", "bus"]),
    ("actions", &["protocol", "service", "bus", "lanes", "partitions"]),
    ("commands", &["protocol"]),
    ("discord-gateway", &["protocol", "service", "bus", "presence", "actions"]),
    ("twitch-gateway", &["protocol", "service", "bus", "presence", "actions"]),
    ("command-worker", &["protocol", "service", "bus", "presence", "lanes", "partitions", "commands"]),
    ("healthcheck", &["protocol", "service", "bus", "presence"]),
    ("backup", &["protocol", "service", "bus", "presence", "child"]),
    ("webhook-deploy", &["protocol", "service", "bus", "presence"]),
    ("deployer", &["protocol", "service", "bus", "presence", "child"]),
    ("vigie", &["protocol", "service", "bus"]),
    ("sandbox", &["service"]),
    ("testkit", &["protocol", "bus"]),
    (
        "e2e",
        &[
            "protocol",
            "bus",
            "service",
            "sandbox",
            "vigie",
            "discord-gateway",
            "twitch-gateway",
            "command-worker",
            "healthcheck",
            "commands",
            "testkit",
        ],
    ),
    ("xtask", &["protocol", "bus", "testkit"]),
];

/// What tests may import besides. The sandbox stands for the platforms, and is no service of ours.
const FOR_TESTS: [&str; 5] = ["testkit", "sandbox", "protocol", "bus", "service"];

/// Crates that must not agree with our own mistakes, so that their tests import nothing more either.
const ALONE: [&str; 1] = ["sandbox"];

/// Outside crates that one crate alone may name, by the start of their name.
const KEPT: [(&str, &str); 6] = [
    ("async-nats", "bus"),
    ("twilight-", "discord-gateway"),
    ("tmi", "twitch-gateway"),
    ("sea-orm", "store"),
    ("rusqlite", "backup"),
    ("bollard", "deployer"),
];

pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(paths::root().join("Cargo.toml")).no_deps().exec()?;
    let packages = metadata.workspace_packages();
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems: Vec<String> = packages.iter().flat_map(|package| of_package(package, &names)).collect();
    for (name, _) in TABLE.iter().filter(|(name, _)| !names.contains(name)) {
        problems.push(format!("{name} is in the crate table but not in the workspace"));
    }
    Ok(problems)
}

/// Every crate of the workspace.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

fn of_package(package: &Package, ours: &[&str]) -> Vec<String> {
    let name = package.name.as_str();
    let mut problems = Vec::new();
    let Some((_, allowed)) = TABLE.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "{name} is not in the crate table: add a row there and in docs/ARCHITECTURE.md"
        )];
    };
    if package.manifest_path.parent().and_then(|folder| folder.file_name()) != Some(name) {
        problems.push(format!("{name}: its folder must have its name"));
    }
    if package.description.as_deref().unwrap_or_default().is_empty() {
        problems.push(format!("{name}: Cargo.toml needs a description"));
    }
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        let in_tests = dependency.kind == DependencyKind::Development;
        let problem = if ours.contains(&other) {
            may_not_import(name, other, allowed, in_tests)
        } else {
            kept_elsewhere(name, other)
        };
        problems.extend(problem);
    }
    problems
}

fn may_not_import(name: &str, other: &str, allowed: &[&str], in_tests: bool) -> Option<String> {
    let for_tests = in_tests && !ALONE.contains(&name) && FOR_TESTS.contains(&other);
    if allowed.contains(&other) || for_tests {
        return None;
    }
    let list = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    Some(format!("{name} may not import {other}: it may import {list}"))
}

fn kept_elsewhere(name: &str, other: &str) -> Option<String> {
    let (_, owner) = KEPT.iter().find(|(start, _)| other.starts_with(start))?;
    (*owner != name).then(|| format!("{name} may not name {other}: only {owner} may"))
}

#[cfg(test)]
mod tests {
    use super::{super::SERVICES, *};

    #[test]
    fn a_service_never_imports_a_service() {
        for (name, allowed) in TABLE.iter().filter(|(name, _)| SERVICES.contains(name)) {
            assert!(allowed.iter().all(|other| !SERVICES.contains(other)), "{name}");
        }
    }

    #[test]
    fn the_table_and_the_kept_crates_are_held() {
        assert!(may_not_import("sandbox", "protocol", &["service"], false).is_some());
        assert!(may_not_import("sandbox", "protocol", &["service"], true).is_some());
        assert!(may_not_import("discord-gateway", "testkit", &["bus"], true).is_none());
        assert!(may_not_import("discord-gateway", "testkit", &["bus"], false).is_some());
        assert!(kept_elsewhere("command-worker", "async-nats").is_some());
        assert!(kept_elsewhere("discord-gateway", "twilight-http").is_none());
        assert!(kept_elsewhere("vigie", "twilight-model").is_some());
    }
}
