//! A gateway dies at each point of publishing one command, and another goes on: nothing is lost, nothing
//! comes twice, and the resume cursor never says more than JetStream has acknowledged.

use std::{
    future::ready,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bus::{BucketName, Subscription};
use discord_gateway::cursor::Cursor;
use protocol::Event;
use sandbox::people::Person;
use testkit::{Point, Wire, eventually, free_port};
use tokio::{task::JoinSet, time::timeout};

use crate::rig::{LONG, Rig};

/// Where the cursor of the only shard is written to.
const CURSOR: &str = "PUB $KV.session.discord.*.0.1";

/// Where it dies, and whether its cursor may be past the command by then.
fn points() -> [(&'static str, Point, bool); 5] {
    let stored = r#""stream":"EVENTS""#;
    [
        ("before the publish", Point::before("PUB event.>"), false),
        ("after the publish, before the acknowledgement", Point::after("PUB event.>"), false),
        ("after the acknowledgement", Point::after("MSG _INBOX_discord-gateway.>").holding(stored), false),
        ("before the cursor is written", Point::before(CURSOR).since("PUB event.>"), false),
        ("after the cursor is written", Point::after(CURSOR).since("PUB event.>"), true),
    ]
}

/// How another gateway comes, and whether the first one comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A supervisor starts it again under its name.
    Restarted,
    /// It does not reach NATS any more; another takes over, and then it is reached again.
    Thawed,
}

#[tokio::test]
async fn a_gateway_that_is_killed_at_any_point_of_a_publish_loses_and_doubles_nothing() {
    all(points().into_iter().map(|(name, point, past)| die(name, point, past, Then::Restarted))).await;
}

#[tokio::test]
async fn a_gateway_that_is_cut_off_at_any_point_of_a_publish_adds_nothing_when_it_is_back() {
    all(points().into_iter().map(|(name, point, past)| die(name, point.frozen(), past, Then::Thawed))).await;
}

async fn all(cases: impl IntoIterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut running: JoinSet<()> = cases.into_iter().map(Box::pin).collect();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn die(name: &str, point: Point, past: bool, then: Then) {
    let rig = Rig::start().await;
    let mut events = rig.bus.subscribe("event.>").await.unwrap();
    rig.bus.round_trip().await;
    let wire = Wire::start(&rig.nats).await;
    let mut gateway = Process::start(&rig, wire.url(), "one");
    let key = key_of_the_cursor(&wire).await;
    // All that belongs to the start is done.
    until_cursor(&rig, &key, |cursor| cursor >= 2 && cursor == last_sequence(&rig)).await;

    wire.die(point);
    let said = rig.sandbox.discord().say(Person::Max, &rig.general(), "!here").unwrap();
    wire.died(LONG).await;
    if then == Then::Restarted {
        gateway.kill();
    }
    let (sequence, left) = (last_sequence(&rig), cursor(&rig, &key).await);
    assert!(left < sequence || past && left == sequence, "{name}: {left}, and the command is {sequence}");

    let other = if then == Then::Restarted { "one" } else { "two" };
    let mut other = Process::start(&rig, rig.nats.url(), other);
    rig.sandbox.counters().wait("discord.gateway.resume", 1, LONG).await.unwrap();
    until_cursor(&rig, &key, |cursor| cursor > sequence).await;
    if then == Then::Thawed {
        let reached = cursor(&rig, &key).await;
        wire.thaw();
        gateway.stop().await;
        assert!(cursor(&rig, &key).await >= reached, "{name}: the cursor is the other's");
    }
    other.kill();
    let backlogs = bus::backlogs(&rig.bus).await;
    let stored = backlogs.iter().find(|backlog| backlog.stream == "EVENTS").map(|backlog| backlog.messages);
    assert_eq!(stored, Some(1), "{name}");
    let published = published(&mut events).await;
    assert!(
        !published.is_empty() && published.iter().all(|id| *id == format!("discord:{said}")),
        "{name}: {published:?}"
    );
    let counters = rig.sandbox.counters();
    assert_eq!(counters.get("discord.gateway.identify"), 1, "{name}: the session was resumed");
    let replayed = counters.get("discord.gateway.resumed_replayed");
    assert_eq!(replayed, u64::from(left < sequence), "{name}: what was not acknowledged came again");
}

/// The sequence of what was dispatched last: there is only one session.
fn last_sequence(rig: &Rig) -> u64 {
    let counters = rig.sandbox.counters().all();
    counters.iter().filter(|(name, _)| name.starts_with("discord.gateway.dispatch.")).map(|(_, n)| n).sum()
}

/// The key under which the gateway writes its cursor, once it did.
async fn key_of_the_cursor(wire: &Wire) -> String {
    eventually(LONG, || async {
        let passed = wire.passed();
        let mut keys =
            passed.iter().filter_map(|frame| frame.split(' ').nth(2)?.strip_prefix("$KV.session."));
        let key = keys.rfind(|key| key.ends_with(".0.1")).map(str::to_owned);
        key.ok_or(passed)
    })
    .await
}

/// Up to where the stored cursor says that everything is done; 0 without a session.
async fn cursor(rig: &Rig, key: &str) -> u64 {
    let bucket = rig.bus.bucket(BucketName::Session).await.unwrap();
    let kept = bucket.get::<Option<Cursor>>(key).await.unwrap().flatten();
    kept.map_or(0, |cursor| cursor.sequence)
}

async fn until_cursor(rig: &Rig, key: &str, wanted: impl Fn(u64) -> bool) {
    eventually(LONG, || async {
        let cursor = cursor(rig, key).await;
        if wanted(cursor) { Ok(()) } else { Err((cursor, last_sequence(rig))) }
    })
    .await;
}

/// The ids of the events that were published until now, also of those that their stream dropped as known.
async fn published(events: &mut Subscription) -> Vec<String> {
    let mut ids = Vec::new();
    while let Ok(Some(incoming)) = timeout(Duration::from_millis(100), events.next()).await {
        ids.push(incoming.decode::<Event>().unwrap().id.as_str().to_owned());
    }
    ids
}

/// The real binary, so that nothing of it is left when it is killed.
struct Process(Child);

impl Process {
    fn start(rig: &Rig, nats_url: String, instance: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_discord-gateway"));
        command.env_clear().envs(rig.settings()).env("NATS_URL", nats_url);
        command.env("VIGIE_HTTP_ADDR", format!("127.0.0.1:{}", free_port()));
        command.env("VIGIE_INSTANCE", instance);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits until it has ended in its own way.
    async fn stop(&mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        eventually(LONG, || ready(self.0.try_wait().unwrap().ok_or("it runs"))).await;
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
