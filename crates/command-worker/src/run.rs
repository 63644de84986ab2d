//! The life of the worker: start, the loops side by side, drain.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{BucketName, Bus, Handover, Holding, Lease, Link, Stream, User};
use commands::Definition;
use partitions::Board;
use service::Context;
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

use crate::{
    chatter, community, config::Config, interactions, jobs, latency, probes, queue::Queue, register,
    worker::Worker,
};

/// The workers of a bot.
const GROUP: &str = "command-workers";
/// How long handing over the last of it may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);
const FENCED: &str = "NATS has not confirmed what this worker owns; it takes no commands until it does";

/// Runs the worker with the commands that are built in.
///
/// # Errors
/// When NATS cannot be reached, or has not been provisioned.
pub async fn run(context: Context, config: Config) -> anyhow::Result<()> {
    run_commands(context, config, commands::ALL).await
}

/// Runs the worker with other commands.
///
/// # Errors
/// As [`run`].
pub async fn run_commands(
    context: Context,
    config: Config,
    commands: &'static [&'static Definition],
) -> anyhow::Result<()> {
    let probes = probes::Probes::new(&context.health);
    let connected = presence::connect(&context, User::CommandWorker, &config.nats);
    let Some(bus) = connected.await? else { return Ok(()) };
    let leases = bus.bucket(BucketName::Lease).await?;
    let worker = Arc::new(Worker::new(&context, bus.clone(), leases, config, commands));
    register::publish(&bus, commands).await.context("the catalogue of commands")?;

    let outcomes = bus.subscribe(latency::SUBJECT).await?;
    let requests = bus.serve(interactions::SUBJECT, interactions::GROUP).await?;
    let chatter = bus.consume(Stream::Chatter, chatter::CONSUMER, chatter::AHEAD).await?;
    let community = bus.consume(Stream::Events, community::CONSUMER, community::AHEAD).await?;
    let announcement = presence::announce(&context, &bus).await?;
    // Ready means that the server knows of these subscriptions.
    bus.round_trip().await;
    let lease = join(&context, &bus).await?;
    info!(commands = commands.len(), "taking commands");

    let shutdown = &context.shutdown;
    let queue = Queue::new(worker.clone(), Board::new(context.health.component("commands")));
    let work = async {
        // What is idle goes to the others at once, the rest as it ends.
        let leaving = async {
            shutdown.cancelled().await;
            lease.retire();
            std::future::pending::<Infallible>().await
        };
        let outcome = tokio::select! {
            never = leaving => match never {},
            outcome = queue.work(lease.clone(), shutdown.clone()) => outcome.context("the queue of commands"),
            () = replaced(lease.held()) => Err(anyhow::anyhow!(
                "another command-worker runs under the name of this one: give each its own VIGIE_INSTANCE"
            )),
        };
        hand_over(&lease, &bus).await;
        // When it ended by itself, the others end as well.
        shutdown.cancel();
        outcome
    };
    let (outcome, ..) = tokio::join!(
        Box::pin(work),
        probes.watch(&bus, shutdown),
        Box::pin(latency::listen(&worker, outcomes, shutdown)),
        Box::pin(jobs::follow(&worker, shutdown)),
        Box::pin(interactions::serve(&worker, requests, shutdown)),
        Box::pin(chatter::count(&worker, chatter, shutdown)),
        Box::pin(community::count(&worker, community, shutdown)),
    );
    drop(announcement);
    bus.drain().await;
    outcome
}

/// Becomes one of the workers of the bot.
async fn join(context: &Context, bus: &Bus) -> anyhow::Result<Arc<Lease>> {
    let resources: BTreeMap<_, _> =
        partitions::resources().map(|partition| (partition, Handover::DrainFirst)).collect();
    // They do not change; the lease keeps the last value.
    let (_, resources) = watch::channel(resources);
    let lease = bus.join(GROUP, &context.instance, resources).await?;
    let fenced = |holding: &Holding| holding.fenced.then(|| FENCED.to_owned());
    let health = context.health.component("lease");
    context.tasks.spawn("lease", health.follow(lease.held(), fenced, context.shutdown.clone()));
    Ok(Arc::new(lease))
}

/// Resolves when another process has taken the name of this one.
async fn replaced(mut held: watch::Receiver<Holding>) {
    if held.wait_for(|holding| holding.replaced).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Nothing is in work any more: the others may have it at once. While NATS is away they cannot.
async fn hand_over(lease: &Lease, bus: &Bus) {
    if *bus.link().borrow() == Link::Up
        && timeout(HAND_OVER_LIMIT, lease.leave(Duration::ZERO)).await.is_err()
    {
        warn!("NATS does not answer; the others wait until the lease has run out");
    }
}
