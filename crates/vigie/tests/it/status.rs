//! `vigie status` and `vigie provision` against a real server.

use std::{collections::BTreeMap, process::Output, time::Duration};

use bus::Bus;
use protocol::ServiceStats;
use serde_json::{Value, json};
use testkit::{Nats, eventually};

use crate::{
    folder::Folder,
    here::{Machine, SYSTEMCTL},
    terminal::Terminal,
};

const SOON: Duration = Duration::from_secs(30);

fn stats(service: &str, reason: &str) -> ServiceStats {
    ServiceStats {
        v: protocol::VERSION,
        service: service.to_owned(),
        instance: "here-1".to_owned(),
        build: "0.1.0 (abc)".to_owned(),
        uptime_s: 3,
        ready: reason.is_empty(),
        reason: reason.to_owned(),
        resident_bytes: 7 << 20,
        metrics: BTreeMap::from([("commands_total".to_owned(), 2.0)]),
    }
}

/// Announces the four services, of which the Twitch gateway says `reason`.
pub async fn announce(bus: &Bus, reason: &'static str) -> Vec<bus::Announcement> {
    let mut all = Vec::new();
    let services =
        [("discord-gateway", ""), ("twitch-gateway", reason), ("command-worker", ""), ("healthcheck", "")];
    for (name, reason) in services {
        all.push(bus.announce(name, move || stats(name, reason)).await.unwrap());
    }
    bus.round_trip().await;
    all
}

