//! `vigie status` and `vigie provision` against a real server.

use std::{collections::BTreeMap, process::Output};

use bus::Bus;
use protocol::ServiceStats;
use serde_json::Value;
use testkit::Nats;

use crate::folder::Folder;

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

/// Announces the three services, of which the Twitch gateway says `reason`.
pub async fn announce(bus: &Bus, reason: &'static str) -> Vec<bus::Announcement> {
    let mut all = Vec::new();
    for (name, reason) in [("discord-gateway", ""), ("twitch-gateway", reason), ("command-worker", "")] {
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
        said.contains("no NATS server answers at nats://127.0.0.1:9: start Vigie with `vigie up`"),
        "{said}"
    );
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
