//! What is seen of services and of NATS.

use std::collections::BTreeSet;

use bus::Message;
use protocol::{Catalogue, VERSION};
use testkit::eventually;

use crate::world::{SOON, World};

/// The names of what an object holds.
fn fields(json: &serde_json::Value) -> BTreeSet<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_bot_that_is_well() {
    let world = World::start().await;
    let services = world.services().await;
    services[2].change(|stats| {
        let metrics = [("commands_total.ping", 7.0), ("errors_total.failed", 2.0)];
        stats.metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
    });
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    let page = watching.page("/health");
    assert_eq!((page.status, page.content_type), (200, "application/json"));
    let json = watching.json();
    let promised = [
        "status",
        "uptime_seconds",
        "uptime_human",
        "request_count",
        "last_heartbeat",
        "avg_latency_5min",
        "avg_memory_mb_5min",
        "total_errors",
        "task_failures_1h",
        "silenced",
        "services",
    ];
    assert_eq!(fields(&json), promised.into());
    assert_eq!(json["status"], "healthy");
    assert_eq!((json["request_count"].as_u64(), json["total_errors"].as_u64()), (Some(7), Some(2)));
    assert!(json["last_heartbeat"].as_str().unwrap().ends_with('Z'), "{json}");
    assert!(json["avg_latency_5min"].as_f64().is_some_and(|ms| ms < 5000.0), "{json}");
    let worker = &json["services"]["command-worker"];
    assert_eq!(fields(worker), ["state", "instances", "version", "memory", "latency"].into());
    assert_eq!((worker["state"].as_str(), worker["instances"].as_u64()), (Some("ready"), Some(1)));
    assert_eq!(worker["memory"].as_f64(), Some(10.0));
    assert_eq!(worker["version"], "0.1.0 (abc1234567)");
    // It watches itself, too.
    eventually(SOON, || async {
        let json = watching.json();
        if json["services"]["healthcheck"]["state"] == "ready" { Ok(()) } else { Err(json.to_string()) }
    })
    .await;
    watching.counts("vigie_nats_up 1").await;
    watching.counts("vigie_service_ready_instances{service=\"command-worker\"} 1").await;
    watching.counts("vigie_nats_consumers{queue=\"community\"} 1").await;
    watching.counts("vigie_nats_stream_messages{stream=\"EVENTS\"} 0").await;
    let numbers = watching.context.metrics.text();
    let kinds = numbers.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut once = BTreeSet::new();
    assert!(kinds.clone().all(|name| once.insert(name)), "the kind of a name is said once: {numbers}");
    let text = watching.page("/health/detailed").body;
    assert!(text.starts_with("✓ healthy") && text.contains("ACTIONS_DISCORD"), "{text}");
    assert!(watching.context.health.readiness().ready);
    watching.stop().await;
}

#[tokio::test]
async fn a_service_that_vanishes_is_missed_and_found_again() {
    let world = World::start().await;
    let mut services = world.services().await;
    let backup = world.service("backup").await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    services[0].vanish();
    assert_eq!(watching.is("unhealthy").await, "unhealthy: discord-gateway: does not answer\n");
    assert_eq!(watching.page("/health").status, 503);
    assert_eq!(watching.json()["services"]["discord-gateway"]["state"], "gone");
    services[0].resume(&world.bus).await;
    watching.is("healthy").await;
    // What need not be there, but was, is missed as well, also after a restart of the watch.
    world.keeps("\"backup\"").await;
    watching.stop().await;
    drop(backup);
    let watching = world.watch(world.config());
    assert_eq!(watching.is("unhealthy").await, "unhealthy: backup: does not answer\n");
    watching.stop().await;
}

#[tokio::test]
async fn those_that_never_came_are_missed() {
    let world = World::start().await;
    let _worker = world.service("command-worker").await;
    let watching = world.watch(world.config());
    let line = watching.is("unhealthy").await;
    assert!(line.contains("discord-gateway: does not answer; twitch-gateway"), "{line}");
    watching.stop().await;
}

#[tokio::test]
async fn what_is_not_ready_says_why_and_lost_shards_are_seen() {
    let world = World::start().await;
    let services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    services[1].change(|stats| {
        stats.ready = false;
        stats.reason = "twitch: login refused".to_owned();
    });
    assert_eq!(watching.is("unhealthy").await, "unhealthy: twitch-gateway: not ready\n");
    assert!(watching.page("/health/detailed").body.contains("login refused"));
    services[1].change(|stats| stats.ready = true);
    watching.is("healthy").await;
    services[0].change(|stats| {
        stats.metrics = [("shards", 2.0), ("shards_ready", 1.0)].map(|(name, n)| (name.to_owned(), n)).into();
    });
    assert_eq!(watching.is("degraded").await, "degraded: discord-gateway: shards without a session\n");
    assert_eq!(watching.page("/health").status, 200);
    services[0].change(|stats| stats.metrics.clear());
    watching.is("healthy").await;
    services[1].change(|stats| stats.metrics = [("channels_refused".to_owned(), 1.0)].into());
    let expected = "degraded: twitch-gateway: channels that the bot is not let into\n";
    assert_eq!(watching.is("degraded").await, expected);
    watching.stop().await;
}

