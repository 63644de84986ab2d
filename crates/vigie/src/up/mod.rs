//! `vigie up`: everything on one machine, without Docker. It starts NATS, (the sandbox,) the gateways
//! and the workers; starts again what ends; and ends all of it in order, in at most five seconds.
//!
//! Invariants: two of them never use one data folder; no process outlives this one, whatever ends it;
//! nothing is ended by its name.

mod backoff;
mod child;
mod data;
mod hold;
mod log;
mod nats;
mod part;
mod plan;
mod ports;
mod probe;
mod report;
mod stop;
mod supervise;
mod writer;

pub(crate) use hold::FILE as HOLD;
pub(crate) use log::{EARLIER as EARLIER_LOG, NAME as LOG};
pub(crate) use stop::Stopper;

use std::{convert::Infallible, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use service::Settings;
use tokio::{sync::watch, time::Instant};

use self::{
    data::Data,
    log::Log,
    part::{Part, Stage},
    plan::Plan,
    report::{Report, Reporter, State},
    supervise::{Condition, Doing, Team},
};
use crate::{
    cli, find,
    here::Shape,
    provision::{self, Upkeep},
    settings,
};

/// More workers than a machine has use for.
pub(crate) const MOST_WORKERS: i64 = 64;
/// After a first part says that its settings cannot be used, the others may say so too.
const GATHER_BAD_SETTINGS: Duration = Duration::from_millis(500);

/// What its `--help` ends with. Its parts have probes, each its own; a second one here could only repeat them.
const ENDING: &str = "Whether it works: `vigie status` asks every part and exits with 1 when one of them is \
not ready. Each part also answers /livez, /readyz and /metrics, at the address that --json prints when it starts.

Exit codes: 0 ended as it was asked to; 1 something is missing or cannot be started; 64 settings or arguments cannot be \
used";

/// Arguments of `vigie up`.
#[derive(clap::Args, Debug)]
#[command(after_help = ENDING)]
pub(crate) struct Options {
    #[command(flatten)]
    pub shape: Shape,
    /// Where data is kept
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Print what happens to the parts as one JSON object a line, and their logs on standard error
    #[arg(long)]
    pub json: bool,
    /// Stop in order when standard input closes, as when the program that started this one is gone
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Leave the terminal that it was started in, as `vigie start` has it
    #[arg(long, hide = true, conflicts_with_all = ["json", "until_stdin_closes"])]
    pub background: bool,
}

/// Runs everything until a signal.
///
/// # Errors
/// When something needed is missing or cannot be started; the message says what to do.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.background {
        // Where it leads a session already there is none to leave.
        let _ = rustix::process::setsid();
    }
    let mut stopper = Stopper::new(options.until_stdin_closes)?;
    let mut settings = Settings::load(&[settings::SETTINGS]);
    let keeping = provision::keeping(&mut settings);
    let nats_url = settings.optional("NATS_URL");
    let nats_server = settings.optional("NATS_SERVER");
    if !settings::usable(&settings) {
        return Ok(cli::bad_settings());
    }
    let mut data = Data::open(&options.data, options.shape.sandbox)?;
    let mut plan = Plan::make(&options, &data, keeping, nats_url, nats_server.as_deref())?;
    let running = find::Running {
        pid: std::process::id(),
        nats_url: plan.nats_url.clone(),
        url: plan.url.clone(),
        background: options.background,
        sandbox: options.shape.sandbox,
        workers: options.shape.workers,
        ..find::Running::default()
    };
    data.tell(&running)?;

    // Kept until everything has ended.
    let _claims = std::mem::take(&mut plan.claims);
    let reporter = Reporter::new(options.json, &plan.names(), Log::open(data.folder())?)?;
    for note in &plan.notes {
        reporter.note(note);
    }
    let mut team = Team::new(reporter.clone());
    let started = Instant::now();
    let (conditions, total) = (team.conditions(), plan.parts.len());
    let held = team.held();
    let orders = hold::Orders::new(data.folder(), plan.unfinished.take(), plan.bot());
    held.send_replace(orders.look());
    if orders.half_restored() {
        reporter.note(
            "a restore did not come to its end: the bot starts when backup has gone back from it; `vigie backup status` \
             says how that stands",
        );
    }
    let outcome = tokio::select! {
        outcome = work(&mut team, plan, &reporter, started) => outcome,
        never = write_down(&mut data, running, total, conditions, &reporter) => match never {},
        never = orders.follow(&held) => match never {},
        () = stopper.asked() => Ok(()),
    };
    let asked = Instant::now();
    tokio::select! {
        () = team.stop() => {}
        () = stopper.asked_again() => team.kill().await,
    }
    reporter.report(&Report::new("vigie", State::Stopped).after(asked.elapsed()));
    reporter.finish().await;
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) if reason.is::<BadSettings>() => Ok(cli::refuse(&format!("{reason:#}"))),
        Err(reason) => Err(reason),
    }
}

