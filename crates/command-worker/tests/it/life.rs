//! The life of a worker: start, loss of a worker, loss of NATS, shutdown.

use std::{process::Stdio, sync::atomic::Ordering, time::Duration};

use bus::BucketName;
use protocol::{
    ActionId, Catalogue, CommunityId, EventId, Outcome, OutcomeBody, Platform, VERSION, control::Restart,
    subject,
};
use testkit::eventually;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    sample::{self, BEGUN, GATE, HUNG},
    world::{SOON, World, said, slash},
};

#[tokio::test]
async fn the_catalogue_is_written_once_by_workers_of_one_version() {
    let world = World::start().await;
    let bucket = world.bus.bucket(BucketName::Settings).await.unwrap();
    let one = world.worker(commands::ALL).await;
    let first = bucket.entry::<Catalogue>("catalogue").await.unwrap().unwrap();
    assert_eq!(first.value, commands::catalogue(commands::ALL));
    let two = world.worker(commands::ALL).await;
    assert_eq!(bucket.entry::<Catalogue>("catalogue").await.unwrap().unwrap(), first);
    let other = world.worker(sample::COMMANDS).await;
    let changed = bucket.entry::<Catalogue>("catalogue").await.unwrap().unwrap();
    assert_eq!(changed.value.commands.len(), sample::COMMANDS.len());
    bucket.put("catalogue", &"what an old version wrote").await.unwrap();
    let again = world.worker(commands::ALL).await;
    assert_eq!(bucket.get::<Catalogue>("catalogue").await.unwrap(), Some(first.value));
    for worker in [one, two, other, again] {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_leaves_its_event_to_another() {
    let world = World::start().await;
    let lost = world.worker(sample::COMMANDS).await;
    world.say(1, "!hang").await;
    eventually(SOON, || async { if HUNG.load(Ordering::SeqCst) == 1 { Ok(()) } else { Err("not begun") } })
        .await;
    lost.kill().await;
    let other = world.worker(sample::COMMANDS).await;
    assert_eq!(world.heard().await, "not hanging");
    world.backlog("EVENTS", 0).await;
    other.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_finishes_what_it_began_and_gives_the_rest_back() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    world.say(1, "!gated").await;
    world.say(2, "!fail").await;
    eventually(SOON, || async {
        let (begun, held) = (BEGUN.load(Ordering::SeqCst), worker.number("in_flight"));
        if begun == 1 && held > 1.5 { Ok(()) } else { Err((begun, held)) }
    })
    .await;
    worker.context.shutdown.cancel();
    let next = world.worker(sample::COMMANDS).await;
    // The second waits behind the first still, until the first is answered.
    GATE.add_permits(1);
    let heard = world.actions(2).await;
    assert_eq!(said(&heard[0]), "through the gate");
    assert!(said(&heard[1]).starts_with("sorry"));
    assert_eq!(next.number("errors_total.failed"), 1.0);
    worker.task.await.unwrap().unwrap();
    world.backlog("EVENTS", 0).await;
    next.stop().await;
}

#[tokio::test]
async fn goes_on_after_nats_was_away() {
    let mut world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    world.nats.kill();
    worker.becomes_ready(false).await;
    world.nats.resume().await;
    worker.becomes_ready(true).await;
    world.say(1, "!greet").await;
    assert_eq!(world.heard().await, "hello Ines");
    // The group of those who answer interactions is joined again, too.
    world.ask(2, "en-GB", slash("fail")).await;
    worker.stop().await;
}

/// The other reader of a Twitch channel may be late with its copy.
#[tokio::test]
async fn a_copy_that_comes_after_nats_was_restarted_is_not_answered_again() {
    let mut world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    world.say(1, "!greet").await;
    assert_eq!(world.heard().await, "hello Ines");
    world.backlog("EVENTS", 0).await;
    world.nats.kill();
    worker.becomes_ready(false).await;
    world.nats.resume().await;
    worker.becomes_ready(true).await;
    world.say(1, "!greet").await;
    world.say(2, "!fail").await;
    assert!(world.heard().await.starts_with("sorry"));
    assert_eq!(worker.number("commands_passed_total.again"), 1.0);
    worker.stop().await;
}

#[tokio::test]
async fn ping_knows_how_long_the_last_answer_took() {
    let world = World::start().await;
    let worker = world.worker(commands::ALL).await;
    let cause = EventId::of_platform(Platform::Twitch, "1").unwrap();
    let action: ActionId = cause.action(0);
    let community = CommunityId::from(1);
    let body = OutcomeBody::Sent { message: None, platform_us: 42_000, total_us: 43_000 };
    let outcome = Outcome { v: VERSION, action, platform: Platform::Twitch, community, at_ms: 1, body };
    let subject = subject::outcome(outcome.platform, &outcome.community);
    world.bus.notify(subject, &outcome, None).await.unwrap();
    world.bus.round_trip().await;
    world.say(2, "!ping").await;
    let heard = world.heard().await;
    assert!(heard.ends_with("last request to Twitch 42 ms · last answer in all 43 ms"), "{heard}");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_without_streams_says_what_to_do() {
    let nats = testkit::Nats::start().await;
    let nats = service::NatsLogin::at(nats.url());
    let config = command_worker::Config { nats, ..command_worker::Config::default() };
    let context = service::Context::new("command-worker");
    let started = timeout(Duration::from_secs(20), command_worker::run(context, config)).await;
    let text = format!("{:#}", started.unwrap().unwrap_err());
    assert!(text.contains("vigie provision"), "{text}");
}

#[tokio::test]
async fn a_worker_that_waits_for_nats_ends_at_once() {
    let nats = service::NatsLogin::at(format!("nats://127.0.0.1:{}", testkit::free_port()));
    let config = command_worker::Config { nats, ..command_worker::Config::default() };
    let context = service::Context::new("command-worker");
    context.shutdown.cancel();
    command_worker::run(context, config).await.unwrap();
}

#[tokio::test]
async fn the_binary_is_ready_when_it_works_and_ends_well_on_a_signal() {
    let world = World::start().await;
    let binary = Binary::of(&world);
    let mut worker = binary.ready().await;
    world.say(1, "!about").await;
    assert!(world.heard().await.contains("0.1.0 ("));
    let pid = worker.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = timeout(SOON, worker.wait()).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_worker_that_is_told_to_start_again_ends_in_order_and_others_go_on() {
    let world = World::start().await;
    let (first, second) = (Binary::of(&world), Binary::of(&world));
    let (mut told, _other) = (first.ready().await, second.ready().await);
    let order = Restart {
        v: VERSION,
        by: "test".to_owned(),
        reason: "to see that it does".to_owned(),
        instance: Some(first.instance.clone()),
    };
    let answer = world.bus.command_restart("command-worker", &order, SOON).await.unwrap();
    assert_eq!(answer.instance, first.instance);
    let status = timeout(SOON, told.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(i32::from(service::EXIT_START_AGAIN)));
    world.say(1, "!about").await;
    assert!(world.heard().await.contains("0.1.0 ("));
}

/// The real binary, with an address and a name of its own.
struct Binary {
    nats_url: String,
    address: String,
    instance: String,
}

impl Binary {
    fn of(world: &World) -> Self {
        let port = testkit::free_port();
        let (address, instance) = (format!("127.0.0.1:{port}"), format!("worker-{port}"));
        Self { nats_url: world.nats.url(), address, instance }
    }

    /// Starts it, and waits until it is ready.
    async fn ready(&self) -> Child {
        let child = self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually(SOON, || async {
            let probe = self.command().arg("--probe").output().await.unwrap();
            let said = || String::from_utf8_lossy(&probe.stderr).into_owned();
            if probe.status.success() { Ok(()) } else { Err(said()) }
        })
        .await;
        child
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_command-worker"));
        command.env("NATS_URL", &self.nats_url).env("VIGIE_HTTP_ADDR", &self.address);
        command.env("VIGIE_INSTANCE", &self.instance).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}
