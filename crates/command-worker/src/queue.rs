//! The queue of chat commands: take, run, publish what they answer, acknowledge.
//!
//! The workers share its partitions by lease. A channel belongs to one partition, a partition to one worker
//! at a time, who answers what is asked in a channel in its order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::{Delivery, Lease};
use commands::{Passed, chat_actions};
use lanes::Lanes;
use partitions::{Board, Ground, Partitions, Recent};
use protocol::{
    ACTION_LIFE_MS, Action, COMMAND_LIFE_MS, ChannelId, DropReason, Event, EventBody, MessageId, Outcome,
    OutcomeBody, Platform, VERSION, subject,
};
use tokio::{
    sync::Semaphore,
    task::JoinError,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::{attempt::Attempt, chatter::bury, worker::Worker};

/// How many deliveries of a partition are taken ahead of those that are held.
const AHEAD: usize = 16;
/// How many commands run at a time.
const RUNNING: usize = 16;
/// How many commands of a partition are held, running or waiting behind others of their channel.
const HELD: usize = 256;
/// Commands that wait for the one before them in their channel. More are not answered, and told so: they
/// would keep the commands of others out, and no platform lets so many answers into one channel anyway.
const MAX_LANE: usize = 128;
/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// How long the commands of a partition that is left may take to end. The next worker runs what is cut, and
/// what was stored of its answer is not stored again.
const DRAIN_LIMIT: Duration = COMMAND_LIMIT;
/// How often an event is tried before it is put away. A worker that dies of it does so only so often.
const MAX_ATTEMPTS: u32 = 4;

type Lane = (Platform, ChannelId);

/// What the partitions share.
pub struct Queue {
    worker: Arc<Worker>,
    board: Arc<Board>,
    slots: Semaphore,
    /// Events that need nothing more: their answers are stored, or they get none.
    done: Recent,
    /// Commands of all partitions that are held.
    held: AtomicUsize,
}

/// One partition of it while it is worked on.
struct Partition {
    queue: Arc<Queue>,
    ground: Ground,
}

/// A command that was taken and read.
struct Job {
    delivery: Delivery,
    event: Event,
    channel: ChannelId,
    message: MessageId,
}

impl Queue {
    /// `board` hears which partitions are attached.
    pub fn new(worker: Arc<Worker>, board: Board) -> Self {
        Self {
            worker,
            board: Arc::new(board),
            slots: Semaphore::new(RUNNING),
            done: Recent::default(),
            held: AtomicUsize::new(0),
        }
    }

    /// Answers the commands of the partitions that `lease` gives until the shutdown, and finishes those that
    /// were started.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn work(self, lease: Arc<Lease>, shutdown: CancellationToken) -> Result<(), JoinError> {
        let queue = Arc::new(self);
        let partitions = Partitions::new(queue.board.clone());
        let begin = |ground| Arc::new(Partition { queue: queue.clone(), ground }).work();
        partitions.run_leased(lease, shutdown, begin).await
    }

    fn holds(&self, before: usize, now: usize) {
        let others = self.held.load(Ordering::Relaxed).saturating_sub(before);
        self.held.store(others + now, Ordering::Relaxed);
        self.worker.numbers.in_flight.set(f64::from(u32::try_from(others + now).unwrap_or(u32::MAX)));
    }
}

impl Partition {
    async fn work(self: Arc<Self>) {
        let (worker, board) = (&self.queue.worker, &self.queue.board);
        let attached = board.attach(&worker.bus, bus::Queue::Commands, &self.ground, AHEAD).await;
        let Some(mut commands) = attached else { return };
        let run = |job: Job| self.clone().run_in_slot(job);
        let (mut lanes, mut held) = (Lanes::<Lane, Job>::default(), 0);
        let mut attached = commands.attached();
        attached.mark_changed();
        loop {
            self.queue.holds(held, lanes.held());
            held = lanes.held();
            tokio::select! {
                biased;
                () = self.ground.stop.cancelled() => break,
                true = lanes.advance(run) => {}
                Ok(()) = attached.changed() => {
                    board.turned(self.ground.partition, *attached.borrow_and_update());
                }
                delivery = commands.next_when(held < HELD) => {
                    let Some(job) = read(worker, delivery).await else { continue };
                    let lane = (job.event.platform, job.channel.clone());
                    if lanes.waiting_in(&lane) < MAX_LANE {
                        lanes.put(lane, job, run);
                    } else {
                        turn_away(worker, &job).await;
                    }
                }
            }
        }
        drop(lanes.take_waiting());
        if timeout(DRAIN_LIMIT, async { while lanes.advance(run).await {} }).await.is_err() {
            warn!(partition = self.ground.partition, "some commands did not end in time");
        }
        lanes.abort().await;
        self.queue.holds(held, 0);
        if self.ground.is_ours() {
            commands.close().await;
        }
    }

    async fn run_in_slot(self: Arc<Self>, job: Job) {
        // The semaphore is never closed; without a slot the event would come again.
        let Ok(_slot) = self.queue.slots.acquire().await else { return };
        let span = info_span!(
            "worker.command",
            otel.kind = "consumer",
            event_id = %job.event.id,
            community = %job.event.community,
            channel = %job.channel,
            attempt = job.delivery.attempt,
        );
        let trace = match &job.delivery.trace {
            Some(header) => {
                service::trace::join(&span, header);
                service::trace::header(&span, header)
            }
            None => service::trace::start(&span),
        };
        self.handle(&job, &trace).instrument(span).await;
    }

