//! What every verb says: the real binary in a known place, once for a person, once for a program (`--json`), and
//! once where it goes wrong. The words are files in `tests/golden`, one for each verb.
//!
//! A test beside clap's tree (`src/cli.rs`) fails when a verb has no such file, or one without `--json`, or without
//! an exit code that is not 0. So a new verb needs a line in [`VERBS`]: its name with hyphens (`dead-list`), and for
//! each [`Place`] what is called there. `INSTA_UPDATE=always cargo test -p vigie golden` writes the file.
//! What differs from run to run is taken out by [`mask`]; add to it rather than leave a verb out.

mod mask;
mod place;
mod there;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};

use self::place::Place;

/// So many verbs at a time: each has a NATS of its own.
const AT_ONCE: usize = 3;
/// A machine that is too busy to answer within some seconds says so, in many words; then all is done again, so often at
/// most.
const TRIES: usize = 4;

/// A verb, and what is called where.
type Verb = (&'static str, &'static [(Place, &'static [&'static str])]);

static VERBS: &[Verb] = &[
    (
        "audit",
        &[
            (Place::Well, &["audit", "audit --json", "audit -n 0"]),
            (Place::Alone, &["audit", "NATS_NKEY_FILE=/gone audit"]),
        ],
    ),
    (
        "backup-create",
        &[
            (Place::Well, &["backup create", "backup create --json", "backup create --no-wait"]),
            (Place::Well, &["backup create --no-wait --json"]),
            (Place::Failing, &["backup create", "backup create --json"]),
            (Place::Off, &["backup create"]),
            (Place::Empty, &["backup create"]),
        ],
    ),
    (
        "backup-drill",
        &[(Place::Well, &["backup drill", "backup drill --json"]), (Place::Failing, &["backup drill"])],
    ),
    ("backup-list", &[(Place::Well, &["backup list", "backup list --json"]), (Place::Off, &["backup list"])]),
    (
        "backup-restore",
        &[
            (Place::Well, &["backup restore 9f3c1a --into /srv/new"]),
            (Place::Well, &["backup restore --yes --no-stop", "backup restore --yes --no-stop --json"]),
            (Place::Well, &["backup restore", "backup restore gone --yes --no-stop"]),
            (Place::Compose, &["backup restore 9f3c1a --yes"]),
        ],
    ),
    (
        "backup-status",
        &[
            (Place::Well, &["backup status", "backup status --json"]),
            (Place::Off, &["backup status", "backup status --json"]),
            (Place::Empty, &["backup status"]),
        ],
    ),
    (
        "backup-verify",
        &[(Place::Well, &["backup verify"]), (Place::Failing, &["backup verify", "backup verify --json"])],
    ),
    (
        "check",
        &[
            (Place::Alone, &["check", "check --json"]),
            (Place::Alone, &["STAND_IN=odd check", "STAND_IN=odd check --json"]),
        ],
    ),
    (
        "commit-and-restart",
        &[
            (Place::Repository, &["commit-and-restart -m change", "commit-and-restart -m change --yes"]),
            (Place::Repository, &["commit-and-restart -m change --yes --json"]),
            (Place::Outdated, &["commit-and-restart -m change --yes --json"]),
        ],
    ),
    ("completions", &[(Place::Alone, &["completions bash", "completions tcsh"])]),
    (
        "dead-drop",
        &[
            (Place::Dead, &["dead drop 1", "dead drop 1 --yes", "dead drop 1 2 --yes --json"]),
            (Place::Dead, &["dead drop 9 --yes", "dead drop --all --yes", "dead drop --all --yes --json"]),
        ],
    ),
    (
        "dead-list",
        &[
            (Place::Well, &["dead list", "dead list --json"]),
            (Place::Dead, &["dead list", "dead list --limit 1", "dead list --json"]),
            (Place::Alone, &["dead list"]),
        ],
    ),
    (
        "dead-replay",
        &[
            (Place::Dead, &["dead replay 2", "dead replay 1 3 9", "dead replay --all --as-new --json"]),
            (Place::Dead, &["dead replay 1 --json"]),
        ],
    ),
    ("dead-show", &[(Place::Dead, &["dead show 1", "dead show 1 --json", "dead show 9"])]),
    (
        "deploy-history",
        &[(Place::Well, &["deploy history", "deploy history --json"]), (Place::Empty, &["deploy history"])],
    ),
    (
        "deploy-now",
        &[
            (Place::Well, &["deploy now", "deploy now --json"]),
            (Place::Failing, &["deploy now"]),
            (Place::Off, &["deploy now"]),
        ],
    ),
    (
        "deploy-rollback",
        &[
            (
                Place::Well,
                &["deploy rollback", "deploy rollback --yes", "deploy rollback 0.1.9 --yes --json"],
            ),
            (Place::Failing, &["deploy rollback --yes"]),
        ],
    ),
    (
        "deploy-status",
        &[(Place::Well, &["deploy status", "deploy status --json"]), (Place::Empty, &["deploy status"])],
    ),
    (
        "doctor",
        &[
            (Place::Pi, &["doctor --root pi", "doctor --root pi --json"]),
            (Place::Pi, &["STAND_IN=odd doctor --root pi", "STAND_IN=odd doctor --root pi --json"]),
        ],
    ),
    (
        "events",
        &[(Place::Well, &["events", "events --json"]), (Place::Alone, &["events", "events --platform irc"])],
    ),
    (
        "init",
        &[
            (Place::Alone, &["init"]),
            (Place::Alone, &["init --yes --unchecked --platforms discord --discord-token-file token"]),
            (Place::Alone, &["init --yes --platforms discord --discord-token-file gone"]),
        ],
    ),
    (
        "keys",
        &[
            (Place::Alone, &["keys keys", "keys keys --rotate backup", "keys keys --rotate backup --json"]),
            (Place::Alone, &["keys keys --json", "keys token"]),
        ],
    ),
    (
        "logs",
        &[
            (Place::Compose, &["logs -n 5", "logs --json nats", "logs twich"]),
            (Place::Broken, &["logs"]),
            (Place::Alone, &["logs"]),
        ],
    ),
    ("monitor", &[(Place::Alone, &["monitor"])]),
    (
        "provision",
        &[
            (Place::Empty, &["provision --check", "provision --check --json"]),
            (Place::Empty, &["provision", "provision --json", "provision --check"]),
            (Place::Alone, &["provision --check", "NATS_STORAGE=cloud provision"]),
        ],
    ),
    (
        "restart",
        &[
            (Place::Compose, &["restart", "restart twitch-gateway --json", "restart twich"]),
            (Place::Broken, &["restart"]),
        ],
    ),
    ("settings", &[(Place::Alone, &["settings", "settings --json"]), (Place::Lacking, &["settings"])]),
    ("silence-end", &[(Place::Well, &["silence end disk", "silence end disk --json", "silence end dusk"])]),
    (
        "silence-list",
        &[(Place::Well, &["silence list", "silence list --json"]), (Place::Empty, &["silence list"])],
    ),
    (
        "silence-set",
        &[
            (Place::Well, &["silence set disk --for 5d --reason later", "silence set disk --for 5d --json"]),
            (Place::Well, &["silence set dusk --for 1h", "silence set disk --for 1y"]),
        ],
    ),
    (
        "start",
        &[(Place::Compose, &["start", "start --json", "start --sandbox"]), (Place::Broken, &["start"])],
    ),
    (
        "status",
        &[
            (Place::Well, &["status", "status --json"]),
            (Place::Alone, &["status", "status --json"]),
            (Place::Broken, &["status"]),
        ],
    ),
    (
        "stop",
        &[(Place::Compose, &["stop", "stop --json"]), (Place::Broken, &["stop"]), (Place::Alone, &["stop"])],
    ),
    ("up", &[(Place::Machine, &["up", "up --json", "NATS_STORAGE=cloud up", "NATS_SERVER=/gone up"])]),
];

