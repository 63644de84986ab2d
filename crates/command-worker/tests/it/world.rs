//! A NATS server, workers, and the part of a gateway: events in, actions out.

use std::{collections::BTreeMap, time::Duration};

use bus::{Bus, Message, Queue};
use command_worker::Config;
use commands::{Definition, Language};
use protocol::{
    Action, ActionBody, Author, ChannelId, ChatMessage, Command, CommunityId, Event, EventBody, EventId,
    Interaction, InteractionBody, InteractionResponse, MessageId, Platform, Rank, ResponseBody, UserId,
    VERSION, subject,
};
use service::Context;
use testkit::{Nats, eventually};
use tokio::task::JoinHandle;

/// Longer than anything takes but the redelivery after a lost worker.
pub const SOON: Duration = Duration::from_secs(30);

/// The trace that the gateway of the tests starts.
pub const TRACE: &str = "00-1a2b3c4d5e6f70819293a4b5c6d7e8f9-1122334455667788-00";

/// A server with its streams, and a connection of the tests.
pub struct World {
    pub nats: Nats,
    pub bus: Bus,
}

/// A worker in this process.
pub struct Worker {
    pub context: Context,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn start() -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        Self { nats, bus }
    }

    /// A worker that is ready.
    pub async fn worker(&self, commands: &'static [&'static Definition]) -> Worker {
        let nats = service::NatsLogin::at(self.nats.url());
        let config = Config { nats, language: Language::En, ..Config::default() };
        self.worker_with(config, commands).await
    }

    pub async fn worker_with(&self, config: Config, commands: &'static [&'static Definition]) -> Worker {
        let mut context = Context::new("command-worker");
        context.instance = format!("worker-{}", fastrand::u64(..));
        let task = tokio::spawn(command_worker::run_commands(context.clone(), config, commands));
        // It has no parts to be ready before it has begun.
        tokio::task::yield_now().await;
        let worker = Worker { context, task };
        worker.becomes_ready(true).await;
        worker
    }

    /// A chat message on Twitch by a viewer; `n` names it.
    pub async fn say(&self, n: u64, text: &str) {
        self.store(&event(n, text, Rank::Everyone), &n.to_string()).await;
    }

    /// Stores an event under a message id of its own, as a gateway does that was killed.
    pub async fn store(&self, event: &Event, id: &str) {
        let message = Message::new(subject::event(event), id, event).unwrap().trace(TRACE);
        self.bus.store(&message).await.unwrap();
    }

    /// The next `count` actions of the test's channel.
    pub async fn actions(&self, count: usize) -> Vec<Action> {
        let partition = subject::partition(&channel());
        let queue = Queue::Actions(Platform::Twitch);
        let mut consumer = self.bus.take_over(queue, partition, 1, || true).await.unwrap();
        let mut actions = Vec::new();
        for _ in 0..count {
            let delivery = tokio::time::timeout(2 * SOON, consumer.next()).await.expect("an action");
            delivery.ack_sync().await.unwrap();
            actions.push(delivery.decode().unwrap());
        }
        actions
    }

    /// What the next action says.
    pub async fn heard(&self) -> String {
        said(&self.actions(1).await[0]).to_owned()
    }

    /// Waits until a stream holds so many messages.
    pub async fn backlog(&self, stream: &str, expected: u64) {
        eventually(SOON, || async {
            let backlogs = bus::backlogs(&self.bus).await;
            let found = backlogs.iter().find(|backlog| backlog.stream == stream).map(|it| it.messages);
            if found == Some(expected) { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Asks as the Discord gateway does.
    pub async fn ask(&self, n: u64, locale: &str, body: InteractionBody) -> ResponseBody {
        let interaction = Interaction {
            v: VERSION,
            id: EventId::of_platform(Platform::Discord, &n.to_string()).unwrap(),
            platform: Platform::Discord,
            community: CommunityId::from(1),
            channel: channel(),
            user: ines(Rank::Everyone),
            locale: Some(locale.to_owned()),
            at_ms: service::clock::unix_ms(),
            received_us: service::clock::unix_us(),
            body,
        };
        let subject = subject::interaction(Platform::Discord, &interaction.community);
        let answer: InteractionResponse =
            self.bus.request(subject, &interaction, SOON, Some(TRACE)).await.unwrap();
        answer.body
    }
}

impl Worker {
    /// Asks it to stop, and waits until it has drained.
    pub async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it at once, as `kill -9` would.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub async fn becomes_ready(&self, ready: bool) {
        eventually(SOON, || async {
            let health = self.context.health.readiness();
            if health.ready == ready { Ok(()) } else { Err(health.reason) }
        })
        .await;
    }

    pub fn number(&self, name: &str) -> f64 {
        self.context.metrics.snapshot().get(name).copied().unwrap_or_default()
    }

    /// Waits until it has counted so many.
    pub async fn counts(&self, name: &str, expected: f64) {
        counted(&[self], name, expected).await;
    }
}

/// Waits until the workers together have counted so many.
pub async fn counted(workers: &[&Worker], name: &str, expected: f64) {
    eventually(SOON, || async {
        let found: f64 = workers.iter().map(|worker| worker.number(name)).sum();
        if (found - expected).abs() < 0.5 { Ok(()) } else { Err(found) }
    })
    .await;
}

pub fn channel() -> ChannelId {
    ChannelId::from(2)
}

pub fn ines(rank: Rank) -> Author {
    Author { id: UserId::from(5), name: "Ines".to_owned(), rank, bot: false }
}

pub fn event(n: u64, text: &str, rank: Rank) -> Event {
    let message = ChatMessage {
        id: MessageId::from(n),
        channel: channel(),
        author: ines(rank),
        text: text.to_owned(),
        reply_to: None,
    };
    Event {
        v: VERSION,
        id: EventId::of_platform(Platform::Twitch, &n.to_string()).unwrap(),
        platform: Platform::Twitch,
        community: CommunityId::from(1),
        at_ms: service::clock::unix_ms(),
        received_us: service::clock::unix_us(),
        body: EventBody::Command(Command { message, prefix: "!".to_owned() }),
    }
}

pub fn slash(name: &str) -> InteractionBody {
    InteractionBody::Command { name: name.to_owned(), options: BTreeMap::new() }
}

pub fn said(action: &Action) -> &str {
    match &action.body {
        ActionBody::Reply { content, .. } => &content.text,
        other => panic!("a command is answered with a reply, not {other:?}"),
    }
}
