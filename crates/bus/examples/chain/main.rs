//! The bus alone under load: a command goes from a gateway through NATS to a worker, and its answer back.
//! `cargo xtask bench --bus` runs it and measures it from outside, together with the server.
//!
//! ```text
//! chain NATS_URL stored|bare|told RATE SECONDS
//! ```
//!
//! `stored` is how Vigie does it: both messages are stored, and acknowledged once they are done; the streams
//! must be there. `bare` does the same with the client library alone, the floor. `told` publishes and subscribes without any of that, for comparison; for both, no stream may be there.
//! `RATE` is in commands per second; 0 is as many as go. It warms up, writes `ready`, waits for a line, runs,
//! writes one line of JSON, and ends with its standard input.

mod bare;

use std::{
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Bus, Consumer, Incoming, Message, Options, Outbox, Queue, Subscription};
use protocol::{
    Action, ActionBody, Author, ChannelId, ChatMessage, Command, Content, Delivery, Event, EventBody,
    EventId, Platform, Rank, VERSION, subject,
};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Commands on their way at a time, from the gateway until the gateway has the answer.
const ON_THEIR_WAY: usize = 512;
/// Messages that the gateway has sent and that are not acknowledged, as in the Discord gateway.
const OUTBOX: usize = 256;
/// Commands that the worker runs at a time.
const WORKING: usize = 64;
/// Messages taken ahead of each partition.
const AHEAD: usize = 16;
/// The size of the payload of a command, in bytes.
const EVENT_BYTES: usize = 400;
/// Channels that talk, in all partitions.
const CHANNELS: u64 = 256;
/// How long it runs before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the last answers may take.
const GRACE: Duration = Duration::from_secs(10);
/// Latencies that are kept; more only count.
const MOST_SAMPLES: usize = 1_000_000;
const PLATFORM: Platform = Platform::Discord;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Where the gateway sends commands, by how they travel.
enum Out {
    Stored(Outbox<()>),
    Bare(bare::Outbox),
    Told(Bus),
}

/// What the gateway counts, shared by its two halves.
struct Counts {
    began: Instant,
    room: Semaphore,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: u64,
    latencies_us: Vec<u64>,
    last: Option<Instant>,
}

impl Counts {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// An answer is back.
    fn take(&self, answer: &Action) {
        let latency_us = self.now_us().saturating_sub(answer.cause_received_us);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.count += 1;
        taken.last = Some(Instant::now());
        if taken.latencies_us.len() < MOST_SAMPLES {
            taken.latencies_us.push(latency_us);
        }
        self.room.add_permits(1);
    }

    fn reset(&self) -> Taken {
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, way, rate, seconds] = arguments.as_slice() else {
        return Err("expected NATS_URL stored|bare|told RATE SECONDS".into());
    };
    let (rate, seconds): (u32, u32) = (rate.parse()?, seconds.parse()?);
    let counts = Arc::new(Counts {
        began: Instant::now(),
        room: Semaphore::new(ON_THEIR_WAY),
        taken: Mutex::default(),
    });
    let (failed, mut failures) = mpsc::channel(1);
    let out = attach(way, url, &counts, &Failed(failed)).await?;
    let mut sender = Sender::new(out, Arc::clone(&counts))?;
    let measured = async {
        sender.run(rate, WARM_UP).await?;
        say("ready")?;
        hear().await?;
        counts.reset();
        let started = Instant::now();
        let sent = sender.run(rate, Duration::from_secs(u64::from(seconds))).await?;
        let taken = counts.reset();
        let took = taken.last.map_or(Duration::ZERO, |last| last - started);
        say(&report(sent, taken, took).to_string())?;
        hear().await
    };
    tokio::select! {
        done = measured => done,
        Some(failure) = failures.recv() => Err(failure),
    }
}

/// Where a task says why it ended.
#[derive(Clone)]
struct Failed(mpsc::Sender<Failure>);

impl Failed {
    /// Runs a task; its failure is that of the whole, the first of them.
    fn spawn(&self, task: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        let failed = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = task.await {
                failed.0.try_send(failure).ok();
            }
        });
    }
}

/// Starts the worker, and the half of the gateway that takes answers.
async fn attach(way: &str, url: &str, counts: &Arc<Counts>, tasks: &Failed) -> Result<Out, Failure> {
    if way == "bare" {
        return Ok(Out::Bare(bare::attach(url, counts, tasks).await?));
    }
    let connect = |name: &str| Bus::connect(Options { url: url.to_owned(), name: name.to_owned() });
    let (gateway, worker) = (connect("gateway").await?, connect("worker").await?);
    match way {
        "stored" => {
            let working = Arc::new(Semaphore::new(WORKING));
            for partition in 0..subject::PARTITIONS {
                let commands = worker.take_over(Queue::Commands, partition, AHEAD, || true).await?;
                let working = Arc::clone(&working);
                tasks.spawn(answer_stored(worker.clone(), commands, working, tasks.clone()));
                let actions = gateway.take_over(Queue::Actions(PLATFORM), partition, AHEAD, || true).await?;
                tasks.spawn(take_stored(actions, Arc::clone(counts)));
            }
            Ok(Out::Stored(Outbox::start(gateway, OUTBOX, |()| ())))
        }
        "told" => {
            tasks.spawn(answer_told(worker.clone(), worker.subscribe("event.>").await?));
            tasks.spawn(take_told(gateway.subscribe("action.>").await?, Arc::clone(counts)));
            worker.round_trip().await;
            gateway.round_trip().await;
            Ok(Out::Told(gateway))
        }
        _ => Err("expected stored, bare or told".into()),
    }
}

