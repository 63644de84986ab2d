//! Takes actions from NATS: those of one channel one after the other, those of different channels
//! beside each other, each once, and tells what became of it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Bus, Stream};
use protocol::{
    Action, ActionId, ChannelId, Delivery, DropReason, Outcome, OutcomeBody, Platform, VERSION, subject,
};
use service::{Component, clock};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, Span, debug, info, info_span, warn};

use crate::{
    send::{Carried, Errand, Failure, Speaker},
    stats::Stats,
};

/// Actions taken from NATS and not finished, over all partitions.
const HELD: usize = 256;
/// Actions of one partition that are fetched ahead.
const AHEAD: usize = 16;
/// Ids of finished actions that are remembered: a lost acknowledgement brings them again.
const REMEMBERED: usize = 4096;
/// How often NATS is told that an action is still worked on; it waits 30 s.
const STILL_HERE: Duration = Duration::from_secs(10);
/// Between two tries to have an acknowledgement confirmed.
const CONFIRM_PAUSE: Duration = Duration::from_millis(250);
/// How long actions that are being done may take to end when the service stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(4);
/// Actions are kept no longer by NATS.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Does what NATS has for Twitch.
pub struct Actions {
    /// Where they come from.
    pub bus: Bus,
    /// Who does them.
    pub speaker: Arc<Speaker>,
    /// What is counted.
    pub stats: Stats,
    /// Who wants to know.
    pub health: Component,
}

/// One action on its way.
struct Job {
    action: Action,
    delivery: bus::Delivery,
    _held: OwnedSemaphorePermit,
}

/// What the partitions share.
struct Lanes {
    bus: Bus,
    speaker: Arc<Speaker>,
    stats: Stats,
    /// What waits in each channel that is being worked in.
    waiting: Mutex<HashMap<ChannelId, VecDeque<Job>>>,
    known: Mutex<Known>,
    tracker: TaskTracker,
}

#[derive(Default)]
struct Known {
    held: HashSet<ActionId>,
    done: HashSet<ActionId>,
    order: VecDeque<ActionId>,
}

impl Actions {
    /// Runs until `shutdown`, then waits for what is being done.
    ///
    /// # Errors
    /// When the stream is not there.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let lanes = Arc::new(Lanes {
            bus: self.bus.clone(),
            speaker: self.speaker,
            stats: self.stats,
            waiting: Mutex::default(),
            known: Mutex::default(),
            tracker: TaskTracker::new(),
        });
        let held = Arc::new(Semaphore::new(HELD));
        let mut attached = Vec::new();
        let partitions = TaskTracker::new();
        for partition in 0..subject::PARTITIONS {
            let name = format!("partition-{partition}");
            let consumer = self.bus.consume(Stream::ActionsTwitch, name, AHEAD).await?;
            attached.push(consumer.attached());
            partitions.spawn(take(consumer, lanes.clone(), held.clone(), shutdown.clone()));
        }
        partitions.close();
        tokio::select! {
            () = partitions.wait() => {}
            () = report(attached, &self.health) => {}
        }
        partitions.wait().await;
        lanes.tracker.close();
        if timeout(DRAIN_WITHIN, lanes.tracker.wait()).await.is_err() {
            warn!("some actions did not end in time");
        }
        Ok(())
    }
}

/// Takes the actions of one partition.
async fn take(
    mut consumer: bus::Consumer,
    lanes: Arc<Lanes>,
    held: Arc<Semaphore>,
    shutdown: CancellationToken,
) {
    loop {
        let taken = async {
            let permit = held.clone().acquire_owned().await.ok()?;
            Some((consumer.next().await, permit))
        };
        let (delivery, permit) = tokio::select! {
            () = shutdown.cancelled() => return,
            taken = taken => match taken {
                Some(taken) => taken,
                None => return,
            },
        };
        lanes.stats.actions.inc();
        match delivery.decode::<Action>() {
            Ok(action) => lanes.put(Job { action, delivery, _held: permit }).await,
            Err(error) => {
                if let Err(error) = delivery.bury(&error.to_string()).await {
                    warn!(%error, "an action that cannot be read was not buried; it comes again");
                }
            }
        }
    }
}

/// Keeps the component up while all partitions are attached.
async fn report(mut attached: Vec<watch::Receiver<bool>>, health: &Component) {
    loop {
        let missing = attached.iter().filter(|attached| !*attached.borrow()).count();
        match missing {
            0 => health.up(),
            _ => health.down(format!("{missing} of {} partitions are not attached", attached.len())),
        }
        let changes = attached.iter_mut().map(|attached| Box::pin(attached.changed()));
        if futures_util::future::select_all(changes).await.0.is_err() {
            return std::future::pending().await;
        }
    }
}

