//! Telling people: together, once, until it is over, and with a way that fails.

use healthcheck::Pace;
use serde_json::Value;

use crate::{receiver::Receiver, world::World};

#[tokio::test]
async fn what_happens_together_is_told_together_and_so_is_its_end() {
    let world = World::start().await;
    let mut services = world.services().await;
    let receiver = Receiver::start().await;
    let mut config = world.config();
    config.webhook = receiver.address("/hook");
    let watching = world.watch(config.clone());
    // The first test comes at the start, so that a wrong setting is known at once.
    let test = receiver.gets(|one| one.body.contains("\"kind\":\"test\"")).await;
    assert_eq!(test.headers["content-type"], "application/json");
    watching.is("healthy").await;
    services[0].vanish();
    services[1].vanish();
    let told = receiver.gets(|one| one.body.contains("\"kind\":\"alert\"")).await;
    let json: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(json["title"], "Vigie: 2 things wrong", "{json}");
    assert_eq!(
        (json["level"].as_str(), json["wrong"][0]["rule"].as_str()),
        (Some("critical"), Some("silent"))
    );
    // A restart of the watch tells nothing twice.
    world.keeps("silent/twitch-gateway").await;
    watching.stop().await;
    let watching = world.watch(config);
    let line = watching.is("unhealthy").await;
    assert!(line.contains("discord-gateway") && line.contains("twitch-gateway"), "{line}");
    for service in &mut services[..2] {
        service.resume(&world.bus).await;
    }
    let over = receiver.gets(|one| one.body.contains("all is well again")).await;
    let json: Value = serde_json::from_str(&over.body).unwrap();
    assert_eq!(json["over"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(receiver.count("2 things wrong"), 1);
    assert_eq!(receiver.count("\"kind\":\"test\""), 1, "a daily test is not one of each start");
    watching.stop().await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_and_told_of_elsewhere() {
    let world = World::start().await;
    let mut services = world.services().await;
    let (broken, phone) = (Receiver::start().await, Receiver::start().await);
    broken.answer(500);
    let mut config = world.config();
    config.webhook = broken.address("/hook");
    config.ntfy = phone.address("/my-topic");
    config.ntfy_token = Some("tk_secret".into());
    let watching = world.watch(config);
    let said = phone.gets(|one| one.body.contains("webhook: people cannot be told")).await;
    assert_eq!(
        (&said.headers["title"], &said.headers["priority"]),
        (&"Vigie: 1 thing to look at".parse().unwrap(), &"default".parse().unwrap())
    );
    assert_eq!(said.headers["authorization"], "Bearer tk_secret");
    assert_eq!(said.uri.path(), "/my-topic");
    assert!(watching.page("/health/detailed").body.contains("✗ webhook: 500"));
    services[2].vanish();
    let said = phone.gets(|one| one.body.contains("command-worker: does not answer")).await;
    assert_eq!(said.headers["priority"], "urgent");
    broken.answer(204);
    // It is told what it has missed, and not that it could not be told.
    let told = broken.gets(|one| one.body.contains("command-worker")).await;
    assert!(!told.body.contains("cannot be told"), "{told:?}");
    phone.gets(|one| one.body.contains("webhook: people cannot be told – over")).await;
    watching.stop().await;
}

/// The internet was away, something went wrong and was over meanwhile: there was nothing left to tell, and what could not
/// be told counted as trouble until the test of the next day.
#[tokio::test]
async fn what_is_over_before_it_could_be_told_leaves_no_trouble_behind() {
    let world = World::start().await;
    let mut services = world.services().await;
    let receiver = Receiver::start().await;
    let mut config = world.config();
    config.webhook = receiver.address("/hook");
    let mut watching = world.watch(config.clone());
    world.keeps("\"tested_ms\":1").await;
    for restart in [false, true] {
        watching.is("healthy").await;
        receiver.answer(500);
        services[0].vanish();
        watching.is_told_of("✗ webhook: 500").await;
        services[0].resume(&world.bus).await;
        let degraded = "degraded: webhook: people cannot be told\n";
        watching.is(degraded).await;
        if restart {
            // The next one does not take it for granted that people can be told.
            world.keeps("\"channel\"").await;
            watching.stop().await;
            watching = world.watch(config.clone());
            watching.is(degraded).await;
        }
        receiver.answer(204);
    }
    watching.is("healthy").await;
    assert_eq!(receiver.count("all is well again"), 0, "nobody was told that anything was wrong");
    watching.stop().await;
}

/// It was once given up until the next start: a reverse proxy that is set up anew answers so for a while.
#[tokio::test]
async fn an_address_that_refuses_is_tried_again_now_and_then() {
    let world = World::start().await;
    let _services = world.services().await;
    let (door, phone) = (Receiver::start().await, Receiver::start().await);
    door.answer(404);
    let mut config = world.config();
    // Ten minutes are ten seconds.
    config.pace = Pace(60);
    config.webhook = door.address("/hook");
    config.ntfy = phone.address("/my-topic");
    let watching = world.watch(config);
    phone.gets(|one| one.body.contains("webhook: people cannot be told")).await;
    door.answer(204);
    phone.gets(|one| one.body.contains("webhook: people cannot be told – over")).await;
    watching.stop().await;
}

#[tokio::test]
async fn a_webhook_of_discord_that_is_gone_is_not_tried_again() {
    let world = World::start().await;
    let _services = world.services().await;
    let (gone, phone) = (Receiver::start().await, Receiver::start().await);
    gone.answer(404);
    let mut config = world.config();
    config.discord_webhook = gone.address("/api/webhooks/1/secret");
    config.ntfy = phone.address("/my-topic");
    let watching = world.watch(config);
    let said = phone.gets(|one| one.body.contains("discord: people cannot be told")).await;
    assert!(!said.body.contains("secret"), "{}", said.body);
    watching.counts("vigie_health_told_total{channel=\"ntfy\"} 1").await;
    assert_eq!(gone.all().len(), 1, "Discord asks not to try again");
    watching.stop().await;
}

#[tokio::test]
async fn without_a_way_it_says_that_nobody_is_told() {
    let world = World::start().await;
    let _services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    let readiness = watching.context.health.readiness();
    assert!(readiness.ready && readiness.reason.contains("nobody is told"), "{readiness:?}");
    assert!(watching.page("/health/detailed").body.contains("nobody is told"));
    watching.stop().await;
}

#[tokio::test]
async fn a_channel_that_nobody_needed_is_tested_a_day_after_the_last_time() {
    let world = World::start().await;
    let _services = world.services().await;
    let phone = Receiver::start().await;
    let mut config = world.config();
    config.ntfy = phone.address("/my-topic");
    let nearly_a_day = std::time::Duration::from_secs(24 * 60 * 60 - 2);
    let tested = std::time::SystemTime::now() - nearly_a_day;
    let tested_ms = tested.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let kept =
        serde_json::json!({ "channels": { "ntfy": { "tested_ms": u64::try_from(tested_ms).unwrap() } } });
    std::fs::create_dir_all(&config.data).unwrap();
    std::fs::write(config.data.join("healthcheck.json"), kept.to_string()).unwrap();
    let watching = world.watch(config);
    let test = phone.gets(|_| true).await;
    assert_eq!(
        (test.uri.path(), &test.headers["priority"]),
        ("/my-topic", &"min".parse().unwrap()),
        "{test:?}"
    );
    watching.is("healthy").await;
    watching.stop().await;
}
