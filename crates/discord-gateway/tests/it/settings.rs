//! What is said when something is missing or wrong.

use std::collections::HashMap;

use discord_gateway::rest::budget::Slot;
use sandbox::discord;
use testkit::Nats;

use crate::rig::{Gateway, LONG, Rig};

#[tokio::test]
async fn without_a_token_discord_is_off_and_the_service_is_ready() {
    let nats = Nats::start().await;
    nats.bus("test").await;
    let gateway = Gateway::start(vec![("NATS_URL", nats.url())]);
    gateway.says("discord: DISCORD_TOKEN is not set").await;
    gateway.ready().await;
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_named_and_tried_once() {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.retain(|(name, _)| *name != "DISCORD_TOKEN");
    settings.push(("DISCORD_TOKEN", "wrong".to_owned()));
    let error = Gateway::start(settings).ended().await.unwrap_err().to_string();
    assert!(error.contains("DISCORD_TOKEN"), "{error}");
    assert_eq!(rig.sandbox.counters().get("discord.rest.401"), 1);
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 0);
}

#[tokio::test]
async fn a_discord_that_is_away_is_waited_for() {
    let rig = Rig::start().await;
    let mut settings = rig.settings();
    settings.retain(|(name, _)| *name != "DISCORD_API_URL");
    settings.push(("DISCORD_API_URL", format!("http://127.0.0.1:{}", testkit::free_port())));
    let gateway = Gateway::start(settings);
    gateway.says("discord cannot be reached").await;
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn heartbeats_that_nobody_acknowledges_are_noticed() {
    let options = discord::Options { heartbeat_interval_ms: 1000, ..Default::default() };
    let rig = Rig::with(options).await;
    let gateway = rig.gateway().await;
    rig.sandbox.discord().faults().update(|knobs| knobs.mute_heartbeat_acks = true);
    rig.sandbox.counters().wait("discord.gateway.resume", 1, LONG).await.unwrap();
    rig.sandbox.discord().faults().update(|knobs| knobs.mute_heartbeat_acks = false);
    gateway.ready().await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn several_shards_start_one_after_the_other() {
    let options = discord::Options { shards: 2, max_concurrency: 2, extra_guilds: 8, ..Default::default() };
    let rig = Rig::with(options).await;
    let gateway = rig.gateway().await;
    let all = gateway.ctx.metrics.snapshot();
    assert_eq!((all["shards"], all["shards_ready"]), (2.0, 2.0));
    gateway.counted("communities", 9.0).await;
    let stats = rig.bus.stats(std::time::Duration::from_secs(1)).await;
    assert_eq!((stats[0].service.as_str(), stats[0].ready), ("discord-gateway", true));
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_forced_reconnect_resumes() {
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    rig.sandbox.discord().reconnect_all();
    rig.sandbox.counters().wait("discord.gateway.resume", 1, LONG).await.unwrap();
    gateway.ready().await;
    rig.sandbox.discord().drop_connections();
    rig.sandbox.counters().wait("discord.gateway.resume", 2, LONG).await.unwrap();
    gateway.ready().await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_off_is_shown() {
    let rig = Rig::start().await;
    rig.sandbox.discord().faults().update(|knobs| knobs.clock_skew_ms = -120_000);
    let gateway = rig.gateway().await;
    gateway.counted("clock_ahead_seconds", 119.0).await;
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_reset_while_everything_runs_ends_the_process() {
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    rig.sandbox.discord().close_all(4004);
    let error = gateway.ended().await.unwrap_err().to_string();
    assert!(error.contains("DISCORD_TOKEN"), "{error}");
}

#[tokio::test]
async fn a_spent_budget_of_refused_requests_outlives_a_restart() {
    let rig = Rig::start().await;
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    let spent = [Slot { at_ms: service::clock::unix_ms() - 1000, count: 5000 }];
    kv.put("discord.refused-requests", &HashMap::from([("another-gateway", spent)])).await.unwrap();
    let gateway = Gateway::start(rig.settings());
    gateway.says("refused").await;
    assert!(!rig.sandbox.counters().all().keys().any(|name| name.starts_with("discord.rest.GET")));
    gateway.stop().await.unwrap();
}
