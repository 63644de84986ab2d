//! Actions at work, with all that a test wants to see and turn.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actions::{Act, Actions, Carried, Errand, Numbers, Owned, Sent};
use bus::{Bus, Consumer, Message, Queue, Subscription};
use protocol::{
    Action, ActionBody, ActionId, ChannelId, CommunityId, Content, Delivery, DropReason, EventId, Outcome,
    OutcomeBody, Platform, VERSION, subject,
};
use service::{Context, clock};
use testkit::{Nats, eventually};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(30);
/// Long enough for what must not happen to have happened.
pub const A_WHILE: Duration = Duration::from_millis(700);

/// A platform that does what the first word of a message says:
/// `gated` ends when the gate is open, and is cut when the partition is lost; `waits` is like that for a
/// limit, and can be interrupted; `once` claims its action and then goes to the gate; `panics` does.
struct Stage {
    begun: mpsc::UnboundedSender<String>,
    gate: watch::Receiver<bool>,
}

impl Act for Stage {
    const PLATFORM: Platform = Platform::Discord;

    async fn act(&self, action: &Action, errand: &Errand<'_>) -> Carried {
        let ActionBody::Send { content } = &action.body else { panic!("{action:?}") };
        self.begun.send(content.text.clone()).unwrap();
        let mut gate = self.gate.clone();
        let open = async move { gate.wait_for(|open| *open).await.map(drop).unwrap() };
        match content.text.split(' ').next().unwrap() {
            "gated" => tokio::select! {
                () = errand.lost() => return Carried::Left,
                () = open => {}
            },
            "waits" => {
                errand.queued(Duration::from_secs(3));
                errand.queued(Duration::from_secs(4));
                tokio::select! {
                    () = errand.stopping() => return Carried::Interrupted,
                    () = open => {}
                }
                if let Err(ended) = errand.commit().await {
                    return ended;
                }
            }
            "once" => {
                if let Err(ended) = errand.commit().await {
                    return ended;
                }
                open.await;
            }
            "panics" => panic!("as it was asked to"),
            _ => {}
        }
        Carried::Done(Sent { message: None, took: Duration::from_millis(1) })
    }
}

/// Actions at work.
pub struct Rig {
    pub nats: Nats,
    pub bus: Bus,
    pub ctx: Context,
    pub owned: watch::Sender<BTreeSet<u16>>,
    pub gate: watch::Sender<bool>,
    pub busy: watch::Receiver<BTreeSet<u16>>,
    pub task: JoinHandle<Result<(), JoinError>>,
    told: mpsc::UnboundedSender<String>,
    begun: mpsc::UnboundedReceiver<String>,
    outcomes: Subscription,
    held: Arc<AtomicBool>,
    asked: u32,
    names: HashMap<ActionId, String>,
}

