//! Updates as people get them: a bot that was set up by `docs/deploy.md`, pushes and releases, good and bad ones, while
//! people talk. Each must end as it should, by itself, and nothing that was said may be lost.
//!
//! | file | what it owns |
//! |---|---|
//! | `plans` | what is pushed and released, and how that must end |
//! | `forge` | the git server, its author, its deliveries |
//! | `shop` | the registry, signed releases |
//! | `site` | the bot's folder, what can be seen of the bot |
//! | `table` | what was measured |

mod forge;
mod plans;
mod shop;
mod site;
mod table;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use protocol::control::{Deploy, DeployState};
use tokio::time::sleep;

pub use self::table::{Deployed, markdown};
use self::{
    forge::Forge,
    plans::{Act, Deployer, Plan},
    shop::Shop,
    site::{Running, Site},
};
use super::{
    people::People,
    window::{Window, settle, tell},
};
use crate::{paths, shell};

/// What `--only` calls all of this.
pub const NAME: &str = "deploy:";
/// How long it may take until everybody is answered at once again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(75);
/// How long everybody talks between two deploys, so that their lines are told apart.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take until a killed deployer runs again, or a step begins at which it is to be killed.
const STEP_LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(200);

/// Whether there is any such trial.
#[must_use]
pub fn any(only: Option<&str>) -> bool {
    all().any(|plan| only.is_none_or(|only| plan.name.contains(only)))
}

fn all() -> impl Iterator<Item = &'static Plan> {
    plans::BUILD.iter().chain(&plans::PULL)
}

/// The names of all trials.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|plan| plan.name)
}

/// Sets bots up, and rolls out; what was measured.
///
/// # Errors
/// When something cannot be done, or a deploy ends otherwise than it must.
pub async fn run(
    folder: &Path,
    image: &str,
    only: Option<&str>,
    deployed: &mut Vec<Deployed>,
) -> anyhow::Result<()> {
    let (build, pull): (Vec<&Plan>, Vec<&Plan>) =
        (plans::chosen(&plans::BUILD, only).collect(), plans::chosen(&plans::PULL, only).collect());
    if !build.is_empty() {
        shell::complain("setting up a bot that is updated by pushes");
        let (site, origin) = by_pushes(&folder.join("pushes"), image).await?;
        try_all(&site, &origin, &build, deployed).await?;
    }
    if pull.is_empty() {
        return Ok(());
    }
    match shop::missing() {
        Some(names) => shell::complain(&format!("releases are not tried: {names} not installed")),
        None => {
            shell::complain("setting up a bot that is updated by releases");
            let (site, origin) = by_releases(&folder.join("releases"), image).await?;
            try_all(&site, &origin, &pull, deployed).await?;
        }
    }
    Ok(())
}

/// Where versions come from.
struct Origin {
    forge: Forge,
    shop: Option<Shop>,
}

async fn by_pushes(folder: &Path, image: &str) -> anyhow::Result<(Site, Origin)> {
    let forge = Forge::start(folder, "vigie-trial-pushes", image).await?;
    let bot = folder.join("bot");
    forge.clone_to(&bot).await?;
    let mut site = Site::set_up("pushes", bot, "vigie-trial-pushes:local")?;
    let [key, hosts] = forge.keys_of_bot();
    for (name, value) in [
        ("DEPLOY_MODE", "build"),
        // What the tree holds is packed, and nothing compiled.
        ("BINARIES", "prebuilt"),
        // Written on the image, so that it is told from those that come.
        ("VIGIE_COMMIT", forge.newest().await?.as_str()),
        ("DEPLOY_GIT_URL", &Forge::url()),
        ("DEPLOY_GIT_SSH_KEY", &site.give(&key)?),
        ("DEPLOY_GIT_KNOWN_HOSTS", &site.give(&hosts)?),
    ] {
        site.stack.set(name, value)?;
    }
    site.build().await?;
    Ok((site, Origin { forge, shop: None }))
}

