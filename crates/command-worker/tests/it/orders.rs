//! Orders to `deployer` and `backup` from chat: given once, shown to their end, whatever becomes of the worker.

use bus::{BucketName, Message};
use protocol::{
    DropReason, Event, EventId, MessageId, OptionValue, Platform, Rank, ResponseBody,
    control::{Backup, DeployState, JobEnd},
    subject,
};
use testkit::eventually;

use crate::{
    office::{Gateway, LATER, Office, SHOWN},
    world::{TRACE, Worker, World, event, slash},
};

/// Owner of the bot on both platforms is the person that the world has.
async fn worker(world: &World) -> Worker {
    let config = command_worker::Config {
        nats: service::NatsLogin::at(world.nats.url()),
        owners: "discord:5,twitch:5".parse().unwrap(),
        ..command_worker::Config::default()
    };
    world.worker_with(config, commands::ALL).await
}

fn discord(n: u64, text: &str) -> Event {
    let id = EventId::of_platform(Platform::Discord, &n.to_string()).unwrap();
    Event { id, platform: Platform::Discord, ..event(n, text, Rank::Everyone) }
}

async fn say(world: &World, event: &Event, id: &str) {
    let message = Message::new(subject::event(event), id, event).unwrap().trace(TRACE);
    world.bus.store(&message).await.unwrap();
}

fn message() -> Option<MessageId> {
    Some(MessageId::from(SHOWN))
}

#[tokio::test]
async fn an_update_is_shown_in_one_message_to_its_end() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Discord).await);
    let _deployer = office.deployer(&world.bus).await;
    let worker = worker(&world).await;
    say(&world, &discord(1, "!update force"), "1").await;
    assert_eq!(gateway.says("accepted").await.1, None);
    for (step, words) in [("canary", "one worker first"), ("gateways", "the gateways")] {
        office.step(step);
        assert_eq!(gateway.says(words).await.1, message());
    }
    office.end(DeployState::RolledOut);
    let end = gateway.says("v2 runs everywhere (1 min 15 s)").await;
    assert_eq!((end.0.as_str(), end.1), ("1", message()));
    assert_eq!(office.ordered(), ["discord:5 Request { commit: None, force: true }"]);
    worker.stop().await;
    assert_eq!(gateway.says("v2").await.0, "1", "nothing comes after the end");
}

#[tokio::test]
async fn the_end_is_told_once_when_workers_die_in_the_middle() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Discord).await);
    let _deployer = office.deployer(&world.bus).await;
    let first = worker(&world).await;
    say(&world, &discord(1, "!rollback v1.0"), "1").await;
    office_is_asked(&office, 1).await;
    office.step("canary");
    gateway.says("one worker first").await;
    // Killed: another takes over when it has not been heard of for a while.
    first.kill().await;
    let second = worker(&world).await;
    office.step("workers");
    assert_eq!(gateway.says("the other workers").await.1, message());
    // Stopped, as a deploy does: another takes over at once.
    let third = worker(&world).await;
    second.stop().await;
    office.step("gate");
    assert_eq!(gateway.says("all is well").await.1, message());
    // The same event once more, as it comes when a worker did not acknowledge it, to one who has not seen it.
    say(&world, &discord(1, "!rollback v1.0"), "again").await;
    third.counts("commands_total.rollback", 1.0).await;
    third.kill().await;
    office.end(DeployState::RolledBackTo);
    let (fourth, fifth) = (worker(&world).await, worker(&world).await);
    let end = gateway.says("v2 failed, and v1 runs again").await;
    assert_eq!((end.0.as_str(), end.1), ("1", message()));
    // And again when all is over.
    say(&world, &discord(1, "!rollback v1.0"), "once more").await;
    crate::world::counted(&[&fourth, &fifth], "commands_total.rollback", 1.0).await;
    world.backlog("EVENTS", 0).await;
    assert_eq!(office.ordered(), ["discord:5 Rollback { to: Some(\"v1.0\") }"]);
    fourth.stop().await;
    fifth.stop().await;
    let said = gateway.said();
    assert_eq!(said.iter().filter(|one| one.1.is_none()).count(), 1, "one message: {said:?}");
    assert_eq!(said.iter().filter(|one| one.0 == "1").count(), 1, "one end: {said:?}");
    assert_eq!(said.last().unwrap().0, "1", "nothing after the end: {said:?}");
}

