//! What is pushed and released, and how that must end.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::ensure;
use protocol::control::DeployState;

/// What somebody changes in a checkout.
pub type Change = fn(&Path) -> anyhow::Result<()>;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// A commit with this change is pushed.
    Push(Change),
    /// A version with this change is released, signed or not.
    Release(&'static str, Change, bool),
    /// Somebody goes back by hand.
    Rollback,
}

/// One trial.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What is done.
    pub act: Act,
    /// The deployer is killed with -9 when the first container of each of these services is replaced.
    pub kills: &'static [&'static str],
    /// How it must end.
    pub ends: DeployState,
    /// What must be said about it.
    pub words: &'static str,
    /// What people must see in the answer to `!uptime` then.
    pub seen: Option<&'static str>,
    /// What becomes of the deployer itself after it.
    pub deployer: Deployer,
}

/// What becomes of the deployer after a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployer {
    /// It is not asked to change.
    Stays,
    /// It is that of the new version too.
    Follows,
    /// That of the new version does not work, so that the one before comes back.
    ComesBack,
}

const fn good(name: &'static str, change: Change, seen: &'static str) -> Plan {
    let (act, ends) = (Act::Push(change), DeployState::RolledOut);
    Plan { name, act, kills: &[], ends, words: "updated to c-", seen: Some(seen), deployer: Deployer::Stays }
}

const fn bad(name: &'static str, change: Change, words: &'static str) -> Plan {
    let (act, ends) = (Act::Push(change), DeployState::RolledBackTo);
    Plan { name, act, kills: &[], ends, words, seen: None, deployer: Deployer::Stays }
}

const fn refused(name: &'static str, change: Change, words: &'static str) -> Plan {
    Plan { ends: DeployState::NeverStarted, ..bad(name, change, words) }
}

/// What is done to a bot that is updated by pushes, one after the other.
pub const BUILD: [Plan; 10] = [
    good("deploy: a good push", french, "en marche depuis"),
    bad("deploy: a worker that ends at once", broken_worker, "command-worker: container "),
    bad("deploy: a worker that is never ready", deaf_worker, "command-worker: container "),
    bad("deploy: a gateway that ends at once", broken_gateway, "discord-gateway: container "),
    refused(
        "deploy: a worker that asks for the machine",
        privileged,
        "command-worker: privileged: is not allowed",
    ),
    refused("deploy: a worker that asks for a folder of the machine", foreign, "/etc is not in "),
    Plan {
        kills: &["command-worker", "discord-gateway"],
        ..good("deploy: deployer killed with -9 twice in a good push", english, "up for")
    },
    Plan {
        kills: &["command-worker"],
        ..bad(
            "deploy: deployer killed with -9 in a bad push",
            broken_gateway_again,
            "discord-gateway: container ",
        )
    },
    good("deploy: the next good push", french, "en marche depuis"),
    Plan {
        act: Act::Rollback,
        words: "updated to c-",
        ..good("deploy: `vigie deploy rollback`", french, "up for")
    },
];

const fn release(
    name: &'static str,
    version: &'static str,
    change: Change,
    ends: DeployState,
    words: &'static str,
) -> Plan {
    let act = Act::Release(version, change, true);
    Plan { name, act, kills: &[], ends, words, seen: None, deployer: Deployer::Stays }
}

/// The version that a bot that is updated by releases begins with.
pub const FIRST: &str = "1.0.0";

/// What is done to a bot that is updated by releases, one after the other.
pub const PULL: [Plan; 5] = [
    Plan {
        deployer: Deployer::Follows,
        ..release("deploy: a good release", "1.1.0", nothing, DeployState::RolledOut, "updated to 1.1.0")
    },
    release(
        "deploy: a release whose worker ends at once",
        "1.2.0",
        broken_worker,
        DeployState::RolledBackTo,
        "command-worker: container ",
    ),
    Plan {
        act: Act::Release("1.3.0", nothing, false),
        ..release(
            "deploy: a release that is not signed",
            "",
            nothing,
            DeployState::NeverStarted,
            "is not signed by",
        )
    },
    Plan {
        deployer: Deployer::ComesBack,
        ..release(
            "deploy: a release whose deployer ends at once",
            "1.4.0",
            broken_deployer,
            DeployState::RolledOut,
            "updated to 1.4.0",
        )
    },
    Plan {
        act: Act::Rollback,
        ..release(
            "deploy: `vigie deploy rollback` to a release",
            "",
            nothing,
            DeployState::RolledOut,
            "updated to 1.1.0",
        )
    },
];