impl Lanes {
    /// Queues a job behind those of its channel; begins when there are none.
    async fn put(self: &Arc<Self>, job: Job) {
        let is_done = {
            let mut known = self.known();
            if known.done.contains(&job.action.id) {
                true
            } else if !known.held.insert(job.action.id.clone()) {
                // The first delivery is still here, and its acknowledgement counts for both.
                return;
            } else {
                false
            }
        };
        if is_done {
            job.delivery.ack().await;
            return;
        }
        let channel = job.action.channel.clone();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = waiting.get_mut(&channel) {
            queue.push_back(job);
            return;
        }
        waiting.insert(channel.clone(), VecDeque::new());
        let lanes = self.clone();
        self.tracker.spawn(async move {
            let mut next = Some(job);
            while let Some(job) = next {
                lanes.work(job).await;
                next = lanes.next(&channel);
            }
        });
    }

    fn next(&self, channel: &ChannelId) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.get_mut(channel)?.pop_front();
        if next.is_none() {
            waiting.remove(channel);
        }
        next
    }

    async fn work(&self, job: Job) {
        let Job { action, delivery, _held } = job;
        let span = info_span!(
            "action",
            otel.name = format!("action.{}", action.body.kind()),
            action = %action.id,
            community = %action.community,
        );
        if let Some(trace) = &delivery.trace {
            service::trace::join(&span, trace);
        }
        let id = action.id.clone();
        let done = self.carry_out(action, &delivery, &span).instrument(span.clone()).await;
        self.known().finished(id, done);
    }

    /// Whether the action is finished, however it ended.
    async fn carry_out(&self, action: Action, delivery: &bus::Delivery, span: &Span) -> bool {
        let trace = service::trace::header(span, delivery.trace.as_deref().unwrap_or_default());
        let left = action.expires_at_ms.saturating_sub(clock::unix_ms());
        let until = Instant::now() + Duration::from_millis(left).min(LONGEST);
        let mut errand =
            Task { lanes: self, action: &action, delivery, trace: &trace, until, acknowledged: false };
        let carried = if left == 0 {
            Carried::Dropped(Failure::new(DropReason::Expired, "its time was over before it was begun"))
        } else {
            let mut beat = interval(STILL_HERE);
            beat.reset();
            let carry = self.speaker.carry_out(&action, until, &mut errand);
            tokio::pin!(carry);
            loop {
                tokio::select! {
                    carried = &mut carry => break carried,
                    _ = beat.tick() => delivery.in_progress().await,
                }
            }
        };
        let acknowledged = errand.acknowledged;
        let body = match carried {
            Carried::Done(sent) => OutcomeBody::Sent {
                message: sent.message,
                platform_us: u64::try_from(sent.took.as_micros()).unwrap_or(u64::MAX),
                total_us: clock::unix_us().saturating_sub(action.cause_received_us),
            },
            Carried::Dropped(Failure { reason, detail }) => {
                info!(action = %action.id, channel = %action.channel, %reason, detail, "not sent");
                OutcomeBody::Dropped { reason, detail }
            }
            Carried::Interrupted => {
                delivery.retry_in(Duration::ZERO).await;
                return false;
            }
        };
        self.tell(&action, body, &trace).await;
        if !acknowledged {
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

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn finished(&mut self, id: ActionId, done: bool) {
        self.held.remove(&id);
        if done && self.done.insert(id.clone()) {
            self.order.push_back(id);
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
    action: &'a Action,
    delivery: &'a bus::Delivery,
    trace: &'a str,
    until: Instant,
    acknowledged: bool,
}

impl Errand for Task<'_> {
    /// Chat has no key by which Twitch could know a message again. What must not be said twice is
    /// therefore taken off the stream, and that confirmed, before it is said.
    async fn commit(&mut self) -> Result<(), Failure> {
        if self.action.delivery == Delivery::AtLeastOnce || self.acknowledged {
            return Ok(());
        }
        loop {
            match self.delivery.ack_sync().await {
                Ok(()) => {
                    self.acknowledged = true;
                    return Ok(());
                }
                Err(error) if Instant::now() + CONFIRM_PAUSE < self.until => {
                    debug!(%error, "the acknowledgement was not confirmed; asking again");
                    sleep(CONFIRM_PAUSE).await;
                }
                Err(_) => {
                    let detail = "NATS did not confirm in time that this is sent only once";
                    return Err(Failure::new(DropReason::Expired, detail));
                }
            }
        }
    }

    async fn queued(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.lanes.tell(self.action, OutcomeBody::Queued { wait_ms }, self.trace).await;
    }
}
