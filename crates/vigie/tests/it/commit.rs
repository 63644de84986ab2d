//! `vigie commit-and-restart` with a real git and a deployer that speaks the real protocol.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use bus::Bus;
use protocol::{
    VERSION,
    control::{DeployAnswer, DeployOrder, DeployReply, DeployRequest, DeployStatus, Job, JobEnd},
};
use testkit::Nats;

use crate::{folder::Folder, status::announce};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let output = quiet(&mut command).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Without the settings of whoever runs the tests.
pub fn quiet(command: &mut Command) -> &mut Command {
    for name in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{name}_NAME"), "Ines")
            .env(format!("GIT_{name}_EMAIL"), "ines@vigie.invalid");
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null")
}

/// A bot's folder that is a repository with a remote beside it.
pub fn repository() -> Folder {
    let folder = Folder::new();
    let path = folder.path();
    git(path, &["init", "--quiet", "--initial-branch=main"]);
    git(path, &["init", "--quiet", "--bare", "remote.git"]);
    git(path, &["remote", "add", "origin", "remote.git"]);
    let ignored = "remote.git\nvigie\n*-gateway\ncommand-worker\nhealthcheck\ndata\n";
    fs::write(path.join(".gitignore"), ignored).unwrap();
    git(path, &["add", "--all"]);
    git(path, &["commit", "--quiet", "--message", "begin"]);
    git(path, &["push", "--quiet", "--set-upstream", "origin", "main"]);
    folder
}

async fn run(folder: &Folder, nats: &Nats, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = folder.vigie(&["commit-and-restart"]);
    command.args(arguments).env("NATS_URL", nats.url()).env("PATH", "/usr/bin:/bin");
    quiet(&mut command);
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A deployer that says that `versions[0]` runs and, once it was asked for something new, `versions[1]`. How often
/// that was.
pub async fn deployer(bus: &Bus, versions: [&'static str; 2]) -> Arc<Mutex<usize>> {
    let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
    bus.round_trip().await;
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let (mut last, mut current) = (None, versions[0]);
        while let Some(ordered) = orders.next().await {
            let reply = match ordered.order.order {
                DeployOrder::Status => DeployReply::Status(Into::into(DeployStatus {
                    job: last.clone(),
                    current: Some(current.to_owned()),
                    ..DeployStatus::default()
                })),
                _ => {
                    *count.lock().unwrap() += 1;
                    current = versions[1];
                    last = Some(Job {
                        id: "request-1".to_owned(),
                        verb: "request".to_owned(),
                        by: "cli".to_owned(),
                        step: "gate".to_owned(),
                        done: 1,
                        total: None,
                        began_ms: 0,
                        end: Some(JobEnd { at_ms: 9000, good: true, words: "4 services".to_owned() }),
                    });
                    DeployReply::Accepted { job: "request-1".to_owned() }
                }
            };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
    asked
}

#[tokio::test]
async fn a_change_is_pushed_rolled_out_and_watched() {
    let (folder, nats) = (repository(), Nats::start().await);
    let bus = nats.bus("test").await;
    let _services = announce(&bus, "").await;
    let asked = deployer(&bus, ["c-1", "c-2"]).await;
    fs::write(folder.path().join("a command.toml"), "x = 1\n").unwrap();
    let (code, _) = run(&folder, &nats, &["-m", "add a command"]).await;
    assert_eq!(code, Some(64), "there is nobody to ask");
    let (code, text) = run(&folder, &nats, &["-m", "add a command", "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    for part in ["is pushed to main", "vigie deploy now", "✓ deploy: 4 services", "Everything is ready."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let remote = folder.path().join("remote.git");
    assert_eq!(git(&remote, &["log", "-1", "--format=%s", "main"]), "add a command");
    assert_eq!(git(folder.path(), &["show", "--name-only", "--format=", "HEAD"]), "a command.toml");
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_deploy_that_changed_nothing_is_no_success() {
    let (folder, nats) = (repository(), Nats::start().await);
    let bus = nats.bus("test").await;
    let _services = announce(&bus, "").await;
    let asked = deployer(&bus, ["0.1.0", "0.1.0"]).await;
    fs::write(folder.path().join("command.toml"), "x = 1\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "add a command", "--yes"]).await;
    assert_eq!((code, *asked.lock().unwrap()), (Some(75), 1), "{text}");
    assert!(text.contains("is pushed, and 0.1.0 still runs: the deployer found nothing new"), "{text}");
}

#[tokio::test]
async fn without_a_deployer_nothing_is_said_to_be_new() {
    let (folder, nats) = (repository(), Nats::start().await);
    fs::write(folder.path().join("command.toml"), "x = 1\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "add a command", "--yes"]).await;
    assert_eq!(code, Some(1), "nothing runs Vigie here: {text}");
    assert!(
        text.contains("there is no deployer: nothing is built") && text.contains("vigie restart\n"),
        "{text}"
    );
}

/// What mends a bot that is down is shipped in the same way.
#[tokio::test]
async fn without_nats_it_is_pushed_and_said_that_nobody_watched() {
    let (folder, mut nats) = (repository(), Nats::start().await);
    nats.kill();
    fs::write(folder.path().join("command.toml"), "x = 2\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "mend it", "--yes"]).await;
    assert_eq!(code, Some(75), "{text}");
    for part in ["this only commits and pushes", "is pushed to main", "nobody watched the bot come back"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("vigie restart\n"), "{text}");
    assert_eq!(git(&folder.path().join("remote.git"), &["log", "-1", "--format=%s", "main"]), "mend it");
}

#[tokio::test]
async fn neither_secrets_nor_what_cannot_start_are_committed() {
    let (folder, nats) = (repository(), Nats::start().await);
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/discord_token"), "hunter2\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "oops", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("secrets/discord_token holds secrets, and would be committed"), "{text}");
    fs::remove_dir_all(folder.path().join("secrets")).unwrap();
    fs::create_dir(folder.path().join("hooks")).unwrap();
    fs::write(folder.path().join("hooks/site.secret"), "hunter2\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "oops", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("hooks/site.secret holds secrets, and would be committed"), "{text}");
    fs::remove_dir_all(folder.path().join("hooks")).unwrap();

    fs::write(folder.path().join("vigie.toml"), "stand_in = \"odd\"\n").unwrap();
    let (code, text) = run(&folder, &nats, &["-m", "oops", "--yes"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("STAND_IN: expected good") && text.contains("nothing was committed"), "{text}");
    assert_eq!(git(folder.path(), &["log", "-1", "--format=%s"]), "begin");
}
