//! The queue of chat commands: take, run, publish what they answer, acknowledge.

use std::{sync::Arc, time::Duration};

use bus::{Consumer, Delivery, Message};
use commands::{Passed, chat_actions};
use lanes::Lanes;
use protocol::{
    Action, ChannelId, DropReason, Event, EventBody, MessageId, Outcome, OutcomeBody, Platform, VERSION,
    subject,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::{attempt::Attempt, chatter::bury, worker::Worker};

/// The durable consumer.
pub const CONSUMER: &str = "commands";
/// How many deliveries are taken ahead of those that are held.
pub const AHEAD: usize = 16;
/// How many commands run at a time.
const RUNNING: usize = 16;
/// How many commands are held, running or waiting behind others of their channel.
const HELD: usize = 256;
/// Commands that wait for the one before them in their channel. More are not answered, and told so: they
/// would keep the commands of others out, and no platform lets so many answers into one channel anyway.
const MAX_LANE: usize = 128;
/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// A question older than this is not answered: the chat has moved on.
const TOO_OLD: Duration = Duration::from_secs(60);
/// A late answer is worse than none.
const ACTION_LIFE: Duration = Duration::from_secs(30);
/// How often an event is tried before it is put away. A worker that dies of it does so only so often.
const MAX_ATTEMPTS: u32 = 4;
/// Before an event whose actions could not be stored is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

type Lane = (Platform, ChannelId);

/// A command that was taken and read.
struct Job {
    delivery: Delivery,
    event: Event,
    channel: ChannelId,
    message: MessageId,
}

/// Takes commands until the shutdown, finishes those that were started and gives the others back.
pub async fn work(worker: &Arc<Worker>, mut queue: Consumer, shutdown: &CancellationToken) {
    let slots = Arc::new(Semaphore::new(RUNNING));
    let run = |job: Job| run_in_slot(Arc::clone(worker), Arc::clone(&slots), job);
    let mut lanes: Lanes<Lane, Job> = Lanes::default();
    loop {
        worker.numbers.in_flight.set(f64::from(u32::try_from(lanes.held()).unwrap_or(u32::MAX)));
        tokio::select! {
            () = shutdown.cancelled() => break,
            true = lanes.advance(run) => {}
            delivery = queue.next(), if lanes.held() < HELD => {
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
    let (waiting, fetched) = (lanes.take_waiting(), queue.close().await);
    bus::give_back(waiting.iter().map(|job| &job.delivery).chain(&fetched)).await;
    while lanes.advance(run).await {}
    worker.numbers.in_flight.set(0.0);
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

async fn run_in_slot(worker: Arc<Worker>, slots: Arc<Semaphore>, job: Job) {
    // The semaphore is never closed; without a slot the event would come again.
    let Ok(_slot) = slots.acquire().await else { return };
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
    handle(&worker, &job, &trace).instrument(span).await;
}

async fn handle(worker: &Worker, job: &Job, trace: &str) {
    let started = Instant::now();
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
        job.delivery.ack().await;
        return;
    };
    let expires_at_ms = service::clock::unix_ms() + millis(ACTION_LIFE);
    let actions = chat_actions(&job.event, &job.channel, &job.message, vec![answer.content], expires_at_ms);
    for action in &actions {
        if let Err(error) = publish(worker, action, trace).await {
            error!(event_id = %job.event.id, error = &*error, "the answer is not stored; trying again");
            job.delivery.retry_in(RETRY_PAUSE).await;
            return;
        }
    }
    job.delivery.ack().await;
    worker.numbers.command_seconds.observe(started.elapsed().as_secs_f64());
    debug!(command = call.name(), "answered");
}

async fn publish(
    worker: &Worker,
    action: &Action,
    trace: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let subject = subject::action(action.platform, &action.channel, &action.community);
    let span = info_span!("nats.publish", otel.kind = "producer", subject, action_id = %action.id);
    let message =
        Message::new(subject, action.id.as_str(), action)?.trace(service::trace::header(&span, trace));
    worker.bus.store(&message).instrument(span).await?;
    worker.numbers.actions.with(action.platform.as_str()).inc();
    Ok(())
}

/// By how much a question is too old, by the platform's clock and this machine's.
fn too_late(event: &Event) -> Option<Duration> {
    let age = Duration::from_millis(service::clock::unix_ms().saturating_sub(event.at_ms));
    (age > TOO_OLD).then_some(age)
}

async fn drop_late(worker: &Worker, job: &Job, age: Duration, trace: &str) {
    worker.numbers.passed.with("expired").inc();
    let detail = format!(
        "asked {} s ago by the platform's clock, and answers are given for {} s; if it was asked just now, \
         set the clock of this machine",
        age.as_secs(),
        TOO_OLD.as_secs()
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

// Constants of seconds fit.
#[allow(clippy::cast_possible_truncation)]
const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