async fn office_is_asked(office: &Office, times: usize) {
    eventually(LATER, || async {
        let ordered = office.ordered();
        if ordered.len() == times { Ok(()) } else { Err(ordered) }
    })
    .await;
}

#[tokio::test]
async fn a_slash_command_has_a_message_of_its_own() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Discord).await);
    let _backup = office.backup(&world.bus).await;
    let worker = worker(&world).await;
    let ResponseBody::Reply { content, ephemeral: true } = world.ask(1, "fr", slash("backup")).await else {
        panic!("whoever asked is told alone that it is taken");
    };
    assert!(content.text.contains("s’affiche dans ce salon"), "{}", content.text);
    assert_eq!(gateway.says("c’est noté").await.1, None);
    office.step("database");
    assert_eq!(gateway.says("la base de données").await.1, message());
    let (id, parts) = ("night".to_owned(), vec!["database".to_owned()]);
    {
        let mut desk = office.desk();
        let at_ms = service::clock::unix_ms();
        desk.backups.push(Backup { id, at_ms, bytes: Some(3 << 20), parts, proved_ms: None });
        desk.job.as_mut().unwrap().end = Some(JobEnd { at_ms, good: true, words: String::new() });
    }
    assert_eq!(gateway.says("night contient 3,0 Mio").await.1, message());
    assert_eq!(office.ordered(), ["discord:5 Create"]);
    worker.stop().await;
}

#[tokio::test]
async fn twitch_hears_the_beginning_and_the_end() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Twitch).await);
    let _deployer = office.deployer(&world.bus).await;
    let worker = worker(&world).await;
    world.say(1, "!update").await;
    gateway.says("you are told when it is over").await;
    for step in ["canary", "workers", "gate"] {
        office.step(step);
        worker.counts("commands_total.update", 1.0).await;
    }
    office.end(DeployState::RolledOut);
    gateway.says("v2 runs everywhere").await;
    assert_eq!(gateway.said().len(), 2, "{:?}", gateway.said());
    assert_eq!(office.ordered(), ["twitch:5 Request { commit: None, force: false }"]);
    worker.stop().await;
}