impl Rig {
    /// Actions of some partitions.
    pub async fn start(partitions: impl IntoIterator<Item = u16>) -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let outcomes = bus.subscribe("outcome.>").await.unwrap();
        bus.round_trip().await;
        let ctx = Context::new("test");
        let ((told, begun), gate) = (mpsc::unbounded_channel(), watch::Sender::new(false));
        let actions = actions(&nats, &ctx, told.clone(), &gate).await;
        let (owned, held) =
            (watch::Sender::new(partitions.into_iter().collect()), Arc::new(AtomicBool::new(true)));
        let holds = held.clone();
        let now =
            Owned { partitions: owned.subscribe(), holds: Arc::new(move |_| holds.load(Ordering::Relaxed)) };
        let busy = actions.busy();
        let task = tokio::spawn(actions.run(now, ctx.shutdown.clone()));
        let names = HashMap::new();
        Self { nats, bus, ctx, owned, gate, busy, task, told, begun, outcomes, held, asked: 0, names }
    }

    /// Another gateway on the same stage, with no partition yet.
    pub async fn second(&self) -> (watch::Sender<BTreeSet<u16>>, watch::Receiver<BTreeSet<u16>>) {
        let actions = actions(&self.nats, &Context::new("second"), self.told.clone(), &self.gate).await;
        let (owned, busy) = (watch::Sender::new(BTreeSet::new()), actions.busy());
        let now = Owned { partitions: owned.subscribe(), ..Owned::all() };
        tokio::spawn(actions.run(now, self.ctx.shutdown.clone()));
        (owned, busy)
    }

    /// Whether the leases are still good, by the clock.
    pub fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Asks for something in a channel.
    pub async fn ask(&mut self, channel: &ChannelId, text: &str) -> Action {
        let cause = EventId::of_platform(Platform::Discord, &self.asked.to_string()).unwrap();
        self.asked += 1;
        let action = Action {
            v: VERSION,
            id: cause.action(0),
            platform: Platform::Discord,
            community: CommunityId::direct(),
            channel: channel.clone(),
            cause,
            cause_received_us: clock::unix_us(),
            expires_at_ms: clock::unix_ms() + 60_000,
            delivery: Delivery::AtMostOnce,
            body: ActionBody::Send { content: Content::text(text) },
        };
        self.names.insert(action.id.clone(), text.to_owned());
        self.store(&action, action.id.as_str()).await;
        action
    }

    /// What an action is called that was not asked for here.
    pub fn names(&mut self, action: &Action, text: &str) {
        self.names.insert(action.id.clone(), text.to_owned());
    }

    /// Stores an action under a message id of its own.
    pub async fn store(&self, action: &Action, id: &str) {
        let subject = subject::action(action.platform, &action.channel, &action.community);
        self.bus.store(&Message::new(subject, id, action).unwrap()).await.unwrap();
    }

    /// The next that is begun.
    pub async fn begun(&mut self) -> String {
        timeout(SOON, self.begun.recv()).await.expect("something is begun").unwrap()
    }

    /// Nothing is begun for a while, nor is an outcome told.
    pub async fn nothing_happens(&mut self) {
        let outcomes = &mut self.outcomes;
        let anything = async {
            tokio::select! {
                Some(begun) = self.begun.recv() => format!("{begun} was begun"),
                outcome = outcomes.next() => format!("{:?}", outcome.unwrap().decode::<Outcome>()),
            }
        };
        if let Ok(happened) = timeout(A_WHILE, anything).await {
            panic!("{happened}");
        }
    }

    /// The next outcome, with the text of its action.
    pub async fn outcome(&mut self) -> (String, OutcomeBody) {
        let incoming = timeout(SOON, self.outcomes.next()).await.expect("an outcome comes").unwrap();
        let outcome: Outcome = incoming.decode().unwrap();
        (self.names[&outcome.action].clone(), outcome.body)
    }

    /// The text of the next action, which was done.
    pub async fn done(&mut self) -> String {
        match self.outcome().await {
            (text, OutcomeBody::Sent { .. }) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The text of the next action, which was dropped, and why.
    pub async fn dropped(&mut self) -> (String, DropReason) {
        match self.outcome().await {
            (text, OutcomeBody::Dropped { reason, .. }) => (text, reason),
            other => panic!("{other:?}"),
        }
    }

    pub async fn until_taken(&self, count: f64) {
        eventually(SOON, || async {
            let taken = self.ctx.metrics.snapshot().get("actions_total").copied();
            if taken == Some(count) { Ok(()) } else { Err(taken) }
        })
        .await;
    }

    pub async fn until_idle(&mut self, partition: u16) {
        timeout(SOON, self.busy.wait_for(|busy| !busy.contains(&partition)))
            .await
            .expect("it is idle")
            .unwrap();
    }

    /// Another gateway's consumer of a partition.
    pub async fn other(&self, partition: u16) -> Consumer {
        self.bus.take_over(Queue::Actions(Platform::Discord), partition, 64, || true).await.unwrap()
    }

    /// Stops as SIGTERM does.
    pub async fn stop(&mut self) {
        self.ctx.shutdown.cancel();
        timeout(SOON, &mut self.task).await.expect("it stops in time").unwrap().unwrap();
    }
}

async fn actions(
    nats: &Nats,
    ctx: &Context,
    begun: mpsc::UnboundedSender<String>,
    gate: &watch::Sender<bool>,
) -> Actions<Stage> {
    let stage = Stage { begun, gate: gate.subscribe() };
    let health = ctx.health.component("actions");
    Actions::new(nats.bus(ctx.name).await, stage, Numbers::new(&ctx.metrics), health)
}

/// The texts of the next actions of a consumer, with how often each was given out.
pub async fn next(consumer: &mut Consumer, count: usize) -> Vec<(String, u32)> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let delivery = timeout(SOON / 2, consumer.next()).await.unwrap_or_else(|_| panic!("only {texts:?}"));
        delivery.ack_sync().await.unwrap();
        match delivery.decode::<Action>().unwrap().body {
            ActionBody::Send { content } => texts.push((content.text, delivery.attempt)),
            body => panic!("{body:?}"),
        }
    }
    texts
}

/// Some channels of a partition.
pub fn channels(partition: u16) -> impl Iterator<Item = ChannelId> {
    (1_u64..).map(ChannelId::from).filter(move |channel| subject::partition(channel) == partition)
}

/// The first channel of a partition.
pub fn channel(partition: u16) -> ChannelId {
    channels(partition).next().unwrap()
}
