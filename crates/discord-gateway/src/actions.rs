//! Takes actions from the bus and has them carried out, one after the other in each channel. A slow
//! channel does not hold up another.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bus::{Bus, Consumer, Delivery, Stream};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{Action, ChannelId, Outcome, OutcomeBody, Platform, VERSION, subject};
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
/// How often the server is told that an action is still worked on; it gives 30 s each time.
const PROGRESS: Duration = Duration::from_secs(10);
/// How long a shutdown waits for what is being sent.
const DRAIN_LIMIT: Duration = Duration::from_secs(4);

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

/// The actions of one partition, by channel. The first of each channel is being carried out.
#[derive(Default)]
struct Lanes {
    waiting: HashMap<ChannelId, VecDeque<Job>>,
    count: usize,
}

impl Actions {
    /// Attaches to a partition.
    ///
    /// # Errors
    /// When its consumer is not there.
    pub async fn attach(&self, partition: u16) -> Result<Consumer, bus::ConsumeError> {
        self.bus.consume(Stream::ActionsDiscord, format!("partition-{partition}"), IN_FLIGHT).await
    }

    /// Carries out what comes, until the service stops; then finishes what is being sent, and leaves
    /// the rest to the next process.
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
                    if let Some(job) = lanes.push(job) {
                        running.push(Box::pin(self.carry_out(job)));
                    }
                }
                Some(channel) = running.next() => {
                    if let Some(job) = lanes.pop(&channel) {
                        running.push(Box::pin(self.carry_out(job)));
                    }
                }
                _ = progress.tick() => {
                    for job in lanes.waiting.values().flatten() {
                        job.delivery.in_progress().await;
                    }
                }
                () = self.shutdown.cancelled() => break,
            }
        }
        let drained = async { while running.next().await.is_some() {} };
        if timeout(DRAIN_LIMIT, drained).await.is_err() {
            warn!("some actions were not finished; they are tried again by the next process");
        }
        let waiting = lanes.waiting.into_values().flatten().map(|job| job.delivery);
        let fetched = std::iter::from_fn(|| consumer.next().now_or_never()).take(IN_FLIGHT);
        for delivery in waiting.chain(fetched) {
            delivery.retry_in(Duration::ZERO).await;
        }
        Ok(())
    }

    /// What cannot be read, or was done before, does not get a place.
    async fn admit(&self, delivery: Delivery) -> Option<Job> {
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
        Some(Job { delivery, action })
    }

    async fn carry_out(&self, job: Job) -> ChannelId {
        let Job { delivery, action } = job;
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
        self.carry_out_in_span(&delivery, &action).instrument(span).await;
        action.channel
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
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut told = false;
        let body = loop {
            tokio::select! {
                body = &mut work => break body,
                Ok(()) = waiting.changed(), if !told => {
                    told = true;
                    let wait_ms = u64::try_from(waiting.borrow_and_update().as_millis()).unwrap_or(u64::MAX);
                    self.tell(delivery, action, OutcomeBody::Queued { wait_ms }).await;
                }
                _ = progress.tick() => delivery.in_progress().await,
            }
        };
        self.done.insert(action.id.clone());
        delivery.ack().await;
        self.count(action, &body);
        self.tell(delivery, action, body).await;
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge of microseconds")]
    fn count(&self, action: &Action, body: &OutcomeBody) {
        self.stats.actions_all.inc();
        match body {
            OutcomeBody::Sent { platform_us, .. } => {
                self.stats.actions.with("sent").inc();
                self.stats.platform_us.set(*platform_us as f64);
            }
            OutcomeBody::Queued { .. } => {}
            OutcomeBody::Dropped { reason, detail } => {
                self.stats.actions.with(crate::execute::label(*reason)).inc();
                warn!(
                    action_id = action.id.as_str(),
                    community = action.community.as_str(),
                    channel = action.channel.as_str(),
                    %reason,
                    detail,
                    "dropped"
                );
            }
        }
    }

    async fn tell(&self, delivery: &Delivery, action: &Action, body: OutcomeBody) {
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
    /// Gives the job back when its channel is idle: it is the next to be carried out.
    fn push(&mut self, job: Job) -> Option<Job> {
        self.count += 1;
        match self.waiting.entry(job.action.channel.clone()) {
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                Some(job)
            }
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(job);
                None
            }
        }
    }

    /// The job before is done; gives the next one of the channel.
    fn pop(&mut self, channel: &ChannelId) -> Option<Job> {
        self.count -= 1;
        let next = self.waiting.get_mut(channel)?.pop_front();
        if next.is_none() {
            self.waiting.remove(channel);
        }
        next
    }
}
