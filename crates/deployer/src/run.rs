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
use tokio::time::sleep;
use tracing::warn;

use crate::{
    config::Config, desk::Desk, docker::Docker, driver, hands::Hands, journal::Journal, lint::Allowed,
    plan::Want, schedule, source::Source,
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
    let desk = Arc::new(Desk::open(Journal::new(&config.data))?);
    // Whether it can be written is known before it must be.
    desk.change(|_| ())?;
    journal.up();
    let docker = docker(&config);
    let engine = context.health.component("docker");
    context.tasks.spawn("docker", look(docker.clone(), engine, context.shutdown.clone()));
    let connection = presence::connecting(&context, User::Deployer, &config.nats);
    context.tasks.spawn("nats", serve(context.clone(), desk.clone(), connection.clone()));
    let source = Source::new(&config)?;
    let often = (config.check, config.window);
    let looks = schedule::run(desk.clone(), docker.clone(), source.clone(), often, context.shutdown.clone());
    context.tasks.spawn("schedule", looks);
    let hands = Hands {
        source,
        allowed: Allowed {
            project: config.project.clone(),
            folder: config.folder.clone(),
            home: config.folder.clone(),
            env_file: config.env_file.clone(),
            binds: config.binds.clone(),
            services: config.services.clone(),
        },
        docker,
        connection,
        backup: config.backup,
        pace: config.pace,
        data: config.data.clone(),
        desk: desk.clone(),
    };
    let ends =
        context.metrics.counter_vec("deploys", "Deploys that ended, by how", "state").known(&driver::ENDS);
    driver::run(desk, hands, journal, ends, context.shutdown.clone()).await
}

fn docker(config: &Config) -> Docker {
    let mut environment = config.environment.clone();
    // Without a home, as in a container, the program would write below the root.
    if !environment.iter().any(|(name, _)| name == "HOME" || name == "DOCKER_CONFIG") {
        environment.push(("DOCKER_CONFIG".into(), config.data.join("docker").into()));
    }
    Docker {
        project: config.project.clone(),
        files: config.files.clone(),
        env_file: config.env_file.clone(),
        profiles: config.profiles.clone(),
        environment,
    }
}

/// Ready means that Docker answers.
async fn look(
    docker: Docker,
    engine: Component,
    shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match docker.platform().await {
            Ok(_) => engine.up(),
            Err(error) => engine.down(service::chain(&error)),
        }
        tokio::select! {
            () = sleep(LOOK_PAUSE) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Everything that needs NATS: waits for it, obeys, tells.
async fn serve(context: Context, desk: Arc<Desk>, mut connection: Connection) -> anyhow::Result<()> {
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
    let outcome = tokio::select! {
        outcome = obey(&bus, &desk) => outcome,
        outcome = tell(&bus, &desk) => outcome,
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
        let reply = take(desk, &ordered.order);
        if let Err(error) = ordered.answer(&DeployAnswer { v: VERSION, reply }).await {
            warn!(%error, "an order was not answered");
        }
    }
    anyhow::bail!("the connection to NATS was closed")
}

fn take(desk: &Desk, request: &DeployRequest) -> DeployReply {
    let want = match &request.order {
        DeployOrder::Status => return DeployReply::Status(Box::new(desk.status())),
        DeployOrder::History => return DeployReply::History { deploys: history(desk) },
        DeployOrder::Request { commit, force } => {
            Want::Newest { force: *force, commit: commit.as_deref().map(|commit| cut(commit, 64)) }
        }
        DeployOrder::Rollback { to } => {
            Want::Kept { name: to.as_deref().map(|name| cut(name, WORDS_MAX)).unwrap_or_default() }
        }
    };
    match desk.change(|book| book.accept(cut(&request.by, WORDS_MAX), want, unix_ms())) {
        Ok(Ok(job)) => DeployReply::Accepted { job },
        Ok(Err(reason)) => DeployReply::Refused { reason },
        Err(error) => DeployReply::Refused { reason: service::chain(&error) },
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
