//! A gateway dies at each point of one action, and another goes on: what must be done once is not done
//! twice, and what may be done twice is done again under the same id alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use actions::{Act, Actions, Carried, Errand, Numbers, Sent};
use bus::{Bus, Handover, Lease, Message, Options};
use protocol::{
    Action, ActionBody, CommunityId, Content,
    Delivery::{self, AtLeastOnce, AtMostOnce},
    EventId, Outcome, OutcomeBody, Platform, VERSION, subject,
};
use service::{Context, clock};
use testkit::{Nats, Point, Wire, eventually};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
    time::{Duration, timeout},
};

use crate::rig::{A_WHILE, SOON, channel};

const PARTITION: u16 = 3;

/// How often one of the two did the action, and whether its outcome was told.
#[derive(Debug, PartialEq, Eq)]
struct End {
    first: usize,
    second: usize,
    told: bool,
}

const fn end(first: usize, second: usize, told: bool) -> End {
    End { first, second, told }
}

#[tokio::test]
async fn a_gateway_that_is_killed_at_any_point_has_done_at_most_once_what_must_not_be_done_twice() {
    let claim = || Point::before("PUB $JS.ACK.>").holding("+ACK");
    let claimed = || Point::after("PUB $JS.ACK.>").holding("+ACK");
    killed(
        AtMostOnce,
        [
            ("delivered, not begun", Point::after("MSG action.>"), end(0, 1, true)),
            ("not claimed", claim(), end(0, 1, true)),
            // Nobody can tell whether it was done, so nobody does it: the process died of it.
            ("claimed, not confirmed", claimed(), end(0, 0, false)),
            ("confirmed, not done", Point::after("MSG _INBOX.>").since("PUB $JS.ACK.>"), end(0, 0, false)),
            ("done, not told", Point::before("PUB outcome.>"), end(1, 0, false)),
            ("done and told", Point::after("PUB outcome.>"), end(1, 0, true)),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_may_be_done_twice_is_done_again_by_the_next_until_it_was_acknowledged() {
    killed(
        AtLeastOnce,
        [
            ("delivered, not begun", Point::after("MSG action.>"), end(0, 1, true)),
            ("done, not told", Point::before("PUB outcome.>"), end(1, 1, true)),
            ("told, not acknowledged", Point::before("PUB $JS.ACK.>"), end(1, 1, true)),
            ("acknowledged", Point::after("PUB $JS.ACK.>"), end(1, 0, true)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_gateway_that_stands_still_at_any_point_and_goes_on_later_does_nothing_twice() {
    let mut cases = JoinSet::new();
    for (name, point) in [
        ("delivered, not begun", Point::after("MSG action.>")),
        ("not claimed", Point::before("PUB $JS.ACK.>")),
        ("claimed, not confirmed", Point::after("PUB $JS.ACK.>")),
        ("done, not told", Point::before("PUB outcome.>")),
    ] {
        cases.spawn(Box::pin(async move {
            let seen = die(AtMostOnce, point.frozen(), "two").await;
            assert!(seen.first + seen.second <= 1, "{name}: {seen:?}");
            assert!(seen.told, "{name}: nobody died, so it has an outcome: {seen:?}");
        }));
    }
    while let Some(ended) = cases.join_next().await {
        ended.unwrap();
    }
}

async fn killed<const N: usize>(delivery: Delivery, cases: [(&'static str, Point, End); N]) {
    let mut running = JoinSet::new();
    for (name, point, expected) in cases {
        running.spawn(Box::pin(async move {
            let seen = die(delivery, point, "one").await;
            assert_eq!(seen, expected, "{delivery:?}: {name}");
        }));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// One gateway, `one`, has one action and dies there; then the other has its partitions. When that is the
/// same one again, the first was killed; else it stood still, and goes on when nothing is left to be done.
async fn die(delivery: Delivery, point: Point, other: &'static str) -> End {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut outcomes = bus.subscribe("outcome.>").await.unwrap();
    bus.round_trip().await;
    let wire = Arc::new(Wire::start(&nats).await);
    let platform = Arc::default();

    let first = Gateway::start(&wire.url(), "one", Some(wire.clone()), &platform).await;
    wire.die(point);
    let action = ask(&bus, delivery).await;
    wire.died(SOON).await;
    let restarted = other == "one";
    if restarted {
        first.task.abort();
    }
    let second = Gateway::start(&nats.url(), other, None, &platform).await;
    eventually(SOON * 2, || async {
        let backlogs = bus::backlogs(&bus).await;
        let left = backlogs.iter().find(|it| it.stream == "ACTIONS_DISCORD").map(|it| it.messages);
        if left == Some(0) { Ok(()) } else { Err((left, wire.passed())) }
    })
    .await;
    if !restarted {
        wire.thaw();
        first.stop().await;
    }
    second.stop().await;

    let done = platform.lock().unwrap().clone();
    assert!(done.iter().all(|(_, id)| *id == action.id.as_str()), "{done:?}");
    let mut told = Vec::new();
    while let Ok(incoming) = timeout(A_WHILE, outcomes.next()).await {
        told.push(incoming.unwrap().decode::<Outcome>().unwrap().body);
    }
    let is_told = !told.is_empty();
    let sent = told.iter().filter(|body| matches!(body, OutcomeBody::Sent { .. })).count();
    assert!(sent <= done.len(), "nothing is said to be done that was not: {told:?}, {done:?}");
    let by = |who: bool| done.iter().filter(|(is_first, _)| *is_first == who).count();
    End { first: by(true), second: by(false), told: is_told }
}

async fn ask(bus: &Bus, delivery: Delivery) -> Action {
    let cause = EventId::of_platform(Platform::Discord, "1").unwrap();
    let action = Action {
        v: VERSION,
        id: cause.action(0),
        platform: Platform::Discord,
        community: CommunityId::direct(),
        channel: channel(PARTITION),
        cause,
        cause_received_us: clock::unix_us(),
        expires_at_ms: clock::unix_ms() + 60_000,
        delivery,
        body: ActionBody::Send { content: Content::text("hello") },
    };
    let subject = subject::action(action.platform, &action.channel, &action.community);
    bus.store(&Message::new(subject, action.id.as_str(), &action).unwrap()).await.unwrap();
    action
}

/// What was done, whether by the first gateway, and under which id.
type Record = Arc<Mutex<Vec<(bool, String)>>>;

/// A platform that takes everything, for as long as the process lives that gives it.
struct Stage {
    wire: Option<Arc<Wire>>,
    done: Record,
}

impl Act for Stage {
    const PLATFORM: Platform = Platform::Discord;

    async fn act(&self, action: &Action, errand: &Errand<'_>) -> Carried {
        if let Err(ended) = errand.commit().await {
            return ended;
        }
        if let Some(wire) = &self.wire {
            wire.alive().await;
        }
        self.done.lock().unwrap().push((self.wire.is_some(), action.id.as_str().to_owned()));
        Carried::Done(Sent { message: None, took: Duration::from_millis(1) })
    }
}

/// A gateway that has the partition.
struct Gateway {
    ctx: Context,
    lease: Arc<Lease>,
    task: JoinHandle<Result<(), JoinError>>,
}

impl Gateway {
    async fn start(url: &str, instance: &str, wire: Option<Arc<Wire>>, done: &Record) -> Self {
        let ctx = Context::new("test");
        let bus = Bus::connect(Options { url: url.to_owned(), name: instance.to_owned() }).await.unwrap();
        let wanted = BTreeMap::from([(format!("partition-{PARTITION}"), Handover::DrainFirst)]);
        let lease = Arc::new(bus.join("test", instance, watch::channel(wanted).1).await.unwrap());
        let stage = Stage { wire, done: done.clone() };
        let actions = Actions::new(bus, stage, Numbers::new(&ctx.metrics), ctx.health.component("actions"));
        let task = tokio::spawn(actions.run_leased(lease.clone(), ctx.shutdown.clone()));
        let mut held = lease.held();
        let owns = held.wait_for(|held| !held.owned.is_empty());
        timeout(SOON, owns).await.expect("it has the partition").unwrap();
        Self { ctx, lease, task }
    }

    /// Stops it as SIGTERM does.
    async fn stop(self) {
        self.ctx.shutdown.cancel();
        timeout(SOON, self.task).await.expect("it stops in time").unwrap().unwrap();
        self.lease.leave(Duration::ZERO).await;
    }
}
