//! Several gateways of one bot: one number of shards, taken over shard by shard, and left to whoever can
//! reach Discord.

use std::time::{Duration, Instant};

use sandbox::{discord, people::Person};
use testkit::{Proxy, eventually};
use tokio::time::timeout;

use crate::rig::{Gateway, LONG, Rig};

/// A network that is away for some seconds.
const CUT: Duration = Duration::from_secs(4);

fn with_shards(rig: &Rig, shards: &str) -> Vec<(&'static str, String)> {
    let mut settings = rig.settings();
    settings.push(("DISCORD_SHARDS", shards.to_owned()));
    settings
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    gateway.ctx.metrics.snapshot().get(name).copied().unwrap_or_default()
}

async fn live(gateways: &[&Gateway], wanted: f64) {
    eventually(LONG, || async {
        let live: Vec<f64> = gateways.iter().map(|gateway| metric(gateway, "shards_ready")).collect();
        if live.iter().sum::<f64>() >= wanted { Ok(()) } else { Err(live) }
    })
    .await;
}

fn quick(shards: u32) -> discord::Options {
    discord::Options { shards, max_concurrency: 16, extra_guilds: 8, ..Default::default() }
}

#[tokio::test]
async fn gateways_that_are_set_to_different_numbers_do_not_both_read() {
    let rig = Rig::with(quick(3)).await;
    let first = Gateway::named(with_shards(&rig, "1"), "first");
    first.ready().await;
    let second = Gateway::named(with_shards(&rig, "2"), "second");
    second.says("DISCORD_SHARDS is 2 here, but the other gateways of the bot (first) read 1 shards").await;
    // One that leaves it to Discord, which recommends 3, does as the others do.
    let third = Gateway::named(with_shards(&rig, "auto"), "third");
    third.ready().await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1);
    assert!(second.ctx.health.readiness().alive, "a restart would not help");

    // Once none of them reads by the old number, the new one holds, also for whoever comes later.
    third.stop().await.unwrap();
    first.stop().await.unwrap();
    second.ready().await;
    live(&[&second], 2.0).await;
    let fourth = Gateway::named(with_shards(&rig, "auto"), "fourth");
    fourth.ready().await;
    live(&[&second, &fourth], 2.0).await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 3);
    second.stop().await.unwrap();
    fourth.stop().await.unwrap();
}

