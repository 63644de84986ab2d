//! The life of the service: connect, open the door, and at the end finish what is in work.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use bus::{Bus, Link, Login, Options, User};
use protocol::{ServiceStats, VERSION};
use service::{Context, NatsLogin};
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
    let NatsLogin { nkey, ca_file } = config.nats_login.clone();
    let login = Login { user: User::WebhookDeploy, nkey, ca_file };
    let options = Options { url: config.nats_url.clone(), name: context.instance.clone() };
    let connected = context.shutdown.run_until_cancelled(Bus::connect_as(&login, options));
    let Some(bus) = connected.await.transpose()? else { return Ok(()) };
    let mut orders = bus.obey_restart(context.name, &context.instance).await?;
    context.start_again_when(async move { orders.next().await.is_some() });
    let health = context.health.component("nats");
    let trouble = |link: &Link| (*link == Link::Down).then(|| AWAY.to_owned());
    context.tasks.spawn("link", health.follow(bus.link(), trouble, context.shutdown.clone()));
    let (told, started) = (context.clone(), Instant::now());
    let announcement = bus.announce(context.name, move || stats(&told, started)).await?;
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

fn stats(context: &Context, started: Instant) -> ServiceStats {
    let health = context.health.readiness();
    ServiceStats {
        v: VERSION,
        service: context.name.to_owned(),
        instance: context.instance.clone(),
        build: service::BUILD.to_owned(),
        uptime_s: started.elapsed().as_secs(),
        ready: health.ready,
        reason: health.reason,
        resident_bytes: service::resident_bytes(),
        metrics: context.metrics.snapshot(),
    }
}
