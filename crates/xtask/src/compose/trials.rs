//! What is done to the stack while people talk, and what became of what they said meanwhile.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use tokio::time::sleep;

use super::{
    deploys,
    docker::docker,
    people::People,
    project::{Container, Project},
    report::Trial,
    window::{Window, settle, tell},
};
use crate::{chaos::kinds::Platform, paths, shell};

/// How long it may take until everybody is answered at once again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(75);
/// How long a container is off its network.
const CUT: Duration = Duration::from_secs(3);
/// How long everybody talks between two trials, so that their lines are told apart.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a container may take to be healthy, or to be found unhealthy.
const HEALTH_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);
/// A disk that may be filled is at most this large: `deploy/compose/small-disk.yaml`.
const SMALL_DISK_KIB: u64 = 64 * 1024;

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// One worker becomes four, and one again.
    Scale,
    /// The process is killed with -9.
    Kill(&'static str),
    /// The container is off the network for [`CUT`].
    Cut(&'static str, &'static str),
    /// A new container starts beside the old one, which then ends.
    Roll(&'static str),
    /// The container is replaced; there is none meanwhile.
    Recreate(&'static str),
    /// NATS is stopped; every service says so; it is started again.
    Blind,
    /// The disk of NATS is full; NATS says so; there is room again, and NATS is restarted.
    FillDisk,
}

/// One trial.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    deed: Deed,
    /// Where nobody can hear, or finish saying, what was on its way: Twitch repeats nothing.
    spared: Option<Platform>,
}

const fn plan(name: &'static str, deed: Deed) -> Plan {
    Plan { name, deed, spared: None }
}

const fn spared(name: &'static str, deed: Deed) -> Plan {
    Plan { name, deed, spared: Some(Platform::Twitch) }
}

const PLANS: [Plan; 25] = [
    plan("workers 1 → 4 → 1", Deed::Scale),
    plan("new command-worker beside the old", Deed::Roll("command-worker")),
    plan("new discord-gateway beside the old", Deed::Roll("discord-gateway")),
    plan("new twitch-gateway beside the old", Deed::Roll("twitch-gateway")),
    plan("command-worker replaced", Deed::Recreate("command-worker")),
    plan("discord-gateway replaced", Deed::Recreate("discord-gateway")),
    spared("twitch-gateway replaced", Deed::Recreate("twitch-gateway")),
    plan("provision replaced", Deed::Recreate("provision")),
    plan("healthcheck replaced", Deed::Recreate("healthcheck")),
    plan("backup replaced", Deed::Recreate("backup")),
    plan("nats replaced", Deed::Recreate("nats")),
    plan("command-worker: kill -9", Deed::Kill("command-worker")),
    plan("discord-gateway: kill -9", Deed::Kill("discord-gateway")),
    spared("twitch-gateway: kill -9", Deed::Kill("twitch-gateway")),
    plan("provision: kill -9", Deed::Kill("provision")),
    plan("healthcheck: kill -9", Deed::Kill("healthcheck")),
    plan("backup: kill -9", Deed::Kill("backup")),
    plan("nats: kill -9", Deed::Kill("nats")),
    plan("command-worker: off the network of NATS", Deed::Cut("command-worker", "bus")),
    plan("discord-gateway: off the network of NATS", Deed::Cut("discord-gateway", "bus")),
    plan("twitch-gateway: off the network of NATS", Deed::Cut("twitch-gateway", "bus")),
    plan("nats: off the network", Deed::Cut("nats", "bus")),
    plan("discord-gateway: off the internet", Deed::Cut("discord-gateway", "edge")),
    plan("nats stopped, gateways and workers tell", Deed::Blind),
    plan("nats: disk full, freed, restarted", Deed::FillDisk),
];

/// The services that stop being ready without NATS, by their binaries.
const BLIND: [&str; 3] = ["discord-gateway", "twitch-gateway", "command-worker"];

/// Whether there is any such trial.
///
/// # Errors
/// When there is none; the message names them all.
pub fn check(only: Option<&str>) -> anyhow::Result<()> {
    let names =
        || PLANS.iter().map(|plan| plan.name).chain(deploys::names()).collect::<Vec<_>>().join("\n  ");
    ensure!(
        chosen(only).next().is_some(),
        "expected stack, memory, restore, or a part of one of these names:\n  {}",
        names()
    );
    Ok(())
}

fn chosen(only: Option<&str>) -> impl Iterator<Item = &'static Plan> {
    PLANS.iter().filter(move |plan| only.is_none_or(|only| plan.name.contains(only)))
}

/// Starts the stack, and does everything to it.
///
/// # Errors
/// When something cannot be done, or does not get well again.
pub async fn run(stack: Project, only: Option<&str>) -> anyhow::Result<Vec<Trial>> {
    shell::complain("starting a stack for trials");
    // Volumes are as compose.yaml and its overrides say only when Compose makes them.
    stack.compose(&["create"]).await?;
    stack.hold_volume().await?;
    stack.up(&[], &["sandbox"]).await?;
    let people = People::come(&stack.url).await?;
    stack.up(&[], &[]).await?;
    let mut windows = Vec::new();
    let acted = tokio::select! {
        ended = people.talk() => {
            Err(ended.err().unwrap_or_else(|| anyhow!("for no reason")).context("people stopped talking"))
        }
        done = act(&stack, &people, only, &mut windows) => done,
    };
    let trials: Vec<Trial> = windows.iter().map(|window| window.judge(&people.ledger())).collect();
    if acted.is_err() || trials.iter().any(|trial| trial.lost + trial.doubled > 0) {
        tell(&windows, &people.ledger());
        let log = paths::target().join("compose").join("trials.log");
        fs::create_dir_all(log.parent().unwrap_or(&log))?;
        fs::write(&log, stack.compose(&["logs", "--no-color", "--timestamps"]).await?)?;
        shell::complain(&format!("the logs of all containers are in {}", paths::shown(&log)));
    }
    acted?;
    stack.down().await?;
    Ok(trials)
}

