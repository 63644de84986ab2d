//! The life of the service: the connection, the orders, the deploys and the notices side by side.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{Bus, User};
use presence::Connection;
use protocol::{
    VERSION,
    control::{DeployAnswer, DeployOrder, DeployReply, DeployRequest, WORDS_MAX},
};
use service::{Component, Context, clock::unix_ms};
use tokio::{sync::watch, time::sleep};
use tracing::{error, warn};

use crate::{
    config::{Config, SourceConfig},
    desk::Desk,
    docker::Docker,
    driver,
    engine::Engine,
    hands::Hands,
    journal::Journal,
    lint::Allowed,
    lock::Lock,
    plan::Want,
    schedule,
    shelf::Shelf,
    source::Source,
    systemd::Systemd,
};

/// The name under which it is commanded.
const COMMANDED_AS: &str = "deploy";
/// After a notice that was not kept, before the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks whether Docker answers.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

/// Runs the deployer. A deploy that was going on when it ended goes on, or back; NATS need not be there for that.
///
/// # Errors
/// When the journal cannot be read, or a part of it fails.
pub async fn run(context: Context, config: Config) -> anyhow::Result<()> {
    let journal = context.health.component("journal");
    let config = Config { data: std::path::absolute(&config.data)?, ..config };
    fs::create_dir_all(&config.data).with_context(|| format!("{} cannot be made", config.data.display()))?;
    let lock = Lock::open(&config.data)?;
    let engine = engine(&config)?;
    let health = context.health.component(engine.name());
    context.tasks.spawn("engine", look(engine, health, context.shutdown.clone()));
    let connection = presence::connecting(&context, User::Deployer, &config.nats);
    let (begin, begun) = watch::channel(None);
    context.tasks.spawn("nats", serve(context.clone(), begun, connection.clone()));
    // Whoever takes the place of another says before whether it can read what that one wrote.
    Journal::new(&config.data).read()?;
    journal.up();
    match context.shutdown.run_until_cancelled(lock.hold()).await {
        Some(held) => held?,
        None => return Ok(()),
    }
    let desk = Arc::new(Desk::open(Journal::new(&config.data), Some(lock))?);
    // Whether it can be written is known before it must be.
    desk.change(|_| ())?;
    begin.send_replace(Some(desk.clone()));
    let hands = hands(&config, context.instance.clone(), desk.clone(), connection)?;
    let often = (config.check, config.window, config.pace);
    let (engine, source) = (hands.engine.clone(), hands.source.clone());
    let looks = schedule::run(desk.clone(), engine, source, often, context.shutdown.clone());
    context.tasks.spawn("schedule", looks);
    crate::numbers::register(&context.metrics, &desk);
    let ends =
        context.metrics.counter_vec("deploys", "Deploys that ended, by how", "state").known(&driver::ENDS);
    driver::run(desk, hands, journal, ends, context.shutdown.clone()).await
}

/// Everything that a step needs.
///
/// # Errors
/// When there is no client for the web.
pub fn hands(
    config: &Config,
    instance: String,
    desk: Arc<Desk>,
    connection: Connection,
) -> anyhow::Result<Hands> {
    Ok(Hands {
        source: Source::new(config)?,
        engine: engine(config)?,
        connection,
        instance,
        backup: config.backup,
        pace: config.pace,
        data: config.data.clone(),
        desk,
    })
}

fn engine(config: &Config) -> anyhow::Result<Engine> {
    if let SourceConfig::Binaries { programs, .. } = &config.source {
        let shelf = Shelf { root: programs.clone() };
        let client = reqwest::Client::builder().no_proxy().build()?;
        return Ok(Engine::Systemd(Systemd { environment: config.environment.clone(), shelf, client }));
    }
    let mut environment = config.environment.clone();
    // Without a home, as in a container, the program would write below the root.
    if !environment.iter().any(|(name, _)| name == "HOME" || name == "DOCKER_CONFIG") {
        environment.push(("DOCKER_CONFIG".into(), config.data.join("docker").into()));
    }
    let docker = Docker {
        project: config.project.clone(),
        files: config.files.clone(),
        env_file: config.env_file.clone(),
        profiles: config.profiles.clone(),
        environment,
    };
    let allowed = Box::new(Allowed {
        project: config.project.clone(),
        folder: config.folder.clone(),
        home: config.folder.clone(),
        env_file: config.env_file.clone(),
        binds: config.binds.clone(),
        services: config.services.clone(),
        given: None,
        unseen: config.contained.then(|| config.data.clone()),
    });
    Ok(Engine::Docker { docker, allowed, operations: config.operations })
}

