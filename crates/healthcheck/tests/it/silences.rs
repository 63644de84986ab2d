//! Of what people are not told for a while, over NATS.

use std::time::Duration;

use bus::Bus;
use protocol::{
    VERSION,
    control::{HealthOrder, HealthReply, HealthRequest},
};
use serde_json::Value;
use testkit::eventually;

use crate::{
    receiver::Receiver,
    world::{SOON, World},
};

const SENSOR: &str = "sys/class/thermal/thermal_zone0/temp";

/// Longer than an answer takes on a machine that does much else: nothing may be asked twice.
const WITHIN: Duration = Duration::from_secs(60);

async fn ask(bus: &Bus, order: HealthOrder) -> HealthReply {
    let request = |order| HealthRequest { v: VERSION, by: "cli".to_owned(), order };
    // It obeys once it is connected.
    eventually(SOON, || async { bus.command("healthcheck", &request(HealthOrder::Silences), WITHIN).await })
        .await;
    bus.command("healthcheck", &request(order), WITHIN).await.unwrap().reply
}

/// How often this was told to be wrong.
fn times(receiver: &Receiver, rule: &str, level: &str) -> usize {
    let messages = receiver.all();
    let wrong = messages.iter().flat_map(|one| {
        let json: Value = serde_json::from_str(&one.body).unwrap();
        json["wrong"].as_array().cloned().unwrap_or_default()
    });
    wrong.filter(|one| one["rule"] == rule && one["level"] == level).count()
}

#[tokio::test]
async fn of_what_is_silenced_only_worse_and_the_end_are_told() {
    let world = World::start().await;
    let mut services = world.services().await;
    let receiver = Receiver::start().await;
    let mut config = world.config();
    config.webhook = receiver.address("/hook");
    let watching = world.watch(config.clone());
    watching.is("healthy").await;
    world.put(SENSOR, "75000\n");
    receiver.gets(|one| one.body.contains("too hot")).await;
    world.keeps("temperature/").await;

    let (alert, reason) = ("temperature".to_owned(), "the fan comes on Saturday".to_owned());
    let order = HealthOrder::Silence { alert: alert.clone(), for_s: 3600, reason };
    let HealthReply::Done { silence } = ask(&world.bus, order).await else { panic!("it is wrong") };
    assert_eq!((silence.until_ms - silence.since_ms, &*silence.by), (3_600_000, "cli"));
    watching.counts("vigie_health_silences 1").await;
    watching.stop().await;

    // It lasts over a restart, and what is so stays so.
    let watching = world.watch(config);
    let until = eventually(SOON, || async {
        watching.json()["silenced"]["temperature"].as_str().map(str::to_owned).ok_or("it is not silenced")
    })
    .await;
    watching.is("degraded: too hot").await;
    assert!(watching.page("/health/detailed").body.contains(", silenced)"));
    watching
        .has_line(&format!("· not of temperature until {until}, says cli: the fan comes on Saturday"))
        .await;

    // Who was told of it is told that it is over, and not that it is back.
    world.put(SENSOR, "45000\n");
    receiver.gets(|one| one.body.contains("all is well again")).await;
    world.put(SENSOR, "75000\n");
    watching.is("degraded: too hot").await;
    services[0].vanish();
    receiver.gets(|one| one.body.contains("discord-gateway: does not answer")).await;
    assert_eq!(times(&receiver, "temperature", "warning"), 1);

    // What gets worse is told all the same, and once more when it is silenced no more.
    world.put(SENSOR, "85000\n");
    // Sent and noted down: else it would be noted as told after the end of the silence.
    world.keeps("\"temperature/\":{\"level\":\"critical\"").await;
    assert_eq!(times(&receiver, "temperature", "critical"), 1);
    let HealthReply::Done { .. } = ask(&world.bus, HealthOrder::Unsilence { alert }).await else {
        panic!("it was silenced")
    };
    eventually(SOON, || async {
        if times(&receiver, "temperature", "critical") == 2 { Ok(()) } else { Err("no") }
    })
    .await;
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        let of = trail.into_iter().rev().filter(|one| one.object == "temperature");
        let of: Vec<(String, String)> = of.map(|one| (one.verb, one.by)).collect();
        if of.len() >= 2 { Ok(of) } else { Err(of) }
    })
    .await;
    assert_eq!(trail, [("silence", "cli"), ("unsilence", "cli")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    watching.stop().await;
}

#[tokio::test]
async fn what_is_silenced_and_what_is_wrong_can_be_asked() {
    let world = World::start().await;
    let mut services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    services[1].vanish();
    watching.is("unhealthy: twitch-gateway: does not answer").await;
    let silence =
        |alert: &str| HealthOrder::Silence { alert: alert.to_owned(), for_s: 3600, reason: String::new() };
    let HealthReply::Refused { reason } = ask(&world.bus, silence("silent")).await else {
        panic!("it is of one of them")
    };
    assert!(reason.contains("`silent/twitch-gateway`"), "{reason}");
    assert!(matches!(ask(&world.bus, silence("silent/twitch-gateway")).await, HealthReply::Done { .. }));
    let HealthReply::Silences { silences, alerts } = ask(&world.bus, HealthOrder::Silences).await else {
        panic!("it was asked for")
    };
    assert_eq!(silences.iter().map(|one| &*one.alert).collect::<Vec<_>>(), ["silent/twitch-gateway"]);
    let of = alerts.iter().find(|one| one.alert == "silent/twitch-gateway").unwrap();
    assert_eq!(of.title, "twitch-gateway: does not answer");
    assert_eq!(watching.page("/status").status, 503, "it is as it is");
    watching.stop().await;
}
