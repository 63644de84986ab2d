//! A worker dies at each point of one command, and another goes on: the reply comes once.

use std::{collections::BTreeMap, future::pending, sync::LazyLock, time::Duration};

use bus::{Stream, Subscription};
use command_worker::Config;
use commands::{Answer, Ask, Definition, Failure};
use protocol::{Action, ChannelId, Event, EventBody, Platform, Rank, subject};
use service::Context;
use testkit::{Point, Wire, eventually};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    sample,
    world::{SOON, Worker, World, channel, event, said},
};

/// Another has taken over by then, and what was on its way has come again.
const TAKEN_OVER: Duration = Duration::from_secs(25);
/// How often a worker may die of one event.
const DEATHS: usize = 10;

/// Where a worker dies, by what it has said last, or would have said next.
fn named_points() -> [(&'static str, Point); 7] {
    [
        ("the event is delivered", Point::after("MSG event.>")),
        ("before the cooldown is taken", Point::before("PUB once.>")),
        ("the cooldown is taken, and that is not known", Point::after("PUB once.>")),
        ("before the reply is published", Point::before("PUB action.>")),
        ("the reply is published, and that is not known", Point::after("PUB action.>")),
        ("before the event is acknowledged", Point::before("PUB $JS.ACK.EVENTS.>")),
        ("the event is acknowledged", Point::after("PUB $JS.ACK.EVENTS.>")),
    ]
}

/// How the other worker comes, and whether the first one comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// A supervisor starts it again under its name.
    Restarted,
    /// It stood still; another takes over, and then it goes on.
    Thawed,
}

#[tokio::test]
async fn a_worker_that_is_killed_at_any_named_point_leaves_one_reply() {
    let cases = named_points().into_iter().map(|(name, point)| die(name.to_owned(), point, Then::Restarted));
    all(cases).await;
}