async fn run(folder: &Folder, nats: &Nats, arguments: &[&str]) -> Output {
    let mut command = folder.vigie(arguments);
    command.env("NATS_URL", nats.url());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_bot_that_is_well_is_0_and_one_that_is_not_is_1_with_the_reason() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;

    let nobody = run(&folder, &nats, &["status"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8(nobody.stdout).unwrap().contains("no discord-gateway answers: is it running?"));

    let well = announce(&bus, "").await;
    let told = run(&folder, &nats, &["status"]).await;
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{text}");
    assert!(text.contains(&format!("at {}", nats.url())) && text.contains("Everything is ready."), "{text}");
    drop(well);

    let _ill = announce(&bus, "twitch: login refused").await;
    let told = run(&folder, &nats, &["status", "--json"]).await;
    let view: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert_eq!(view["ready"], false);
    assert_eq!(view["problems"][0], "twitch-gateway here-1 is not ready: twitch: login refused");
}

/// A NATS that lost only some of what it keeps, and a service that its supervisor has and that is dead.
#[tokio::test]
async fn what_nats_lacks_and_what_was_started_and_is_dead_is_no_well_bot() {
    let (machine, nats) = (Machine::with(&[("systemctl", SYSTEMCTL)]), Nats::start().await);
    let bus = nats.bus("test").await;
    let _well = announce(&bus, "").await;
    let units = "vigie-nats.service loaded active running Vigie: NATS\n\
                 vigie-backup.service loaded failed failed Vigie: backups\n\
                 vigie-deployer.service not-found inactive dead vigie-deployer.service\n";
    machine.file("units", units);
    let programs = machine.folder.path().join("programs");
    let status = async |arguments: &[&str]| {
        let mut command = machine.folder.vigie(&["status", "--json"]);
        command.args(arguments).env("NATS_URL", nats.url()).env("PATH", &programs);
        let told = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let view: Value = serde_json::from_slice(&told.stdout).unwrap();
        (told.status.code(), view["problems"].clone())
    };
    assert_eq!(status(&[]).await, (Some(0), json!([])), "another bot may run here");
    let dead = "no backup answers (failed (failed)): `vigie logs backup` may say why";
    assert_eq!(status(&["--run", "systemd"]).await, (Some(1), json!([dead])));

    for stream in ["AUDIT", "ONCE", "KV_session", "CHATTER"] {
        bus.remove_stream(stream).await.unwrap();
    }
    let lacks = "NATS lacks CHATTER, AUDIT, ONCE, session: run `vigie provision`";
    eventually(SOON, || async {
        let found = status(&[]).await;
        if found == (Some(1), json!([lacks])) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Without healthcheck a bot works.
#[tokio::test]
async fn that_nobody_is_told_when_something_is_wrong_is_said_and_no_failure() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let mut well = announce(&bus, "").await;
    drop(well.pop());
    eventually(SOON, || async {
        let told = run(&folder, &nats, &["status"]).await;
        let text = String::from_utf8(told.stdout).unwrap();
        let warned = text.ends_with(
            "Everything is ready.\n! no healthcheck answers: nobody is told when something is wrong\n",
        );
        if warned && told.status.code() == Some(0) { Ok(()) } else { Err(text) }
    })
    .await;
}

/// One in a container, which its caller tells what was started.
#[tokio::test]
async fn one_in_a_container_is_told_what_was_started_and_leaves_it_to_its_caller_when_nats_is_away() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let _well = announce(&bus, "").await;
    let started = json!([
        { "name": "demo-twitch", "state": "ready", "detail": "Up 2 minutes (healthy)" },
        { "name": "deployer", "state": "down", "detail": "Exited (1) 1 hour ago" },
    ]);
    let status = async |url: String| {
        let mut command = folder.vigie(&["status", "--json"]);
        command.env("NATS_URL", url).env("VIGIE_STARTED", started.to_string());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let told = status(nats.url()).await;
    let view: Value = serde_json::from_slice(&told.stdout).unwrap();
    let dead = "no deployer answers (Exited (1) 1 hour ago): `vigie logs deployer` may say why";
    assert_eq!((told.status.code(), &view["problems"]), (Some(1), &json!([dead])));
    let told = status("nats://127.0.0.1:9".to_owned()).await;
    assert_eq!((told.status.code(), told.stdout, told.stderr), (Some(69), Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_service_is_told_to_start_again_from_anywhere() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let _well = announce(&bus, "").await;
    let mut orders = bus.obey_restart("twitch-gateway", "here-1").await.unwrap();
    bus.round_trip().await;
    let told = tokio::spawn(async move { orders.next().await });
    let done = run(&folder, &nats, &["restart", "twitch-gateway"]).await;
    let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert_eq!(done.status.code(), Some(0), "{text}");
    assert!(text.contains("✓ twitch-gateway  is back"), "{text}");
    let order = told.await.unwrap().unwrap();
    assert_eq!((order.by.as_str(), order.instance), ("cli", None));
    let noted = bus.trail(9).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|one| [&*one.service, &one.verb, &one.object, &one.by]).collect();
    assert_eq!(noted, [["operator", "restart", "twitch-gateway", "cli"]]);

    let deaf = run(&folder, &nats, &["restart", "backup"]).await;
    let text = String::from_utf8(deaf.stderr).unwrap();
    assert_eq!(deaf.status.code(), Some(1));
    assert!(
        text.contains("backup cannot be told over NATS") && text.contains("nothing runs Vigie here"),
        "{text}"
    );
    assert_eq!(run(&folder, &nats, &["restart", "a.b"]).await.status.code(), Some(64));
}

#[tokio::test]
async fn provision_says_what_there_is_and_may_run_again() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    for _ in 0..2 {
        let done = run(&folder, &nats, &["provision"]).await;
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{text}");
        assert!(text.contains("EVENTS, CHATTER, ACTIONS_DISCORD, ACTIONS_TWITCH, DEAD"), "{text}");
    }
}

#[test]
fn a_nats_that_is_not_there_is_named_with_what_to_do() {
    let folder = Folder::new();
    let told = folder.vigie(&["status"]).env("NATS_URL", "nats://127.0.0.1:9").output().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(
        said.contains("no NATS server answers at nats://127.0.0.1:9: start Vigie with `vigie start`"),
        "{said}"
    );
}

/// 64, whichever of them it is and whichever command asks NATS.
#[test]
fn a_login_that_cannot_be_read_is_a_setting_that_cannot_be_used() {
    let folder = Folder::new();
    for name in ["NATS_URL_FILE", "NATS_NKEY_FILE", "NATS_CA_FILE"] {
        for arguments in [&["status"][..], &["audit"], &["restart", "nats"], &["provision", "--check"]] {
            let mut command = folder.vigie(arguments);
            if name != "NATS_URL_FILE" {
                command.env("NATS_URL", "nats://127.0.0.1:9");
            }
            let told = command.env(name, "/gone").env("PATH", "").output().unwrap();
            let said = String::from_utf8([told.stdout, told.stderr].concat()).unwrap();
            assert_eq!(told.status.code(), Some(64), "{name} {arguments:?}: {said}");
            assert!(said.contains("/gone"), "{name} {arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn it_is_watched_in_a_terminal_with_colours_unless_they_are_not_wanted() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let _well = announce(&bus, "").await;
    for colours in [true, false] {
        let mut command = folder.vigie(&["status", "--watch"]);
        command.env("NATS_URL", nats.url()).env_remove("NO_COLOR");
        if !colours {
            command.env("NO_COLOR", "1");
        }
        let ended = tokio::task::spawn_blocking(move || {
            let mut terminal = Terminal::start(&command);
            // It looks again by itself.
            for _ in 0..2 {
                terminal.wait_for("Everything is ready.");
            }
            terminal.press("\x03");
            terminal.ended()
        });
        let (status, shown) = ended.await.unwrap();
        assert_eq!(status.code(), Some(0), "{shown}");
        // Without colours it still begins at the top of the screen, each time.
        let codes = shown.matches("\x1b[").count() - 2 * shown.matches("\x1b[H\x1b[2J").count();
        assert!(shown.matches("\x1b[H\x1b[2J").count() >= 2, "{shown:?}");
        assert_eq!(codes > 0, colours, "{shown:?}");
        assert_eq!(shown.contains("\x1b[32m✓ ready"), colours, "{shown:?}");
    }
}

#[test]
fn settings_are_also_read_from_env_below_the_environment() {
    let folder = Folder::new();
    std::fs::write(folder.path().join(".env"), "NATS_URL=nats://127.0.0.1:8 # mine\n").unwrap();
    let said = |folder: &Folder, variables: &[(&str, &str)]| {
        let told = folder.vigie(&["status"]).envs(variables.iter().copied()).output().unwrap();
        String::from_utf8([told.stdout, told.stderr].concat()).unwrap()
    };
    assert!(said(&folder, &[]).contains("no NATS server answers at nats://127.0.0.1:8:"));
    assert!(said(&folder, &[("NATS_URL", "nats://127.0.0.1:9")]).contains("at nats://127.0.0.1:9:"));
    std::fs::write(folder.path().join(".env"), "secret stuff\n").unwrap();
    assert_eq!(said(&folder, &[]).trim(), "vigie: .env: line 1: expected NAME=value");
}

#[test]
fn wrong_arguments_are_64_and_help_is_0() {
    let folder = Folder::new();
    assert_eq!(folder.vigie(&["fly"]).output().unwrap().status.code(), Some(64));
    assert_eq!(folder.vigie(&["--help"]).output().unwrap().status.code(), Some(0));
}
