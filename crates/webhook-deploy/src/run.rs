//! The life of the service: connect, open the door, and at the end finish what is in work.

use std::sync::Arc;

use anyhow::Context as _;
use bus::{Bus, User};
use service::Context;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::{config::Config, door::Door, notes::Notes, numbers::Numbers, place::Means, server};

/// What the probes say when the link is down.
const AWAY: &str = "NATS is away; forges are told to deliver again later";

/// Runs the service.
///
/// # Errors
/// When NATS cannot be reached, or the address is taken.
pub async fn run(context: Context, config: Config) -> anyhow::Result<()> {
    let connected = presence::connect(&context, User::WebhookDeploy, &config.nats);
    let Some(bus) = connected.await? else { return Ok(()) };
    presence::follow_link(&context, context.health.component("nats"), &bus, AWAY);
    let announcement = presence::announce(&context, &bus).await?;
    let (notes, waiting) = Notes::new(&context.metrics);
    let (outcome, ()) = tokio::join!(serve(&context, config, bus.clone(), notes), waiting.store(bus.clone()));
    drop(announcement);
    bus.drain().await;
    outcome
}

/// Opens the door until the shutdown.
async fn serve(context: &Context, config: Config, bus: Bus, notes: Notes) -> anyhow::Result<()> {
    let health = context.health.component("hooks");
    if config.hooks.is_empty() {
        health.off("WEBHOOK_HOOKS_FILE is not set");
        context.shutdown.cancelled().await;
        return Ok(());
    }
    let listener = TcpListener::bind(config.address).await;
    let listener = listener.with_context(|| {
        format!("cannot listen on {}: set WEBHOOK_ADDR to a free address and port", config.address)
    })?;
    let hooks: Vec<&str> = config.hooks.iter().map(|hook| hook.id.as_str()).collect();
    info!(address = %listener.local_addr()?, hooks = hooks.join(","), "taking deliveries");
    let (numbers, work) = (Numbers::new(&context.metrics), TaskTracker::new());
    let (accepted_at, shutdown) = (numbers.accepted_at.clone(), context.shutdown.clone());
    let means = Means { bus, notes, accepted_at, work: work.clone(), shutdown: shutdown.clone() };
    let door = Door::new(config.hooks, config.proxies, means, numbers.clone());
    health.up();
    server::serve(listener, Arc::new(door), numbers, work, shutdown).await;
    Ok(())
}