#[tokio::test]
async fn a_worker_that_stands_still_at_any_named_point_and_goes_on_later_adds_nothing() {
    let cases =
        named_points().into_iter().map(|(name, point)| die(name.to_owned(), point.frozen(), Then::Thawed));
    all(cases).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_after_any_frame_leaves_one_reply() {
    let frames = frames_of_a_command().await;
    assert!(frames >= 3, "the cooldown, the reply, the acknowledgement: {frames}");
    let cases = (1..=frames).map(|nth| {
        let point = Point::after("SEND").since("MSG event.>").nth(nth);
        die(format!("after frame {nth} of {frames}"), point, Then::Restarted)
    });
    all(cases).await;
}

#[tokio::test]
async fn an_event_that_kills_its_worker_each_time_is_put_away_and_its_neighbours_are_answered_once() {
    poison("!deadly", &KILLED, Wire::kill).await;
}

#[tokio::test]
async fn an_event_that_hangs_its_worker_each_time_is_put_away_and_its_neighbours_are_answered_once() {
    poison("!hanging", &HUNG, Wire::freeze).await;
}

#[tokio::test]
async fn a_command_that_never_ends_is_answered_with_an_apology_and_keeps_nobody_else_waiting() {
    let world = World::start().await;
    let mut ear = Ear::start(&world).await;
    let worker = start(&world.nats.url(), "one").await;
    world.store(&asked(1, "!endless", &channel()), "1").await;
    world.store(&asked(2, "!greet", &channel()), "2").await;
    world.store(&asked(3, "!greet", &neighbour(true)), "3").await;
    assert_eq!(ear.next().await, ("twitch:3:0".to_owned(), "hello".to_owned()));
    let (id, text) = ear.next().await;
    assert!(id == "twitch:1:0" && text.starts_with("sorry"), "{id}: {text}");
    assert_eq!(ear.next().await, ("twitch:2:0".to_owned(), "hello".to_owned()));
    world.backlog("EVENTS", 0).await;
    worker.stop().await;
}

/// One worker has one command and dies there; another, or itself again, has it then.
async fn die(name: String, point: Point, then: Then) {
    let world = World::start().await;
    let mut ear = Ear::start(&world).await;
    let wire = Wire::start(&world.nats).await;
    let config = |url| Config { nats: service::NatsLogin::at(url), ..Config::default() };
    let first = run(config(wire.url()), "one", sample::COMMANDS).await;
    wire.die(point);
    world.say(7, "!greet").await;
    wire.died(SOON).await;
    let (second, zombie) = match then {
        Then::Restarted => {
            first.kill().await;
            (run(config(world.nats.url()), "one", sample::COMMANDS).await, None)
        }
        Then::Thawed => (run(config(world.nats.url()), "two", sample::COMMANDS).await, Some(first)),
    };
    let acknowledged = timeout(TAKEN_OVER, until(&world, "EVENTS", 0)).await;
    assert!(acknowledged.is_ok(), "{name}: the event is still there; passed: {:#?}", wire.passed());
    if let Some(zombie) = zombie {
        wire.thaw();
        zombie.context.shutdown.cancel();
        // Who has lost everything may end with an error; it has said its last word in any case.
        let _ = timeout(TAKEN_OVER, zombie.task).await.expect("it ends").unwrap();
    }
    second.stop().await;
    let expected = BTreeMap::from([("twitch:7:0".to_owned(), "hello Ines".to_owned())]);
    assert_eq!(ear.heard().await, expected, "{name}: the answer is not kept back by its own cooldown");
    for (stream, messages) in [("EVENTS", 0), ("ACTIONS_TWITCH", 1), ("DEAD", 0)] {
        assert_eq!(count(&world, stream).await, Some(messages), "{name}: {stream}");
    }
}

/// An event costs one worker after the other, each started again under its name, until it is put away.
async fn poison(line: &str, begun: &watch::Sender<u32>, end: fn(&Wire)) {
    let world = World::start().await;
    let mut ear = Ear::start(&world).await;
    let mut begun = begun.subscribe();
    let (here, near, far) = (channel(), neighbour(true), neighbour(false));
    for (n, channel) in [(1, &here), (2, &near), (3, &far), (4, &here), (5, &here), (6, &near), (7, &far)] {
        let text = if n == 4 { line } else { "!greet" };
        world.store(&asked(n, text, channel), &n.to_string()).await;
    }
    let mut dead = Vec::new();
    loop {
        let wire = Wire::start(&world.nats).await;
        let config = Config { nats: service::NatsLogin::at(wire.url()), ..Config::default() };
        // It may begin what ends it while another partition waits for that, and it is not ready.
        let worker = launch(config, "one", COMMANDS);
        tokio::select! {
            _ = begun.changed() => {}
            () = until(&world, "EVENTS", 0) => {
                worker.stop().await;
                break;
            }
        }
        end(&wire);
        worker.kill().await;
        dead.push(wire);
        assert!(dead.len() < DEATHS, "it dies again and again");
    }
    assert!(dead.len() > 1, "once may be chance, and is tried again");
    let answers = ear.heard().await;
    let answered: Vec<_> = answers.keys().map(String::as_str).collect();
    let others = ["twitch:1:0", "twitch:2:0", "twitch:3:0", "twitch:5:0", "twitch:6:0", "twitch:7:0"];
    assert_eq!(answered, others, "after {} deaths", dead.len());
    assert_eq!(put_away(&world).await, ["4"], "after {} deaths", dead.len());
    assert_eq!(count(&world, "ACTIONS_TWITCH").await, Some(6));
}

/// How many frames a worker sends for one command, from its delivery up to its acknowledgement.
async fn frames_of_a_command() -> usize {
    let world = World::start().await;
    let wire = Wire::start(&world.nats).await;
    let config = Config { nats: service::NatsLogin::at(wire.url()), ..Config::default() };
    let worker = run(config, "one", sample::COMMANDS).await;
    wire.die(Point::after("MSG never"));
    world.say(7, "!greet").await;
    world.backlog("EVENTS", 0).await;
    let passed = wire.passed();
    worker.stop().await;
    let delivered = passed.iter().position(|frame| frame.starts_with("< HMSG event.")).unwrap();
    let done = passed.iter().position(|frame| frame.starts_with("> PUB $JS.ACK.EVENTS.")).unwrap();
    let mine = |frame: &&String| frame.starts_with('>') && !frame.contains(" PING ");
    passed[delivered..=done].iter().filter(mine).count()
}

/// Runs them at the same time: they wait, most of the time.
async fn all(cases: impl IntoIterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut running: JoinSet<()> = cases.into_iter().map(Box::pin).collect();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// Hears every reply that is published, also one that its stream drops as known.
struct Ear(Subscription);

impl Ear {
    async fn start(world: &World) -> Self {
        let ear = Self(world.bus.subscribe("action.>").await.unwrap());
        world.bus.round_trip().await;
        ear
    }

    /// The next one: its id, and what it says.
    async fn next(&mut self) -> (String, String) {
        let incoming = timeout(SOON, self.0.next()).await.expect("a reply").unwrap();
        let action: Action = incoming.decode().unwrap();
        (action.id.as_str().to_owned(), said(&action).to_owned())
    }

    /// All that were published until now.
    async fn heard(&mut self) -> BTreeMap<String, String> {
        let mut heard = BTreeMap::new();
        while let Ok(Some(incoming)) = timeout(Duration::from_millis(100), self.0.next()).await {
            let action: Action = incoming.decode().unwrap();
            heard.insert(action.id.as_str().to_owned(), said(&action).to_owned());
        }
        heard
    }
}

async fn start(url: &str, instance: &str) -> Worker {
    let config = Config { nats: service::NatsLogin::at(url), ..Config::default() };
    run(config, instance, COMMANDS).await
}

async fn run(config: Config, instance: &str, commands: &'static [&'static Definition]) -> Worker {
    let worker = launch(config, instance, commands);
    // It has no parts to be ready before it has begun.
    tokio::task::yield_now().await;
    worker.becomes_ready(true).await;
    worker
}

/// A worker that may end before it is ready.
fn launch(config: Config, instance: &str, commands: &'static [&'static Definition]) -> Worker {
    let context = Context { instance: instance.to_owned(), ..Context::new("command-worker") };
    let task = tokio::spawn(command_worker::run_commands(context.clone(), config, commands));
    Worker { context, task }
}

