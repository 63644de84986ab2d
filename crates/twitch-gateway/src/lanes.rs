//! The actions that are held: those of one channel one after the other, each once, and what is told
//! of each.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Bus, Link};
use protocol::{Action, ActionId, ChannelId, DropReason, Outcome, OutcomeBody, Platform, VERSION, subject};
use service::clock;
use tokio::{task::JoinSet, time::Instant};
use tracing::{Instrument as _, Span, debug, info, info_span, warn};

use crate::{
    claim::Taken,
    send::{Carried, Errand, Failure, Speaker, Uncommitted},
    stats::Stats,
};

/// Ids of finished actions that are remembered: a lost acknowledgement brings them again.
const REMEMBERED: usize = 4096;
/// Actions are kept no longer by NATS.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What the partitions share.
pub struct Lanes {
    bus: Bus,
    speaker: Arc<Speaker>,
    stats: Stats,
    /// What waits in each channel that is being worked in.
    waiting: Mutex<HashMap<ChannelId, VecDeque<Arc<Taken>>>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    held: HashMap<ActionId, Arc<Taken>>,
    done: HashSet<ActionId>,
    order: VecDeque<ActionId>,
}

/// What is to be done with an action that came.
enum Came {
    Done(Arc<Taken>),
    Again,
    First(Arc<Taken>),
}

impl Lanes {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(bus: Bus, speaker: Arc<Speaker>, stats: Stats) -> Self {
        Self { bus, speaker, stats, waiting: Mutex::default(), known: Mutex::default() }
    }

    /// Queues an action that came at `arrived` behind those of its channel; begins in `working` when
    /// there are none.
    pub async fn put(self: &Arc<Self>, taken: Taken, arrived: Instant, working: &mut JoinSet<()>) {
        let came = self.known().came(Arc::new(taken), arrived);
        let taken = match came {
            Came::First(taken) => taken,
            Came::Again => return,
            Came::Done(taken) => return taken.delivery.ack().await,
        };
        let channel = taken.action.channel.clone();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = waiting.get_mut(&channel) {
            queue.push_back(taken);
            return;
        }
        waiting.insert(channel.clone(), VecDeque::new());
        let lanes = self.clone();
        working.spawn(async move {
            let mut next = Some(taken);
            while let Some(taken) = next {
                lanes.work(&taken).await;
                next = lanes.next(&channel);
            }
        });
    }

    /// Tells NATS that all that is held is worked on. While NATS is away it would hear that too late.
    pub async fn beat(&self) {
        if *self.bus.link().borrow() == Link::Down {
            return;
        }
        for taken in self.held() {
            taken.still_here().await;
        }
    }

    /// Nobody works any more: what nobody else can do is told, and the rest given to others.
    pub async fn give_up(&self) {
        for taken in self.held() {
            if taken.is_acknowledged() {
                let detail = "the gateway stopped before Twitch had answered";
                let body = OutcomeBody::Dropped { reason: DropReason::Uncertain, detail: detail.to_owned() };
                let trace = taken.delivery.trace.as_deref().unwrap_or_default();
                self.tell(&taken.action, body, trace).await;
            } else {
                taken.delivery.retry_in(Duration::ZERO).await;
            }
        }
    }

    fn next(&self, channel: &ChannelId) -> Option<Arc<Taken>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.get_mut(channel)?.pop_front();
        if next.is_none() {
            waiting.remove(channel);
        }
        next
    }

    async fn work(&self, taken: &Taken) {
        let action = &taken.action;
        let span = info_span!(
            "action",
            otel.name = format!("action.{}", action.body.kind()),
            action = %action.id,
            community = %action.community,
        );
        if let Some(trace) = &taken.delivery.trace {
            service::trace::join(&span, trace);
        }
        let done = self.carry_out(taken, &span).instrument(span.clone()).await;
        self.known().finished(&action.id, done);
    }

    /// Whether the action is finished, however it ended.
    async fn carry_out(&self, taken: &Taken, span: &Span) -> bool {
        let (action, delivery) = (&taken.action, &taken.delivery);
        if !taken.is_ours() {
            debug!(action = %action.id, "held for too long; it comes again, here or elsewhere");
            return false;
        }
        let trace = service::trace::header(span, delivery.trace.as_deref().unwrap_or_default());
        let left = action.expires_at_ms.saturating_sub(clock::unix_ms());
        let until = Instant::now() + Duration::from_millis(left).min(LONGEST);
        let carried = if left == 0 {
            Carried::Dropped(Failure::new(DropReason::Expired, "its time was over before it was begun"))
        } else {
            let mut errand = Task { lanes: self, taken, trace: &trace, until };
            self.speaker.carry_out(action, until, &mut errand).await
        };
        let body = match carried {
            Carried::Done(sent) => OutcomeBody::Sent {
                message: sent.message,
                platform_us: u64::try_from(sent.took.as_micros()).unwrap_or(u64::MAX),
                total_us: clock::unix_us().saturating_sub(action.cause_received_us),
            },
            Carried::Dropped(Failure { reason, detail, .. }) => {
                info!(action = %action.id, channel = %action.channel, %reason, detail, "not sent");
                OutcomeBody::Dropped { reason, detail }
            }
            Carried::Left => {
                debug!(action = %action.id, "NATS may have given it to somebody else; left to them");
                return false;
            }
            Carried::Interrupted if taken.is_acknowledged() => OutcomeBody::Dropped {
                reason: DropReason::Uncertain,
                detail: "the gateway stopped before this was sent".to_owned(),
            },
            Carried::Interrupted => {
                delivery.retry_in(Duration::ZERO).await;
                return false;
            }
        };
        self.tell(action, body, &trace).await;
        if !taken.is_acknowledged() {
            delivery.ack().await;
        }
        true
    }

    async fn tell(&self, action: &Action, body: OutcomeBody, trace: &str) {
        self.stats.outcome(&body);
        debug!(action = %action.id, outcome = ?body, "outcome");
        let outcome = Outcome {
            v: VERSION,
            action: action.id.clone(),
            platform: Platform::Twitch,
            community: action.community.clone(),
            at_ms: clock::unix_ms(),
            body,
        };
        let subject = subject::outcome(Platform::Twitch, &action.community);
        let trace = (!trace.is_empty()).then_some(trace);
        if let Err(error) = self.bus.notify(subject, &outcome, trace).await {
            warn!(%error, action = %action.id, "an outcome was not told");
        }
    }

    fn held(&self) -> Vec<Arc<Taken>> {
        self.known().held.values().cloned().collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn came(&mut self, taken: Arc<Taken>, arrived: Instant) -> Came {
        if self.done.contains(&taken.action.id) {
            return Came::Done(taken);
        }
        // The first delivery is still here, and what NATS is told of it counts for both.
        if let Some(first) = self.held.get(&taken.action.id) {
            first.came_again(arrived);
            return Came::Again;
        }
        self.held.insert(taken.action.id.clone(), taken.clone());
        Came::First(taken)
    }

    fn finished(&mut self, id: &ActionId, done: bool) {
        self.held.remove(id);
        if done && self.done.insert(id.clone()) {
            self.order.push_back(id.clone());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.done.remove(&oldest);
            }
        }
    }
}

/// One action and those who gave it.
struct Task<'a> {
    lanes: &'a Lanes,
    taken: &'a Taken,
    trace: &'a str,
    until: Instant,
}

impl Errand for Task<'_> {
    async fn commit(&mut self) -> Result<(), Uncommitted> {
        self.taken.commit(self.until).await
    }

    async fn queued(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.lanes.tell(&self.taken.action, OutcomeBody::Queued { wait_ms }, self.trace).await;
    }
}