async fn act(
    stack: &Project,
    people: &People,
    only: Option<&str>,
    windows: &mut Vec<Window>,
) -> anyhow::Result<()> {
    people.all_well(Duration::ZERO, RECOVERY_LIMIT).await.context("at the beginning")?;
    let services: Vec<String> = stack.containers().await?.into_iter().map(|one| one.service).collect();
    for plan in chosen(only) {
        // A stack may lack what only newer ones have.
        if let Deed::Recreate(name) | Deed::Kill(name) = plan.deed
            && !services.iter().any(|service| service == name)
        {
            shell::complain(&format!("{}: there is no such service", plan.name));
            continue;
        }
        sleep(PAUSE).await;
        let (begin, began) = (people.now(), Instant::now());
        do_it(stack, plan.deed).await.context(plan.name)?;
        let took = began.elapsed();
        people.all_well(people.now(), RECOVERY_LIMIT).await.context(plan.name)?;
        let window = Window { name: plan.name, spared: plan.spared, begin, end: people.now(), took };
        shell::complain(&format!("{}", window.judge(&people.ledger())));
        windows.push(window);
        all_healthy(stack).await.context(plan.name)?;
    }
    settle(windows, people).await;
    Ok(())
}

async fn do_it(stack: &Project, deed: Deed) -> anyhow::Result<()> {
    match deed {
        Deed::Scale => {
            for workers in ["command-worker=4", "command-worker=1"] {
                stack.up(&[], &["--no-recreate", "--scale", workers]).await?;
            }
        }
        Deed::Roll(service) => stack.roll(service).await?,
        Deed::Recreate(service) => {
            stack.up(&[], &["--no-deps", "--force-recreate", service]).await?;
        }
        Deed::Kill(service) => {
            for container in stack.of(service).await? {
                stack.crash(&container).await?;
                started_again(&container).await?;
            }
        }
        Deed::Cut(service, network) => {
            for container in stack.of(service).await? {
                stack.plug(&container, network, false).await?;
                sleep(CUT).await;
                stack.plug(&container, network, true).await?;
            }
        }
        Deed::Blind => blind(stack).await?,
        Deed::FillDisk => fill_disk(stack).await?,
    }
    Ok(())
}

async fn blind(stack: &Project) -> anyhow::Result<()> {
    let nats = stack.of("nats").await?;
    let nats: Vec<&str> = nats.iter().map(|one| one.id.as_str()).collect();
    docker(&[&["stop"], &nats[..]].concat()).await?;
    for service in BLIND {
        for container in stack.of(service).await? {
            let began = Instant::now();
            while docker(&["exec", &container.id, service, "--probe"]).await.is_ok() {
                ensure!(began.elapsed() < HEALTH_LIMIT, "{service} says that it is ready, without NATS");
                sleep(POLL).await;
            }
        }
    }
    docker(&[&["start"], &nats[..]].concat()).await.map(drop)
}

async fn fill_disk(stack: &Project) -> anyhow::Result<()> {
    let size = stack.on_volume("df -k /data | tail -n 1").await?;
    let kib = size.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    ensure!(kib.is_some_and(|kib| kib <= SMALL_DISK_KIB), "the disk of NATS is not the small one: {size}");
    // More than fits, and no more than that.
    let fill =
        format!("dd if=/dev/zero of=/data/full bs=1k count={SMALL_DISK_KIB} 2>/dev/null; test -s /data/full");
    stack.on_volume(&fill).await?;
    let told = health_of(stack, "nats", "unhealthy").await;
    stack.on_volume("rm /data/full").await?;
    told?;
    // By itself: see `deploy/compose/nats-health.sh`.
    health_of(stack, "nats", "healthy").await
}

async fn started_again(container: &Container) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let count =
            docker(&["inspect", "--format", "{{.RestartCount}} {{.State.Running}}", &container.id]).await?;
        if count.trim().strip_suffix(" true").is_some_and(|count| count != "0") {
            return Ok(());
        }
        ensure!(began.elapsed() < HEALTH_LIMIT, "{} was not started again", container.service);
        sleep(POLL).await;
    }
}

async fn health_of(stack: &Project, service: &str, wanted: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while !stack.of(service).await?.iter().all(|container| container.health == wanted) {
        ensure!(began.elapsed() < HEALTH_LIMIT, "{service} was not found {wanted}");
        sleep(POLL).await;
    }
    Ok(())
}

/// Waits until the engine calls all of it healthy.
async fn all_healthy(stack: &Project) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut sick = stack.containers().await?;
        sick.retain(|container| !["healthy", ""].contains(&container.health.as_str()));
        match sick.first() {
            None => return Ok(()),
            Some(one) if began.elapsed() > HEALTH_LIMIT => bail!("{} is {}", one.service, one.health),
            Some(_) => sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_chosen_by_a_part_of_its_name() {
        assert_eq!(chosen(Some("disk")).count(), 1);
        assert!(check(Some("no such thing")).unwrap_err().to_string().contains("nats: kill -9"));
    }
}
