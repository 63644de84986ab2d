//! Takes actions from the bus and has them carried out, one after the other in each channel. A slow
//! channel does not hold up another.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bus::{Bus, Consumer, Delivery, Stream};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{Action, ChannelId, DropReason, Outcome, OutcomeBody, Platform, VERSION, subject};
use service::clock::unix_ms;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::{
    done::Done,
    execute::{Executor, NOTICEABLE},
    stats::Stats,
};

/// Actions of one partition that were taken and are not done.
const IN_FLIGHT: usize = 64;
/// Actions that wait for the one before them in their channel. More would keep the other channels of
/// the partition out, and would be sent when nobody waits for them any more.
const MAX_LANE: usize = 16;
/// How often the server is told that an action is still worked on; it gives
/// [`bus::topology::ACTION_ACK_WAIT`] each time, and one report may get lost.
const PROGRESS: Duration = Duration::from_secs(3);
/// How long a shutdown waits for what is being sent.
const DRAIN_LIMIT: Duration = Duration::from_millis(2500);
/// How long giving back may take; while NATS is away it cannot be done.
const BACK_LIMIT: Duration = Duration::from_millis(500);

/// Carries out the actions of the platform.
#[derive(Debug, Clone)]
pub struct Actions {
    /// Where they come from.
    pub bus: Bus,
    /// Carries one out.
    pub executor: Arc<Executor>,
    /// What was done lately.
    pub done: Arc<Done>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Cancelled when the service stops.
    pub shutdown: CancellationToken,
}

/// An action with its delivery.
struct Job {
    delivery: Delivery,
    action: Action,
}

/// The actions of one partition, by channel, each channel with at most one that is carried out.
#[derive(Default)]
struct Lanes {
    lanes: HashMap<ChannelId, Lane>,
    count: usize,
}

struct Lane {
    running: Arc<Job>,
    waiting: VecDeque<Arc<Job>>,
}

/// What became of a job that was given to its lane.
enum Placed {
    /// It is the next to be carried out.
    First(Arc<Job>),
    /// It waits.
    Waits,
    /// There is no room for it.
    Full(Arc<Job>),
}

impl Actions {
    /// Attaches to a partition.
    ///
    /// # Errors
    /// When its consumer is not there.
    pub async fn attach(&self, partition: u16) -> Result<Consumer, bus::ConsumeError> {
        self.bus.consume(Stream::ActionsDiscord, format!("partition-{partition}"), IN_FLIGHT).await
    }