/// Writes down how the parts are doing, for other commands.
async fn write_down(
    data: &mut Data,
    mut running: find::Running,
    total: usize,
    mut conditions: watch::Receiver<Vec<Doing>>,
    reporter: &Reporter,
) -> Infallible {
    while conditions.changed().await.is_ok() {
        let seat = |doing: &Doing| find::Seat {
            name: doing.name.clone(),
            pid: doing.pid,
            ready: doing.condition == Condition::Ready,
            gave_up: doing.condition == Condition::GaveUp,
            held: doing.condition == Condition::Held,
        };
        running.parts = conditions.borrow_and_update().iter().map(seat).collect();
        // Services are added once what they need is ready.
        running.ready = running.parts.len() == total && running.parts.iter().all(|part| part.ready);
        if let Err(reason) = data.tell(&running) {
            reporter.note(&format!("{reason:#}"));
        }
    }
    std::future::pending().await
}

/// Some part cannot use its settings: a restart would not help.
#[derive(Debug, thiserror::Error)]
#[error("settings of {0} cannot be used, see above; mend them and start again")]
struct BadSettings(String);

/// Runs the parts, and keeps what they need in a NATS that somebody else runs. Ends only with an error.
async fn work(team: &mut Team, mut plan: Plan, reporter: &Reporter, started: Instant) -> anyhow::Result<()> {
    let upkeep = match plan.external_nats.take() {
        Some(nats) => Some(nats.open().await?),
        None => None,
    };
    tokio::select! {
        outcome = run_parts(team, plan, reporter, started) => outcome,
        outcome = keep(upkeep, reporter) => outcome.map(|never| match never {}),
    }
}

/// The NATS of this process needs none of this: it is provisioned at each of its starts.
async fn keep(upkeep: Option<Upkeep>, reporter: &Reporter) -> anyhow::Result<Infallible> {
    match upkeep {
        Some(upkeep) => upkeep.go_on(|text| reporter.note(text)).await,
        None => std::future::pending().await,
    }
}

/// Starts one stage after the other, then watches. Ends only with an error.
async fn run_parts(team: &mut Team, plan: Plan, reporter: &Reporter, started: Instant) -> anyhow::Result<()> {
    let url = plan.url.clone();
    // What the services connect to is there when they look.
    let (first, services): (Vec<Part>, Vec<Part>) =
        plan.parts.into_iter().partition(|part| part.stage <= Stage::Sandbox);
    for parts in [first, services] {
        parts.into_iter().for_each(|part| team.start(part));
        all_ready(team).await?;
    }
    let mut ready = Report::new("vigie", State::Ready).after(started.elapsed());
    ready.url = Some(url);
    reporter.report(&ready);
    let mut conditions = team.conditions();
    loop {
        stop_for_bad_settings(team, &mut conditions).await?;
    }
}

async fn all_ready(team: &Team) -> anyhow::Result<()> {
    let mut conditions = team.conditions();
    while conditions.borrow_and_update().iter().any(|one| one.condition != Condition::Ready) {
        stop_for_bad_settings(team, &mut conditions).await?;
    }
    Ok(())
}

/// Waits for a change and looks whether some part has given up.
async fn stop_for_bad_settings(
    team: &Team,
    conditions: &mut watch::Receiver<Vec<Doing>>,
) -> anyhow::Result<()> {
    if conditions.changed().await.is_err() {
        bail!("nothing runs any more");
    }
    if !team.any(Condition::GaveUp) {
        return Ok(());
    }
    tokio::time::sleep(GATHER_BAD_SETTINGS).await;
    let names = team.names_of(Condition::GaveUp);
    Err(BadSettings(names.join(", ")).into())
}