/// The half of the gateway that sends commands.
struct Sender {
    out: Out,
    counts: Arc<Counts>,
    padding: String,
    number: u64,
}

impl Sender {
    fn new(out: Out, counts: Arc<Counts>) -> Result<Self, Failure> {
        let mut sender = Self { out, counts, padding: String::new(), number: 0 };
        let bare = protocol::encode(&sender.event()?)?.len();
        sender.padding = "x".repeat(EVENT_BYTES.saturating_sub(bare));
        Ok(sender)
    }

    /// Sends for so long, and waits until all answers are back.
    async fn run(&mut self, rate: u32, time: Duration) -> Result<u64, Failure> {
        let started = Instant::now();
        let mut tick = (rate > 0).then(|| interval(Duration::from_secs(1) / rate));
        if let Some(tick) = &mut tick {
            // Whoever is late has more to do afterwards, as with people.
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        }
        let mut sent = 0;
        while started.elapsed() < time {
            if let Some(tick) = &mut tick {
                tick.tick().await;
            }
            let event = self.event()?;
            self.counts.room.acquire().await?.forget();
            let subject = subject::event(&event);
            match &self.out {
                Out::Stored(outbox) => {
                    let message = Message::new(subject, event.id.as_str(), &event)?.trace(TRACE);
                    outbox.send(message, ()).await?;
                }
                Out::Bare(outbox) => outbox.send(subject, event.id.as_str(), &event).await?,
                Out::Told(bus) => bus.notify(subject, &event, Some(TRACE)).await?,
            }
            sent += 1;
        }
        let all = u32::try_from(ON_THEIR_WAY)?;
        let back = timeout(GRACE, self.counts.room.acquire_many(all)).await;
        drop(back.map_err(|_| format!("of {sent} commands some were not answered within {GRACE:?}"))??);
        Ok(sent)
    }

    fn event(&mut self) -> Result<Event, Failure> {
        self.number += 1;
        // As long as Discord's.
        let id = 1_300_000_000_000_000_000 + self.number;
        let channel = 1_200_000_000_000_000_000 + self.number % CHANNELS;
        let received_us = self.counts.now_us();
        let author = Author { id: 1_u64.into(), name: "Ines".to_owned(), rank: Rank::Everyone, bot: false };
        let text = format!("!ping {}", self.padding);
        let message = ChatMessage { id: id.into(), channel: channel.into(), author, text, reply_to: None };
        Ok(Event {
            v: VERSION,
            id: EventId::of_platform(PLATFORM, &id.to_string())?,
            platform: PLATFORM,
            community: (1_100_000_000_000_000_000 + self.number % CHANNELS).into(),
            at_ms: 1_700_000_000_000,
            received_us,
            body: EventBody::Command(Command { message, prefix: "!".to_owned() }),
        })
    }
}

async fn answer_stored(
    bus: Bus,
    mut commands: Consumer,
    working: Arc<Semaphore>,
    tasks: Failed,
) -> Result<(), Failure> {
    loop {
        let delivery = commands.next().await;
        let slot = Arc::clone(&working).acquire_owned().await?;
        let bus = bus.clone();
        tasks.spawn(async move {
            let (subject, action) = answer(&delivery.decode()?)?;
            let message = Message::new(subject, action.id.as_str(), &action)?.trace(TRACE);
            bus.store(&message).await?;
            delivery.ack().await;
            drop(slot);
            Ok(())
        });
    }
}

async fn take_stored(mut actions: Consumer, counts: Arc<Counts>) -> Result<(), Failure> {
    loop {
        let delivery = actions.next().await;
        counts.take(&delivery.decode()?);
        delivery.ack().await;
    }
}

async fn answer_told(bus: Bus, mut commands: Subscription) -> Result<(), Failure> {
    while let Some(command) = commands.next().await {
        let (subject, action) = answer(&command.decode()?)?;
        bus.notify(subject, &action, Some(TRACE)).await?;
    }
    Ok(())
}

async fn take_told(mut actions: Subscription, counts: Arc<Counts>) -> Result<(), Failure> {
    while let Some(action) = actions.next().await {
        counts.take(&Incoming::decode(&action)?);
    }
    Ok(())
}

/// What the worker answers, and where it goes.
fn answer(event: &Event) -> Result<(String, Action), Failure> {
    let EventBody::Command(command) = &event.body else { return Err("expected a command".into()) };
    let channel: &ChannelId = &command.message.channel;
    let content = Content::text(command.message.text.as_str());
    let action = Action {
        v: VERSION,
        id: event.id.action(0),
        platform: event.platform,
        community: event.community.clone(),
        channel: channel.clone(),
        cause: event.id.clone(),
        cause_received_us: event.received_us,
        expires_at_ms: event.at_ms,
        delivery: Delivery::AtMostOnce,
        body: ActionBody::Reply { to: command.message.id.clone(), content },
    };
    Ok((subject::action(action.platform, channel, &action.community), action))
}

fn report(sent: u64, mut taken: Taken, took: Duration) -> serde_json::Value {
    taken.latencies_us.sort_unstable();
    let at = |percent: usize| {
        let rank = (taken.latencies_us.len() * percent).div_ceil(100);
        rank.checked_sub(1).and_then(|place| taken.latencies_us.get(place))
    };
    json!({
        "sent": sent,
        "answered": taken.count,
        "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "p50_us": at(50),
        "p99_us": at(99),
    })
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Waits for a line, or the end, of standard input.
async fn hear() -> Result<(), Failure> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}