/// The ids of the events that were put away.
async fn put_away(world: &World) -> Vec<String> {
    let (letters, mut ids, mut number) = (world.bus.dead_letters(Some(Stream::Events)), Vec::new(), 0);
    while let Some(letter) = letters.next(number).await.unwrap() {
        ids.push(letter.id.unwrap_or_default());
        number = letter.number + 1;
    }
    ids
}

async fn count(world: &World, stream: &str) -> Option<u64> {
    let backlogs = bus::backlogs(&world.bus).await;
    backlogs.iter().find(|backlog| backlog.stream == stream).map(|backlog| backlog.messages)
}

async fn until(world: &World, stream: &str, messages: u64) {
    eventually(2 * TAKEN_OVER, || async {
        let found = count(world, stream).await;
        if found == Some(messages) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Another channel, of the partition of the test's channel or of another one.
fn neighbour(same: bool) -> ChannelId {
    let here = subject::partition(&channel());
    let mut channels = (100_u64..).map(ChannelId::from);
    channels.find(|channel| (subject::partition(channel) == here) == same).unwrap()
}

fn asked(n: u64, text: &str, channel: &ChannelId) -> Event {
    let mut event = event(n, text, Rank::Everyone);
    let EventBody::Command(command) = &mut event.body else { unreachable!("made as a command") };
    command.message.channel = channel.clone();
    event
}

/// How many uses of `deadly` and of `hanging` have begun.
static KILLED: Begun = LazyLock::new(watch::Sender::default);
static HUNG: Begun = LazyLock::new(watch::Sender::default);
type Begun = LazyLock<watch::Sender<u32>>;

static COMMANDS: &[&Definition] = &[&DEADLY, &ENDLESS, &GREET, &HANGING];
static DEADLY: Definition = Definition { name: "deadly", run: |_| Box::pin(begin(&KILLED)), ..GREET };
static ENDLESS: Definition = Definition { name: "endless", run: |_| Box::pin(pending()), ..GREET };
static HANGING: Definition = Definition { name: "hanging", run: |_| Box::pin(begin(&HUNG)), ..GREET };
static GREET: Definition = Definition {
    name: "greet",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |ask| Box::pin(greet(ask)),
};

async fn greet(_: &Ask) -> Result<Answer, Failure> {
    Ok(Answer::text("hello"))
}

/// The test ends whoever begins it.
async fn begin(begun: &watch::Sender<u32>) -> Result<Answer, Failure> {
    begun.send_modify(|begun| *begun += 1);
    pending().await
}