#[tokio::test]
async fn every_verb_says_what_it_said_before() {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut said = JoinSet::new();
    for (name, scenes) in VERBS {
        let turns = turns.clone();
        said.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let before = fs::read_to_string(folder().join(format!("{name}.snap"))).unwrap_or_default();
            let mut said = all(scenes).await;
            for _ in 1..TRIES {
                // Behind the head, which names its test; the first time there is nothing.
                if before.is_empty() || before.trim_end().ends_with(&format!("---\n{}", said.trim_end())) {
                    break;
                }
                said = all(scenes).await;
            }
            (*name, said)
        });
    }
    let mut said = said.join_all().await;
    said.sort_unstable();
    insta::with_settings!({ snapshot_path => "../../golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        for (name, text) in said {
            insta::assert_snapshot!(name, text);
        }
    });
}

#[test]
fn no_file_is_left_of_a_verb_that_is_gone() {
    let names =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".snap").map(str::to_owned)).collect();
    names.sort_unstable();
    let mut verbs: Vec<&str> = VERBS.iter().map(|(name, _)| *name).collect();
    verbs.sort_unstable();
    assert_eq!(names, verbs);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// All that is said of a verb.
async fn all(scenes: &[(Place, &[&'static str])]) -> String {
    let mut text = String::new();
    for (place, calls) in scenes {
        text += &format!("==== {}\n", place.in_words());
        text += &at(*place, calls).await;
    }
    text
}

/// What is said at a place, which is made anew.
async fn at(place: Place, calls: &[&'static str]) -> String {
    let mut there = place.made().await;
    let mut text = String::new();
    for call in calls {
        let said = tokio::time::timeout(Duration::from_secs(120), there.call(call)).await;
        text += &said.unwrap_or_else(|_| format!("{call} does not end\n"));
    }
    text
}