/// Those of this name, or part of a name.
pub fn chosen<'a>(plans: &'a [Plan], only: Option<&'a str>) -> impl Iterator<Item = &'a Plan> {
    plans.iter().filter(move |plan| only.is_none_or(|only| plan.name.contains(only)))
}

const fn nothing(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn french(tree: &Path) -> anyhow::Result<()> {
    speak(tree, "fr")
}

fn english(tree: &Path) -> anyhow::Result<()> {
    speak(tree, "en")
}

/// People see in which language they are answered where the platform does not tell theirs.
fn speak(tree: &Path, language: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(tree.join("compose.yaml"))?;
    let is_it = |line: &str| line.starts_with("  LOCALE:");
    let with = |line| if is_it(line) { format!("  LOCALE: {language}") } else { line.to_owned() };
    let lines: Vec<String> = text.lines().map(with).collect();
    fs::write(tree.join("compose.yaml"), lines.join("\n") + "\n")?;
    Ok(())
}

/// Another program under its name, which ends at once with words about its arguments.
fn broken(tree: &Path, binary: &str) -> anyhow::Result<()> {
    fs::copy(tree.join("dist/bin/vigie"), tree.join("dist/bin").join(binary))?;
    Ok(())
}

fn broken_worker(tree: &Path) -> anyhow::Result<()> {
    broken(tree, "command-worker")
}

fn broken_gateway(tree: &Path) -> anyhow::Result<()> {
    broken(tree, "discord-gateway")
}

/// As a helper it does what it must, so that what it starts is found to be broken.
fn broken_deployer(tree: &Path) -> anyhow::Result<()> {
    let (binary, beside) = (tree.join("dist/bin/deployer"), tree.join("dist/bin/deployer-of-before"));
    fs::rename(&binary, &beside)?;
    let script = "#!/bin/sh\n[ \"$1\" = --succeed ] && exec deployer-of-before \"$@\"\nexit 7\n";
    fs::write(&binary, script)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The same fault in another commit: the first one is in quarantine.
fn broken_gateway_again(tree: &Path) -> anyhow::Result<()> {
    fs::write(tree.join("dist/again"), "")?;
    broken(tree, "discord-gateway")
}

/// It runs, and finds no NATS.
fn deaf_worker(tree: &Path) -> anyhow::Result<()> {
    of_worker(tree, "environment: *worker", "environment: { <<: *worker, NATS_URL: \"nats://nowhere:4222\" }")
}

fn privileged(tree: &Path) -> anyhow::Result<()> {
    of_worker(tree, "environment: *worker", "privileged: true\n    environment: *worker")
}

fn foreign(tree: &Path) -> anyhow::Result<()> {
    of_worker(tree, "command-worker:/run/vigie:ro\"", "command-worker:/run/vigie:ro\", \"/etc:/machine:ro\"")
}

fn of_worker(tree: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let path = tree.join("compose.yaml");
    let text = fs::read_to_string(&path)?;
    ensure!(text.matches(from).count() == 1, "compose.yaml does not have {from:?} once");
    fs::write(path, text.replace(from, to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_fits_to_the_compose_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("compose.yaml");
        let before = fs::read_to_string(crate::paths::root().join("compose.yaml")).unwrap();
        for change in [french, deaf_worker, privileged, foreign] {
            fs::write(&file, &before).unwrap();
            change(folder.path()).unwrap();
            assert_ne!(fs::read_to_string(&file).unwrap(), before);
        }
    }
}