async fn by_releases(folder: &Path, image: &str) -> anyhow::Result<(Site, Origin)> {
    let forge = Forge::start(folder, "vigie-trial-releases", image).await?;
    let bot = folder.join("bot");
    forge.clone_to(&bot).await?;
    let shop = Shop::open(folder, &forge.author).await?;
    shop.publish(plans::FIRST, true).await?;
    let mut site = Site::set_up("releases", bot, &format!("{}:{}", shop.image, plans::FIRST))?;
    site.label = "org.opencontainers.image.version";
    let release = site.folder.join("release");
    shop.hand_out(&release)?;
    for (name, value) in [
        ("VIGIE_PULL", "missing"),
        ("DEPLOY_MODE", "pull"),
        ("DEPLOY_RELEASE", &release.join("release.json").display().to_string()),
        ("DEPLOY_RELEASE_KEY", &shop.public),
    ] {
        site.stack.set(name, value)?;
    }
    Ok((site, Origin { forge, shop: Some(shop) }))
}

async fn try_all(
    site: &Site,
    origin: &Origin,
    plans: &[&Plan],
    deployed: &mut Vec<Deployed>,
) -> anyhow::Result<()> {
    let people = start(site).await?;
    origin.forge.join(&format!("{}_ops", site.stack.name())).await?;
    let mut rows = Vec::new();
    let acted = tokio::select! {
        ended = people.talk() => {
            Err(ended.err().unwrap_or_else(|| anyhow!("for no reason")).context("people stopped talking"))
        }
        done = act(site, origin, &people, plans, &mut rows) => done,
    };
    let windows: Vec<Window> = rows.iter().map(|(window, _)| *window).collect();
    let judged: Vec<Deployed> = rows
        .into_iter()
        .map(|(window, deploy)| Deployed { trial: window.judge(&people.ledger()), state: deploy.state })
        .collect();
    let is_broken = judged.iter().any(|row| row.trial.lost + row.trial.doubled > 0);
    deployed.extend(judged);
    if acted.is_err() || is_broken {
        tell(&windows, &people.ledger());
        let log = paths::target().join("compose").join(format!("{}.log", site.stack.name()));
        fs::create_dir_all(log.parent().unwrap_or(&log))?;
        fs::write(&log, site.stack.compose(&["logs", "--no-color", "--timestamps"]).await?)?;
        shell::complain(&format!("the logs of all containers are in {}", paths::shown(&log)));
    }
    acted?;
    site.stack.down().await
}

/// The sandbox and people first, then the bot, by the command of the docs.
async fn start(site: &Site) -> anyhow::Result<People> {
    site.stack.up(&[], &["sandbox"]).await?;
    let people = People::come(&site.stack.url).await?;
    site.stack.up(&["--profile", "deploy"], &[]).await?;
    Ok(people)
}

async fn act(
    site: &Site,
    origin: &Origin,
    people: &People,
    plans: &[&Plan],
    rows: &mut Vec<(Window, Deploy)>,
) -> anyhow::Result<()> {
    people.all_well(Duration::ZERO, RECOVERY_LIMIT).await.context("at the beginning")?;
    for plan in plans {
        sleep(PAUSE).await;
        let begin = people.now();
        let deploy = one(site, origin, plan).await.context(plan.name)?;
        let took = took(&deploy);
        people.all_well(people.now(), RECOVERY_LIMIT).await.context(plan.name)?;
        let window = Window { name: plan.name, spared: None, begin, end: people.now(), took };
        let words = deploy.words.lines().next().unwrap_or_default();
        shell::complain(&format!("{}; {words}", window.judge(&people.ledger())));
        rows.push((window, deploy));
    }
    let windows: Vec<Window> = rows.iter().map(|(window, _)| *window).collect();
    settle(&windows, people).await;
    Ok(())
}

/// From the delivery, which the deployer takes at once, to the end.
fn took(deploy: &Deploy) -> Duration {
    Duration::from_millis(deploy.ended_ms.saturating_sub(deploy.began_ms))
}

