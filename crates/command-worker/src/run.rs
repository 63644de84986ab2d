//! The life of the worker: start, the loops side by side, drain.

use std::sync::Arc;

use anyhow::Context as _;
use bus::{Bus, Options, Stream};
use commands::Definition;
use service::Context;
use tracing::info;

use crate::{
    chatter, community, config::Config, interactions, latency, probes, queue, register, worker::Worker,
};

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
    let options = Options { url: config.nats_url.clone(), name: context.instance.clone() };
    let bus = Bus::connect(options).await?;
    let worker = Arc::new(Worker::new(&context, bus.clone(), config, commands));
    register::publish(&bus, commands).await.context("the catalogue of commands")?;

    let outcomes = bus.subscribe(latency::SUBJECT).await?;
    let requests = bus.serve(interactions::SUBJECT, interactions::GROUP).await?;
    let queue = bus.consume(Stream::Events, queue::CONSUMER, queue::AHEAD).await?;
    let chatter = bus.consume(Stream::Chatter, chatter::CONSUMER, chatter::AHEAD).await?;
    let community = bus.consume(Stream::Events, community::CONSUMER, community::AHEAD).await?;
    let told = Arc::clone(&worker);
    let announcement = bus.announce(context.name, move || told.stats()).await?;
    // Ready means that the server knows of these subscriptions.
    bus.round_trip().await;
    info!(commands = commands.len(), "taking commands");

    let shutdown = &context.shutdown;
    tokio::join!(
        probes.watch(&bus, queue.attached(), shutdown),
        Box::pin(latency::listen(&worker, outcomes, shutdown)),
        Box::pin(interactions::serve(&worker, requests, shutdown)),
        Box::pin(queue::work(&worker, queue, shutdown)),
        Box::pin(chatter::count(&worker, chatter, shutdown)),
        Box::pin(community::count(&worker, community, shutdown)),
    );
    drop(announcement);
    bus.drain().await;
    Ok(())
}