#[tokio::test]
async fn where_nobody_obeys_the_answer_says_what_to_do() {
    let world = World::start().await;
    let worker = worker(&world).await;
    for (n, name, words) in [
        (1, "update", "--profile deploy up"),
        (2, "deploys", "--profile deploy up"),
        (3, "rollback", "--profile deploy up"),
        (4, "backup", "BACKUP_REPOSITORY"),
        (5, "backups", "BACKUP_REPOSITORY"),
    ] {
        let body = world.ask(n, "en-GB", slash(name)).await;
        let ResponseBody::Reply { content, ephemeral: true } = body else { panic!("{body:?}") };
        assert!(content.text.contains(words), "{name}: {}", content.text);
    }
    // What was not taken is not followed: asked for once more, it is given once more.
    let office = Office::default();
    let _deployer = office.deployer(&world.bus).await;
    office.desk().refuses = true;
    for n in [6, 7] {
        assert!(update(&world, n).await.contains("one goes on already"));
    }
    // The same question again, since its answer was lost, is answered the same: it is not given after all.
    office.desk().refuses = false;
    for (n, words) in [(1, "--profile deploy up"), (7, "one goes on already")] {
        let text = update(&world, n).await;
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(office.ordered().len(), 2);
    worker.stop().await;
}

async fn update(world: &World, n: u64) -> String {
    let ResponseBody::Reply { content, .. } = world.ask(n, "en-GB", slash("update")).await else {
        panic!("a slash command is answered with a reply")
    };
    content.text
}

/// NATS was slow, or the worker died: the service has the order, and nobody noted it.
#[tokio::test]
async fn an_order_that_was_taken_and_not_noted_is_followed() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Discord).await);
    let _deployer = office.deployer(&world.bus).await;
    office.takes("discord:5", "the one of the page").unwrap();
    let page = serde_json::json!({ "holder": "", "until_ms": 0, "jobs": [{
        "event": "discord:1",
        "platform": "discord",
        "community": "1",
        "channel": "2",
        "to": "1",
        "language": "en",
        "prefix": "!",
        "received_us": 5,
        "by": "discord:5",
        "order": { "update": { "force": false } },
        // Too long ago for its event to come again.
        "asked_ms": service::clock::unix_ms() - protocol::COMMAND_LIFE_MS,
    }] });
    world.bus.bucket(BucketName::Lease).await.unwrap().put("followed", &page).await.unwrap();
    let worker = worker(&world).await;
    office.end(DeployState::RolledOut);
    assert_eq!(gateway.says("v2 runs everywhere").await.0, "1");
    assert_eq!(office.ordered().len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn the_end_is_told_when_the_message_that_showed_it_is_gone() {
    let world = World::start().await;
    let gone = |number: &str| (!matches!(number, "0" | "1")).then_some(DropReason::NotFound);
    let gateway = Gateway::refusing(&world.bus, Platform::Discord, gone).await;
    let office = Office::default();
    let _deployer = office.deployer(&world.bus).await;
    let worker = worker(&world).await;
    say(&world, &discord(1, "!update"), "1").await;
    gateway.says("looking").await;
    office.end(DeployState::RolledOut);
    let end = gateway.says("v2 runs everywhere").await;
    assert_eq!((end.0.as_str(), end.1), ("1", None));
    worker.stop().await;
}

#[tokio::test]
async fn an_end_that_could_not_be_shown_is_told_once_more() {
    let world = World::start().await;
    let forbidden = |number: &str| matches!(number, "1" | "4294967295").then_some(DropReason::Forbidden);
    let gateway = Gateway::refusing(&world.bus, Platform::Discord, forbidden).await;
    let office = Office::default();
    let _deployer = office.deployer(&world.bus).await;
    let worker = worker(&world).await;
    say(&world, &discord(1, "!update"), "1").await;
    assert_eq!(gateway.says("looking").await.1, message());
    office.end(DeployState::RolledOut);
    let ends = eventually(LATER, || async {
        let said = gateway.said();
        let ends: Vec<_> = said.iter().filter(|one| one.2.contains("v2 runs everywhere")).cloned().collect();
        if ends.len() == 2 { Ok(ends) } else { Err(said) }
    })
    .await;
    assert_eq!((ends[0].0.as_str(), ends[0].1.clone()), ("1", message()));
    assert_eq!((ends[1].0.as_str(), ends[1].1.clone()), ("4294967295", None));
    worker.stop().await;
    assert_eq!(gateway.said().last(), ends.last(), "not a third time");
}

#[tokio::test]
async fn a_stranger_is_told_so_and_a_crowd_of_them_once() {
    let world = World::start().await;
    let (office, gateway) = (Office::default(), Gateway::start(&world.bus, Platform::Twitch).await);
    let _deployer = office.deployer(&world.bus).await;
    // Nobody is named: not even who owns the channel runs the bot.
    let worker = world.worker(commands::ALL).await;
    for n in 1..=20 {
        world.store(&event(n, "!update", Rank::Owner), &n.to_string()).await;
    }
    worker.counts("commands_passed_total.cooldown", 19.0).await;
    assert!(gateway.says("OWNER_ID").await.2.starts_with("only whoever runs this bot"));
    let mut options = std::collections::BTreeMap::new();
    options.insert("force".to_owned(), OptionValue::Bool(true));
    let body = protocol::InteractionBody::Command { name: "update".to_owned(), options };
    let ResponseBody::Reply { content, ephemeral: true } = world.ask(30, "en", body).await else {
        panic!("a refusal is for the person alone")
    };
    assert!(content.text.contains("OWNER_ID"), "{}", content.text);
    assert_eq!((gateway.said().len(), office.ordered().len()), (1, 0));
    worker.stop().await;
}