/// Does it, waits for the end and looks whether it is the right one.
async fn one(site: &Site, origin: &Origin, plan: &Plan) -> anyhow::Result<Deploy> {
    let (before, known) = (site.running().await?, site.history().await?);
    let (good, deployer) = (version_of(&before)?, site.deployer().await?);
    let version = publish(site, origin, plan, &good, known.first()).await?;
    for service in plan.kills {
        kill_when_new(site, &version, service).await?;
    }
    let deploy = site.next_deploy(known.len()).await?;
    ensure!(
        deploy.state == plan.ends,
        "expected {:?}, found {:?}: {}",
        plan.ends,
        deploy.state,
        deploy.words
    );
    ensure!(deploy.words.contains(plan.words), "expected {:?}, found {:?}", plan.words, deploy.words);
    let after = site.running().await?;
    match plan.ends {
        DeployState::RolledOut => all_are(&after, &version)?,
        DeployState::NeverStarted => ensure!(after == before, "something was changed: {before:?}, {after:?}"),
        _ => all_are(&after, &good)?,
    }
    let counts = |running: &Running| running.iter().map(|(name, all)| (name.clone(), all.len())).collect();
    let (before, after): (Vec<_>, Vec<_>) = (counts(&before), counts(&after));
    ensure!(before == after, "there were {before:?}, there are {after:?}");
    if let Some(words) = plan.seen {
        let said = site.ask("!uptime").await?;
        ensure!(said.contains(words), "people see {said}");
    }
    match plan.deployer {
        Deployer::Stays => ensure!(site.deployer().await? == deployer, "the deployer is another one"),
        Deployer::Follows => site.deployer_becomes(&version, "the deployer is that of ").await?,
        Deployer::ComesBack => site.deployer_becomes(&deployer, "the one before works again").await?,
    }
    Ok(deploy)
}

/// Has the bot told of something new; what its images will say of themselves.
async fn publish(
    site: &Site,
    origin: &Origin,
    plan: &Plan,
    good: &str,
    last: Option<&Deploy>,
) -> anyhow::Result<String> {
    let Origin { forge, shop } = origin;
    match plan.act {
        Act::Rollback => {
            let status: serde_json::Value =
                serde_json::from_str(&site.vigie(&["deploy", "status", "--json"]).await?)?;
            site.vigie(&["deploy", "rollback", "--yes"]).await?;
            let kept = status["kept"][0].as_str();
            Ok(kept.with_context(|| format!("nothing is kept: {status}, {last:?}"))?.to_owned())
        }
        Act::Push(change) => {
            forge.restore(good).await?;
            change(&forge.author)?;
            let commit = forge.push(plan.name).await?;
            let said = forge::deliver(&site.door().await?, "push", site.secret("push"), &commit).await?;
            ensure!(said.to_string().contains("accepted"), "the delivery was answered {said}");
            Ok(commit)
        }
        Act::Release(version, change, is_signed) => {
            let shop = shop.as_ref().context("nobody makes releases")?;
            forge.restore("HEAD").await?;
            change(&forge.author)?;
            shop.publish(version, is_signed).await?;
            shop.hand_out(&site.folder.join("release"))?;
            shop.tell(site).await?;
            Ok(version.to_owned())
        }
    }
}

/// The version that all of it runs.
fn version_of(running: &Running) -> anyhow::Result<String> {
    let first = running.values().flatten().next().context("nothing runs")?;
    Ok(first.1.clone())
}

fn all_are(running: &Running, version: &str) -> anyhow::Result<()> {
    // A deploy names a commit by its beginning.
    let version = version.strip_prefix("c-").unwrap_or(version);
    for (service, containers) in running {
        for (id, found) in containers {
            ensure!(found.starts_with(version), "{service}: {id} is of {found:?}, expected {version}");
        }
    }
    Ok(())
}

/// Kills the deployer with -9 as soon as a container of this service is of the new version.
async fn kill_when_new(site: &Site, version: &str, service: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let is_new =
        |running: &Running| running.get(service).is_some_and(|all| all.iter().any(|one| one.1 == version));
    while !is_new(&site.running().await?) {
        ensure!(began.elapsed() < STEP_LIMIT, "{service} is not replaced");
        sleep(POLL).await;
    }
    for container in site.stack.of("deployer").await? {
        site.stack.crash(&container).await?;
    }
    Ok(())
}