#[tokio::test]
async fn one_that_starts_again_and_again_is_told_of() {
    let world = World::start().await;
    let services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    for n in 1..=3 {
        services[2].change(|stats| stats.uptime_s = 10 - n);
        eventually(SOON, || async {
            let failures = watching.json()["task_failures_1h"].as_u64();
            if failures == Some(n) { Ok(()) } else { Err(failures) }
        })
        .await;
    }
    let line = watching.is("degraded").await;
    assert!(line.contains("command-worker: starts again and again"), "{line}");
    assert!(line.contains("command-worker: background tasks fail"), "{line}");
    watching.stop().await;
}

/// What fails every twenty minutes never started three times in ten.
#[tokio::test]
async fn a_service_that_failed_twice_in_an_hour_is_told_of_and_one_that_was_updated_is_not() {
    let world = World::start().await;
    let services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    for n in 1..=2_u64 {
        let version = format!("0.{}.0 (abc1234567)", n + 1);
        services[0].change(|stats| (stats.uptime_s, stats.build) = (10 - n, version.clone()));
        services[2].change(|stats| stats.uptime_s = 10 - n);
        eventually(SOON, || async {
            let json = watching.json();
            let updated = json["services"]["discord-gateway"]["version"] == *version;
            if updated && json["task_failures_1h"] == n { Ok(()) } else { Err(json) }
        })
        .await;
    }
    assert_eq!(watching.is("degraded").await, "degraded: command-worker: background tasks fail\n");
    watching.stop().await;
}

/// A person who tries a setting starts a service again and again: each instance says that it was asked to end.
#[tokio::test]
async fn a_service_that_is_started_again_by_hand_has_not_failed() {
    let world = World::start().await;
    let mut services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    let gateway = &mut services[0];
    // What it holds tells which of its answers was heard.
    let heard = async |megabytes: u64| {
        eventually(SOON, || async {
            let memory = watching.json()["services"]["discord-gateway"]["memory"].as_f64();
            if memory == Some(megabytes as f64) { Ok(()) } else { Err(memory) }
        })
        .await;
    };
    for n in [20, 40] {
        gateway.change(|stats| (stats.uptime_s, stats.resident_bytes) = (1000, n * 1_000_000));
        heard(n).await;
        gateway.change(|stats| stats.metrics = [("ending".to_owned(), 1.0)].into());
        gateway.vanish();
        gateway.change(|stats| {
            stats.metrics.clear();
            (stats.uptime_s, stats.resident_bytes) = (0, (n + 1) * 1_000_000);
        });
        gateway.resume(&world.bus).await;
        heard(n + 1).await;
    }
    assert_eq!(watching.json()["task_failures_1h"], 0);
    watching.is("healthy").await;
    watching.stop().await;
}

#[tokio::test]
async fn when_nats_dies_nobody_else_is_blamed() {
    let mut world = World::start().await;
    let _services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    world.nats.kill();
    assert_eq!(watching.is("unhealthy").await, "unhealthy: NATS cannot be reached\n");
    watching.counts("vigie_nats_up 0").await;
    assert!(!watching.context.metrics.text().contains("nats_stream_messages"));
    // It is the messenger, not the patient.
    assert!(watching.context.health.readiness().ready);
    world.nats.resume().await;
    watching.is("healthy").await;
    watching.stop().await;
}

#[tokio::test]
async fn nats_need_not_be_there_at_the_start() {
    let mut world = World::start().await;
    let _services = world.services().await;
    world.nats.kill();
    let watching = world.watch(world.config());
    assert_eq!(watching.is("unhealthy").await, "unhealthy: NATS cannot be reached\n");
    world.nats.resume().await;
    watching.is("healthy").await;
    watching.stop().await;
}

#[tokio::test]
async fn a_new_dead_letter_is_told_of_and_an_old_one_is_not() {
    let world = World::start().await;
    let _services = world.services().await;
    let payload = Catalogue { v: VERSION, commands: Vec::new() };
    world.bus.store(&Message::new("dead.EVENTS", "old", &payload).unwrap()).await.unwrap();
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    watching.counts("vigie_nats_dead_letters 1").await;
    world.bus.store(&Message::new("dead.EVENTS", "new", &payload).unwrap()).await.unwrap();
    assert_eq!(watching.is("degraded").await, "degraded: dead letters\n");
    watching.stop().await;
}