    async fn handle(&self, job: &Job, trace: &str) {
        let (worker, started) = (&*self.queue.worker, Instant::now());
        let waited_us = service::clock::unix_us().saturating_sub(job.event.received_us);
        worker.numbers.queue_seconds.observe(Duration::from_micros(waited_us).as_secs_f64());
        if self.queue.done.contains(&job.event.id) {
            worker.numbers.passed.with("again").inc();
            job.delivery.ack().await;
            return;
        }
        if let Some(late) = too_late(&job.event) {
            drop_late(worker, job, late, trace).await;
            job.delivery.ack().await;
            return;
        }
        let call = match worker.engine.of_event(&job.event) {
            Ok(call) => call,
            Err(passed) => {
                worker.numbers.passed.with(reason(passed)).inc();
                job.delivery.ack().await;
                return;
            }
        };
        // In chat, somebody who is too early gets no answer: one to each would be what they are after.
        let Attempt::Answered(answer) = worker.attempt(&call, COMMAND_LIMIT, trace).await else {
            self.queue.done.insert(&job.event.id);
            job.delivery.ack().await;
            return;
        };
        let expires_at_ms = service::clock::unix_ms() + ACTION_LIFE_MS;
        let actions =
            chat_actions(&job.event, &job.channel, &job.message, vec![answer.content], expires_at_ms);
        for action in &actions {
            if !self.store(job, action, trace).await {
                return;
            }
        }
        self.queue.done.insert(&job.event.id);
        job.delivery.ack().await;
        worker.numbers.command_seconds.observe(started.elapsed().as_secs_f64());
        debug!(command = call.name(), "answered");
    }

    /// Stores an action, which is tried for as long as an answer is of any use; those behind it in its channel
    /// wait. `false` when it was given up, and that was told.
    async fn store(&self, job: &Job, action: &Action, trace: &str) -> bool {
        let worker = &*self.queue.worker;
        let Err(error) = worker.publish(action, trace).await else { return true };
        error!(event_id = %job.event.id, error = &*error, "the answer is not stored");
        let reason = if too_late(&job.event).is_some() { DropReason::Expired } else { DropReason::Invalid };
        tell_dropped(worker, job, reason, error.to_string(), Some(trace)).await;
        job.delivery.ack().await;
        false
    }
}

/// Reads a delivery; what cannot be read, or was tried too often, is put away.
async fn read(worker: &Worker, delivery: Delivery) -> Option<Job> {
    worker.took(1);
    let event = match delivery.decode::<Event>() {
        Ok(event) => event,
        Err(error) => {
            bury(worker, &delivery, &error).await;
            return None;
        }
    };
    let EventBody::Command(command) = &event.body else {
        bury(worker, &delivery, &NoCommand(event.body.kind())).await;
        return None;
    };
    let (channel, message) = (command.message.channel.clone(), command.message.id.clone());
    if delivery.attempt > MAX_ATTEMPTS {
        worker.numbers.errors.with("poison").inc();
        let reason = format!("{} workers took it and none finished it", delivery.attempt - 1);
        if let Err(error) = delivery.bury(&reason).await {
            warn!(event_id = %event.id, error, "not put away; it comes again");
        }
        return None;
    }
    Some(Job { delivery, event, channel, message })
}

/// Something else than a command on the subject of commands.
#[derive(Debug, thiserror::Error)]
#[error("expected a command, found a {0}")]
struct NoCommand(&'static str);

/// By how much a question is too old, by the platform's clock and this machine's.
fn too_late(event: &Event) -> Option<Duration> {
    let age_ms = service::clock::unix_ms().saturating_sub(event.at_ms);
    (age_ms > COMMAND_LIFE_MS).then_some(Duration::from_millis(age_ms))
}

async fn drop_late(worker: &Worker, job: &Job, age: Duration, trace: &str) {
    worker.numbers.passed.with("expired").inc();
    let detail = format!(
        "asked {} s ago by the platform's clock, and answers are given for {} s; if it was asked just now, \
         set the clock of this machine",
        age.as_secs(),
        COMMAND_LIFE_MS / 1000
    );
    warn!(event_id = %job.event.id, detail, "command is too old");
    tell_dropped(worker, job, DropReason::Expired, detail, Some(trace)).await;
}

/// One channel must not keep the others waiting.
async fn turn_away(worker: &Worker, job: &Job) {
    worker.numbers.passed.with("crowded").inc();
    let detail = format!("{MAX_LANE} commands wait in this channel already");
    tell_dropped(worker, job, DropReason::RateLimited, detail, job.delivery.trace.as_deref()).await;
    job.delivery.ack().await;
}

async fn tell_dropped(worker: &Worker, job: &Job, reason: DropReason, detail: String, trace: Option<&str>) {
    let outcome = Outcome {
        v: VERSION,
        action: job.event.id.action(0),
        platform: job.event.platform,
        community: job.event.community.clone(),
        at_ms: service::clock::unix_ms(),
        body: OutcomeBody::Dropped { reason, detail },
    };
    let subject = subject::outcome(outcome.platform, &outcome.community);
    if let Err(error) = worker.bus.notify(subject, &outcome, trace).await {
        warn!(event_id = %job.event.id, %error, "the outcome was not told");
    }
}

const fn reason(passed: Passed) -> &'static str {
    match passed {
        Passed::NoCommand => "no_command",
        Passed::Unknown => "unknown",
        Passed::NotOpen => "not_open",
        Passed::Bot => "bot",
    }
}