    /// Carries out what comes, until the service stops; then finishes what is being sent, and gives
    /// the rest back for the next process.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self, mut consumer: Consumer) -> anyhow::Result<()> {
        let mut lanes = Lanes::default();
        let mut running: FuturesUnordered<BoxFuture<'_, ChannelId>> = FuturesUnordered::new();
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                delivery = consumer.next(), if lanes.count < IN_FLIGHT => {
                    let Some(job) = self.admit(delivery).await else { continue };
                    if lanes.count == 0 {
                        progress.reset();
                    }
                    match lanes.push(job) {
                        Placed::First(job) => running.push(Box::pin(self.carry_out(job))),
                        Placed::Waits => {}
                        Placed::Full(job) => self.turn_away(&job).await,
                    }
                }
                Some(channel) = running.next() => {
                    if let Some(job) = lanes.pop(&channel) {
                        running.push(Box::pin(self.carry_out(job)));
                    }
                }
                // An idle partition is not woken.
                _ = progress.tick(), if lanes.count > 0 => {
                    for delivery in lanes.deliveries() {
                        delivery.in_progress().await;
                    }
                }
                () = self.shutdown.cancelled() => break,
            }
        }
        let waiting = lanes.take_waiting();
        let fetched = std::iter::from_fn(|| consumer.next().now_or_never()).take(IN_FLIGHT);
        let fetched: Vec<Delivery> = fetched.collect();
        drop(consumer);
        let mut back: Vec<&Delivery> = fetched.iter().collect();
        back.extend(waiting.iter().map(|job| &job.delivery));
        let drained = timeout(DRAIN_LIMIT, async {
            while let Some(channel) = running.next().await {
                lanes.pop(&channel);
            }
        });
        let (drained, ()) = tokio::join!(drained, self.give_back(&back));
        if drained.is_err() {
            warn!("some actions were not finished; they are tried again by the next process");
            drop(running);
            // A message has its nonce, and the other kinds may be done twice.
            self.give_back(&lanes.deliveries().collect::<Vec<_>>()).await;
        }
        Ok(())
    }

    /// Gives deliveries back, once the server knows that this consumer takes nothing any more: it
    /// would get them again.
    async fn give_back(&self, deliveries: &[&Delivery]) {
        if deliveries.is_empty() {
            return;
        }
        let told = timeout(BACK_LIMIT, async {
            self.bus.round_trip().await;
            for delivery in deliveries {
                delivery.retry_in(Duration::ZERO).await;
            }
        });
        if told.await.is_err() {
            warn!("NATS does not answer; what was not begun comes again after a while");
        }
    }

    /// Drops an action because too many wait for its channel.
    async fn turn_away(&self, job: &Job) {
        let detail = format!("{MAX_LANE} actions wait for this channel already");
        let body = OutcomeBody::Dropped { reason: DropReason::RateLimited, detail };
        self.settle(&job.delivery, &job.action, body).await;
    }

    /// What cannot be read, or was done before, does not get a place.
    async fn admit(&self, delivery: Delivery) -> Option<Arc<Job>> {
        let action = match delivery.decode::<Action>() {
            Ok(action) => action,
            Err(error) => {
                if let Err(error) = delivery.bury(&error.to_string()).await {
                    warn!(%error, "an action that cannot be read could not be buried; it comes again");
                }
                return None;
            }
        };
        if self.done.contains(&action.id) {
            delivery.ack().await;
            return None;
        }
        Some(Arc::new(Job { delivery, action }))
    }

    async fn carry_out(&self, job: Arc<Job>) -> ChannelId {
        let Job { delivery, action } = &*job;
        let span = info_span!(
            "action.reply",
            otel.kind = "consumer",
            otel.name = format!("action.{}", action.body.kind()),
            action_id = action.id.as_str(),
            community = action.community.as_str(),
        );
        if let Some(trace) = &delivery.trace {
            service::trace::join(&span, trace);
        }
        if self.done.contains(&action.id) {
            // It came twice before it was done: the other one was before this in the lane.
            delivery.ack().await;
        } else {
            self.carry_out_in_span(delivery, action).instrument(span).await;
        }
        action.channel.clone()
    }

    async fn carry_out_in_span(&self, delivery: &Delivery, action: &Action) {
        let (waits, mut waiting) = tokio::sync::watch::channel(Duration::ZERO);
        let on_wait = move |wait: Duration| {
            let news = |first: &mut Duration| {
                let news = first.is_zero() && wait >= NOTICEABLE;
                if news {
                    *first = wait;
                }
                news
            };
            waits.send_if_modified(news);
        };
        let mut work = std::pin::pin!(self.executor.execute(action, &on_wait));
        let mut told = false;
        let body = loop {
            tokio::select! {
                body = &mut work => break body,
                Ok(()) = waiting.changed(), if !told => {
                    told = true;
                    let wait_ms = u64::try_from(waiting.borrow_and_update().as_millis()).unwrap_or(u64::MAX);
                    self.tell(delivery, action, OutcomeBody::Queued { wait_ms }).await;
                }
            }
        };
        self.settle(delivery, action, body).await;
    }

    /// Nothing more is to be done for an action.
    async fn settle(&self, delivery: &Delivery, action: &Action, body: OutcomeBody) {
        self.done.insert(action.id.clone());
        delivery.ack().await;
        self.stats.actions.inc();
        if let OutcomeBody::Dropped { reason, detail } = &body {
            self.stats.dropped.with(crate::execute::label(*reason)).inc();
            warn!(
                action_id = action.id.as_str(),
                community = action.community.as_str(),
                channel = action.channel.as_str(),
                %reason,
                detail,
                "dropped"
            );
        }
        self.tell(delivery, action, body).await;
    }

    async fn tell(&self, delivery: &Delivery, action: &Action, body: OutcomeBody) {
        self.stats.outcome(&body);
        let subject = subject::outcome(Platform::Discord, &action.community);
        let outcome = Outcome {
            v: VERSION,
            action: action.id.clone(),
            platform: Platform::Discord,
            community: action.community.clone(),
            at_ms: unix_ms(),
            body,
        };
        if let Err(error) = self.bus.notify(subject, &outcome, delivery.trace.as_deref()).await {
            warn!(action_id = action.id.as_str(), %error, "the outcome was not told");
        }
    }
}

impl Lanes {
    fn push(&mut self, job: Arc<Job>) -> Placed {
        match self.lanes.entry(job.action.channel.clone()) {
            Entry::Vacant(lane) => {
                lane.insert(Lane { running: job.clone(), waiting: VecDeque::new() });
                self.count += 1;
                Placed::First(job)
            }
            Entry::Occupied(lane) if lane.get().waiting.len() >= MAX_LANE => Placed::Full(job),
            Entry::Occupied(mut lane) => {
                lane.get_mut().waiting.push_back(job);
                self.count += 1;
                Placed::Waits
            }
        }
    }

    /// The running job of the channel is done; gives the next one.
    fn pop(&mut self, channel: &ChannelId) -> Option<Arc<Job>> {
        let lane = self.lanes.get_mut(channel)?;
        self.count -= 1;
        let Some(next) = lane.waiting.pop_front() else {
            self.lanes.remove(channel);
            return None;
        };
        lane.running = next.clone();
        Some(next)
    }

    fn take_waiting(&mut self) -> Vec<Arc<Job>> {
        let waiting: Vec<_> = self.lanes.values_mut().flat_map(|lane| lane.waiting.drain(..)).collect();
        self.count -= waiting.len();
        waiting
    }

    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.lanes
            .values()
            .flat_map(|lane| std::iter::once(&lane.running).chain(&lane.waiting).map(|job| &job.delivery))
    }
}
