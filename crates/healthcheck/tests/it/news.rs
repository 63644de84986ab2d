//! What happened is told from the audit trail: once, over restarts, with what failed.

use bus::Bus;
use protocol::{
    VERSION,
    control::{Audit, AuditResult, Deploy, DeployAnswer, DeployReply, DeployRequest, DeployState},
};
use serde_json::Value;
use service::clock::unix_ms;
use tokio::task::JoinHandle;

use crate::{receiver::Receiver, world::World};

fn entry(at_ms: u64, object: &str, result: AuditResult, words: &str) -> Audit {
    Audit {
        v: VERSION,
        at_ms,
        service: "deployer".to_owned(),
        by: "hook:site".to_owned(),
        verb: "request".to_owned(),
        object: object.to_owned(),
        result,
        words: words.to_owned(),
    }
}

fn deploy(ended_ms: u64, to: &str, state: DeployState) -> Deploy {
    Deploy {
        id: "deploy-1".to_owned(),
        by: "hook:site".to_owned(),
        from: Some("1.2.0".to_owned()),
        to: to.to_owned(),
        began_ms: ended_ms - 41_000,
        ended_ms,
        state,
        words: String::new(),
    }
}

/// The part of the deployer that knows what was.
async fn deployer(bus: &Bus, deploys: Vec<Deploy>) -> JoinHandle<()> {
    let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = DeployReply::History { deploys: deploys.clone() };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    })
}

/// It has rolled out a version, has noted that, and can be asked about it.
pub async fn rolled_out(bus: &Bus, version: &str) -> JoinHandle<()> {
    let now = unix_ms();
    let telling = deployer(bus, vec![deploy(now, version, DeployState::RolledOut)]).await;
    bus.note(&entry(now, version, AuditResult::Done, &format!("updated to {version}"))).await.unwrap();
    telling
}

#[tokio::test]
async fn how_deploys_ended_is_told_once() {
    let world = World::start().await;
    let _services = world.services().await;
    let (hook, phone) = (Receiver::start().await, Receiver::start().await);
    let mut config = world.config();
    config.webhook = hook.address("/hook");
    config.ntfy = phone.address("/my-topic");
    let now = unix_ms();
    world.bus.note(&entry(now, "1.1.0", AuditResult::Done, "updated to 1.1.0")).await.unwrap();
    let watching = world.watch(config.clone());
    watching.is("healthy").await;
    world.keeps("\"trail\":1").await;

    let deploys = vec![
        deploy(now + 3, "1.3.0", DeployState::RolledBackTo),
        deploy(now + 1, "1.2.0", DeployState::RolledOut),
    ];
    let telling = deployer(&world.bus, deploys).await;
    world.bus.note(&entry(now, "1.2.0", AuditResult::Begun, "rolls it out")).await.unwrap();
    let words = "updated to 1.2.0 (0123456789ab)";
    world.bus.note(&entry(now + 1, "1.2.0", AuditResult::Done, words)).await.unwrap();
    let told = hook.gets(|one| one.body.contains("updated to 1.2.0")).await;
    let json: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(json["title"], "Vigie: updated to 1.2.0 (0123456789ab)", "{json}");
    assert_eq!((&json["kind"], &json["level"]), (&"news".into(), &"fine".into()));
    assert_eq!(json["news"][0]["text"], "in 41 s, asked by hook:site");
    let told = phone.gets(|one| one.body.contains("updated to 1.2.0")).await;
    assert_eq!(told.headers["priority"], "low");

    // While the watch is away somebody deploys.
    world.keeps("\"trail\":3").await;
    watching.stop().await;
    let words =
        "1.3.0 failed at gate: command-worker ends\nthread main panicked at src/main.rs\n1.2.0 runs again";
    world.bus.note(&entry(now + 3, "1.3.0", AuditResult::Failed, words)).await.unwrap();
    let watching = world.watch(config.clone());
    let told = phone.gets(|one| one.body.contains("1.3.0")).await;
    let title = "Vigie: 1.3.0 failed and was rolled back: 1.2.0 runs again";
    assert_eq!(
        (&told.headers["title"], &told.headers["priority"]),
        (&title.parse().unwrap(), &"high".parse().unwrap())
    );
    assert!(
        told.body.contains("\n> thread main panicked at src/main.rs\n> 1.2.0 runs again"),
        "{}",
        told.body
    );
    hook.gets(|one| one.body.contains("panicked")).await;
    watching.stop().await;

    // Nobody can say whether the version before is back.
    telling.abort();
    let watching = world.watch(config);
    world.bus.note(&entry(now + 5, "1.4.0", AuditResult::Failed, "look at once")).await.unwrap();
    let told = phone.gets(|one| one.body.contains("1.4.0")).await;
    assert_eq!(told.headers["priority"], "urgent");
    for text in ["1.1.0", "updated to 1.2.0", "1.3.0 failed and", "1.4.0 failed"] {
        let expected = usize::from(text != "1.1.0");
        assert_eq!((text, phone.count(text)), (text, expected), "each is told once");
    }
    watching.stop().await;
}

#[tokio::test]
async fn what_a_channel_could_not_tell_waits_for_it_over_a_restart() {
    let world = World::start().await;
    let _services = world.services().await;
    let broken = Receiver::start().await;
    broken.answer(503);
    let mut config = world.config();
    config.webhook = broken.address("/hook");
    let watching = world.watch(config.clone());
    world.keeps("\"trail\":0").await;
    world.bus.note(&entry(unix_ms(), "2.0.0", AuditResult::Refused, "no room on the disk")).await.unwrap();
    world.keeps("2.0.0 was not rolled out").await;
    watching.stop().await;
    let mended = Receiver::start().await;
    config.webhook = mended.address("/hook");
    let watching = world.watch(config);
    let told = mended.gets(|one| one.body.contains("2.0.0 was not rolled out")).await;
    assert!(told.body.contains("no room"), "{}", told.body);
    watching.stop().await;
}

/// Whoever may note something cannot have people flooded by it.
#[tokio::test]
async fn many_at_once_are_one_message() {
    let world = World::start().await;
    let _services = world.services().await;
    let receiver = Receiver::start().await;
    let mut config = world.config();
    config.webhook = receiver.address("/hook");
    let watching = world.watch(config.clone());
    world.keeps("\"trail\":0").await;
    watching.stop().await;
    let now = unix_ms();
    for number in 0..250 {
        let object = format!("9.0.{number}");
        world.bus.note(&entry(now + number, &object, AuditResult::Refused, "no")).await.unwrap();
    }
    let watching = world.watch(config);
    world.keeps("\"trail\":250").await;
    receiver.gets(|one| one.body.contains("9.0.249")).await;
    let news = receiver.all().into_iter().filter(|one| one.body.contains("\"kind\":\"news\"")).count();
    assert!(news <= 3, "{news} messages: they are read in three parts");
    watching.stop().await;
}