/// Ready means that the engine answers.
async fn look(
    engine: Engine,
    health: Component,
    shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match engine.platform().await {
            Ok(_) => health.up(),
            Err(words) => health.down(words),
        }
        tokio::select! {
            () = sleep(LOOK_PAUSE) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Everything that needs NATS: waits for it, obeys, tells.
async fn serve(
    context: Context,
    mut begun: watch::Receiver<Option<Arc<Desk>>>,
    mut connection: Connection,
) -> anyhow::Result<()> {
    let health = context.health.component("nats");
    let bus = loop {
        match connection.borrow_and_update().clone() {
            Ok(bus) => break bus,
            Err(reason) => health.down(reason),
        }
        tokio::select! {
            changed = connection.changed() => changed?,
            () = context.shutdown.cancelled() => return Ok(()),
        }
    };
    // What it was told to do goes on after the start, when it is told to start again.
    let announcement = presence::announce(&context, &bus).await?;
    presence::follow_link(&context, health, &bus, "NATS is away");
    let work = async {
        let desk = begun.wait_for(Option::is_some).await.map(|desk| desk.clone());
        // Without one it ends, and so do we.
        let Ok(Some(desk)) = desk else { return std::future::pending().await };
        tokio::select! {
            outcome = obey(&bus, &desk) => outcome,
            outcome = tell(&bus, &desk) => outcome,
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = context.shutdown.cancelled() => Ok(()),
    };
    drop(announcement);
    bus.drain().await;
    outcome
}

/// Answers each order at once.
async fn obey(bus: &Bus, desk: &Desk) -> anyhow::Result<()> {
    let mut orders = bus.obey::<DeployRequest>(COMMANDED_AS).await?;
    while let Some(ordered) = orders.next().await {
        let Some(reply) = take(desk, &ordered.order) else { continue };
        if let Err(error) = ordered.answer(&DeployAnswer { v: VERSION, reply }).await {
            warn!(%error, "an order was not answered");
        }
    }
    anyhow::bail!("the connection to NATS was closed")
}

/// `None` for what cannot be written down: who hears nothing asks again, and who is refused does not.
fn take(desk: &Desk, request: &DeployRequest) -> Option<DeployReply> {
    let want = match &request.order {
        DeployOrder::Status => return Some(DeployReply::Status(Box::new(desk.status()))),
        DeployOrder::History => return Some(DeployReply::History { deploys: history(desk) }),
        DeployOrder::Request { commit, force } => {
            Want::Newest { force: *force, commit: commit.as_deref().map(|commit| cut(commit, 64)) }
        }
        DeployOrder::Rollback { to } => {
            Want::Kept { name: to.as_deref().map(|name| cut(name, WORDS_MAX)).unwrap_or_default() }
        }
    };
    match desk.change(|book| book.accept(cut(&request.by, WORDS_MAX), want, unix_ms())) {
        Ok(Ok(job)) => Some(DeployReply::Accepted { job }),
        Ok(Err(reason)) => Some(DeployReply::Refused { reason }),
        Err(error) => {
            error!(by = request.by, error = service::chain(&error), "an order is not answered");
            None
        }
    }
}

/// As many as one message carries.
fn history(desk: &Desk) -> Vec<protocol::control::Deploy> {
    /// Far below what NATS takes, with the words of each.
    const SHOWN_MAX: usize = 50;
    desk.book().history.into_iter().take(SHOWN_MAX).collect()
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// Notes for good what was done.
async fn tell(bus: &Bus, desk: &Desk) -> anyhow::Result<()> {
    let mut changes = desk.changes();
    loop {
        changes.mark_unchanged();
        let Some(notice) = desk.book().untold.first().cloned() else {
            changes.changed().await?;
            continue;
        };
        match bus.note(&notice).await {
            Ok(()) => {
                // Where it cannot be written it is told again, and is stored once all the same.
                if let Err(error) = desk.change(|book| book.untold.retain(|other| *other != notice)) {
                    warn!(error = service::chain(&error), "it is not kept that a notice was told");
                    sleep(RETRY_PAUSE).await;
                }
            }
            Err(error) => {
                warn!(error = service::chain(&error), "a notice was not stored; trying again");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}