#[tokio::test]
async fn a_number_that_nobody_reads_by_any_more_is_replaced_at_once_after_a_stop() {
    let rig = Rig::with(quick(1)).await;
    for (shards, count, lost) in [("1", 1.0, 0.0), ("2", 2.0, 1.0), ("auto", 1.0, 2.0)] {
        let gateway = Gateway::named(with_shards(&rig, shards), &format!("gateway-{shards}"));
        let started = Instant::now();
        gateway.ready().await;
        assert_eq!(metric(&gateway, "shards"), count, "{shards}");
        assert_eq!(metric(&gateway, "discord_sessions_lost_total"), lost, "{shards}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        gateway.stop().await.unwrap();
    }
}

fn agreed_key() -> String {
    format!("discord.{}.shards", discord::ids::APPLICATION)
}

async fn agreed(kv: &bus::Bucket, count: u32, gateways: &[&str]) {
    let wanted = serde_json::json!({"count": count, "gateways": gateways});
    eventually(LONG, || async {
        let kept = kv.get::<serde_json::Value>(&agreed_key()).await.unwrap().unwrap_or_default();
        if kept == wanted { Ok(()) } else { Err(kept) }
    })
    .await;
}

/// Each once waited for the other, whose name it saw from a life that nobody ended.
#[tokio::test]
async fn gateways_that_were_killed_may_read_by_another_number() {
    let rig = Rig::with(quick(1)).await;
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    kv.put(&agreed_key(), &serde_json::json!({"count": 1, "gateways": ["first", "second"]})).await.unwrap();
    let first = Gateway::named(with_shards(&rig, "4"), "first");
    let second = Gateway::named(with_shards(&rig, "4"), "second");
    first.ready().await;
    second.ready().await;
    live(&[&first, &second], 4.0).await;
    agreed(&kv, 4, &["first", "second"]).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_number_that_vanished_stands_again_as_long_as_somebody_reads_by_it() {
    let rig = Rig::with(quick(3)).await;
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    let nothing = serde_json::json!({"count": 0, "gateways": ["first", "second"]});
    kv.put(&agreed_key(), &nothing).await.unwrap();
    let first = Gateway::named(with_shards(&rig, "2"), "first");
    let second = Gateway::named(with_shards(&rig, "2"), "second");
    live(&[&first, &second], 2.0).await;
    agreed(&kv, 2, &["first", "second"]).await;
    // More than two where the second came while the first began to read both.
    let begun = rig.sandbox.counters().get("discord.gateway.identify");
    kv.delete(&agreed_key()).await.unwrap();
    agreed(&kv, 2, &["first", "second"]).await;
    kv.put(&agreed_key(), &nothing).await.unwrap();
    agreed(&kv, 2, &["first", "second"]).await;
    let third = Gateway::named(with_shards(&rig, "auto"), "third");
    third.ready().await;
    agreed(&kv, 2, &["first", "second", "third"]).await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), begun, "nothing began anew");
    for gateway in [first, second, third] {
        gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_that_was_overruled_while_it_was_away_starts_again() {
    let rig = Rig::with(quick(1)).await;
    let gateway = Gateway::named(with_shards(&rig, "1"), "first");
    gateway.ready().await;
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    let key = agreed_key();
    // Taken for dead: it says that it is not.
    kv.put(&key, &serde_json::json!({"count": 1, "gateways": ["other"]})).await.unwrap();
    eventually(LONG, || async {
        let kept = kv.get::<serde_json::Value>(&key).await.unwrap().unwrap();
        if kept["gateways"].as_array().unwrap().len() == 2 { Ok(()) } else { Err(kept) }
    })
    .await;
    kv.put(&key, &serde_json::json!({"count": 2, "gateways": ["other"]})).await.unwrap();
    let error = gateway.ended().await.unwrap_err().to_string();
    assert!(error.contains("(other) began to read 2 shards instead of 1"), "{error}");
}

/// What a gateway that stops has to wait for holds up one shard, and not the others.
#[tokio::test]
async fn a_gateway_that_stops_hands_over_each_shard_as_soon_as_it_has_stopped() {
    let rig = Rig::with(quick(4)).await;
    let discord = rig.sandbox.discord();
    let mut commands = rig.bus.subscribe("event.>").await.unwrap();
    rig.bus.round_trip().await;
    // Its sessions go on in a new process, which does not know who may do what in the guilds.
    let leaving = Gateway::named(with_shards(&rig, "4"), "b");
    live(&[&leaving], 4.0).await;
    leaving.stop().await.unwrap();
    let leaving = Gateway::named(with_shards(&rig, "4"), "b");
    live(&[&leaving], 4.0).await;
    let staying = Gateway::named(with_shards(&rig, "4"), "a");
    staying.ready().await;
    live(&[&leaving, &staying], 4.0).await;
    let before = metric(&staying, "shards");
    assert!(before <= 2.0, "there is something to hand over: {before}");

    discord.faults().update(|knobs| knobs.rest_slow_ms = 10_000);
    let (heard, asked) = (metric(&leaving, "events_total"), "!whoami");
    discord.say(Person::Max, &rig.general(), asked).unwrap();
    leaving.counted("events_total", heard + 1.0).await;
    let stopping = tokio::spawn(leaving.stop());
    live(&[&staying], 3.0).await;
    assert!(!stopping.is_finished(), "the last shard still waits for the rank of somebody");
    stopping.await.unwrap().unwrap();
    live(&[&staying], 4.0).await;
    // It was not stored, so it is read again; and what the others read was not read twice.
    discord.faults().update(|knobs| knobs.rest_slow_ms = 0);
    timeout(LONG, commands.next()).await.expect("a command comes").unwrap();
    let counters = rig.sandbox.counters();
    assert_eq!(counters.get("discord.gateway.identify"), 4, "all were resumed: {:?}", counters.all());
    staying.stop().await.unwrap();
}

async fn behind_proxies(rig: &Rig) -> (Proxy, Proxy, Vec<(&'static str, String)>) {
    let nats = Proxy::start(rig.nats.url().trim_start_matches("nats://").to_owned()).await;
    let discord = Proxy::start(rig.sandbox.http_url().trim_start_matches("http://").to_owned()).await;
    let settings = vec![
        ("NATS_URL", format!("nats://{}", nats.address())),
        ("DISCORD_API_URL", format!("http://{}", discord.address())),
        ("DISCORD_GATEWAY_URL", format!("ws://{}/gateway", discord.address())),
        ("DISCORD_TOKEN", "sandbox-token".to_owned()),
        ("DISCORD_SHARDS", "2".to_owned()),
    ];
    (nats, discord, settings)
}

/// A service has 7 s; then it is killed.
#[tokio::test]
async fn a_stop_is_over_in_time_though_nobody_answers_any_more() {
    let rig = Rig::with(quick(2)).await;
    let (nats, discord, settings) = behind_proxies(&rig).await;
    let gateway = Gateway::named(settings, "first");
    gateway.ready().await;
    nats.stall();
    let heard = metric(&gateway, "events_total");
    for n in 0..3 {
        rig.sandbox.discord().say(Person::Ines, &rig.general(), &format!("!one {n}")).unwrap();
    }
    gateway.counted("events_total", heard + 3.0).await;
    discord.stall();
    let began = Instant::now();
    gateway.stop().await.unwrap();
    println!("stopped after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_gateway_that_cannot_reach_discord_leaves_its_shards_to_one_that_can() {
    let rig = Rig::with(quick(2)).await;
    let mut commands = rig.bus.subscribe("event.>").await.unwrap();
    rig.bus.round_trip().await;
    let (_nats, discord, settings) = behind_proxies(&rig).await;
    let cut_off = Gateway::named(settings, "first");
    cut_off.ready().await;
    let other = Gateway::named(with_shards(&rig, "2"), "second");
    other.ready().await;
    live(&[&cut_off, &other], 2.0).await;
    let before = metric(&cut_off, "shards");
    assert!(before > 0.0, "it has something to leave");
    discord.cut();
    let patience = Duration::from_secs(45);
    eventually(patience, || async {
        let live = metric(&other, "shards_ready");
        if live >= 2.0 { Ok(()) } else { Err(live) }
    })
    .await;
    cut_off.says("discord's gateway cannot be reached from here").await;
    assert!(cut_off.ctx.health.readiness().alive);
    rig.sandbox.discord().say(Person::Ines, &rig.general(), "!still there?").unwrap();
    timeout(LONG, commands.next()).await.expect("a command comes").unwrap();

    discord.resume();
    eventually(patience, || async {
        let live = metric(&cut_off, "shards_ready");
        if live >= before { Ok(()) } else { Err(live) }
    })
    .await;
    cut_off.ready().await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 2, "all were resumed");
    cut_off.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_cut_of_some_seconds_the_bot_is_back_soon_after_the_network_is() {
    let rig = Rig::with(quick(1)).await;
    let (_nats, discord, mut settings) = behind_proxies(&rig).await;
    settings.retain(|(name, _)| *name != "DISCORD_SHARDS");
    let gateway = Gateway::named(settings, "first");
    gateway.ready().await;
    for round in 1..=3 {
        discord.cut();
        gateway.says("shard 0").await;
        let early = timeout(CUT, gateway.ready()).await;
        assert!(early.is_err(), "round {round}: ready without a network");
        discord.resume();
        let back = Instant::now();
        gateway.ready().await;
        println!("round {round}: ready {:?} after the network was", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    }
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1);
    gateway.stop().await.unwrap();
}
