//! `vigie start`, `stop` and `restart`: whatever runs Vigie here is told to. `restart` of a service is asked of
//! the service itself where NATS can be reached, which works from anywhere.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bus::{Bus, DISCOVERY_LIMIT, RequestError};
use protocol::{
    VERSION,
    control::{AuditResult, Restart},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    cli, find,
    here::{self, Part, Runs, Shape, State, Way},
    jobs::BY,
    note,
    paint::{self, Paint},
};

/// How long a service may take to say that it will start again.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take to be back: it drains first, and is started again after a pause that grows.
const BACK_LIMIT: Duration = Duration::from_secs(60);
/// How often is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What `--help` of each ends with.
const EXIT_CODES: &str = "Exit codes: 0 done, and all parts are as they should be; 1 not, or not in time;\n\
64 settings or arguments cannot be used";

/// Arguments of `vigie start`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct StartOptions {
    /// Only these parts, such as twitch-gateway; not with `vigie up`
    #[arg(value_name = "PART", value_parser = here::part_name)]
    parts: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Without Docker and systemd")]
    pub shape: Shape,
    #[command(flatten, next_help_heading = "What is meant")]
    runs: Runs,
}

/// Arguments of `vigie stop` and `vigie restart`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Only these parts, such as twitch-gateway
    #[arg(value_name = "PART", value_parser = here::part_name)]
    parts: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "What is meant")]
    runs: Runs,
}

/// Starts what does not run, and waits until it is ready.
///
/// # Errors
/// When it cannot be started; the message says what to do.
pub(crate) async fn start(options: &StartOptions) -> anyhow::Result<ExitCode> {
    let found = match here::find(&options.runs).await? {
        Some(found) => found,
        // Nothing else is here, and it needs nothing but its programs.
        None => here::up(&options.runs),
    };
    let odd_shape = options.shape.sandbox || options.shape.workers != 1;
    if odd_shape && found.way() != Way::Up {
        let why = format!("--sandbox and --workers are for `vigie up`, and this is {found}");
        return Ok(cli::refuse(&why));
    }
    cli::complain(&format!("starting {found}"));
    found.start(&options.parts, options.shape.clone()).await?;
    let parts = found.wait_until(|part| !concerns(part, &options.parts) || part.is_up()).await?;
    tell(found.way(), &parts, options.json, |part| !concerns(part, &options.parts) || part.is_up())
}

/// Stops what runs, in order.
///
/// # Errors
/// When it cannot be stopped; the message says what to do.
pub(crate) async fn stop(options: &Options) -> anyhow::Result<ExitCode> {
    let found = here::must_find(&options.runs).await?;
    cli::complain(&format!("stopping {found}"));
    found.stop(&options.parts).await?;
    let is_down = |part: &Part| matches!(part.state, State::Down | State::Done | State::Failing);
    let parts = found.wait_until(|part| !concerns(part, &options.parts) || is_down(part)).await?;
    tell(found.way(), &parts, options.json, |part| !concerns(part, &options.parts) || is_down(part))
}

/// Stops and starts again, and waits until it is ready.
///
/// # Errors
/// When it cannot be told to; the message says what to do.
pub(crate) async fn restart(options: &Options) -> anyhow::Result<ExitCode> {
    let found = here::find(&options.runs).await?;
    // NATS of Compose is out of reach from here, and the others have it on this machine.
    let by_nats = found.as_ref().is_none_or(|found| found.way() != Way::Compose) && !options.parts.is_empty();
    let mut obeyed = Vec::new();
    let mut rest = options.parts.clone();
    if by_nats {
        match ask_services(options).await {
            Ok(asked) => {
                (obeyed, rest) = (asked.obeyed, asked.deaf);
                if rest.is_empty() {
                    let parts: Vec<Part> = obeyed.iter().map(|(name, back)| told(name, *back)).collect();
                    return tell("nats", &parts, options.json, Part::is_up);
                }
                cli::complain(&format!("{} cannot be told over NATS", rest.join(", ")));
            }
            Err(reason) if found.is_none() => return Err(reason),
            Err(reason) => cli::complain(&format!("{reason:#}")),
        }
    }
    let found = match found {
        Some(found) => found,
        None => here::must_find(&options.runs).await?,
    };
    cli::complain(&format!("starting {found} again"));
    found.restart(&rest).await?;
    let parts = found.wait_until(|part| !concerns(part, &options.parts) || part.is_up()).await?;
    let back = |part: &Part| {
        let gone = obeyed.iter().any(|(name, back)| !back && here::is_called(&part.name, name));
        !gone && (!concerns(part, &options.parts) || part.is_up())
    };
    tell(found.way(), &parts, options.json, back)
}

/// What came of telling services to start again.
struct Asked {
    /// Those that did, and whether they are back.
    obeyed: Vec<(String, bool)>,
    /// Those of which nobody answers.
    deaf: Vec<String>,
}

/// Has services start again by `control.<service>.restart`.
///
/// # Errors
/// When NATS does not answer.
async fn ask_services(options: &Options) -> anyhow::Result<Asked> {
    let url = options.runs.which.nats_url()?;
    let bus = find::connect(&url).await?;
    let reason = "`vigie restart`".to_owned();
    let order = Restart { v: VERSION, by: BY.to_owned(), reason, instance: None };
    let mut asked = Asked { obeyed: Vec::new(), deaf: Vec::new() };
    for name in &options.parts {
        let told = Instant::now();
        match bus.command_restart(name, &order, ANSWER_LIMIT).await {
            Ok(_) => {
                cli::complain(&format!("{name} starts again"));
                let words = "told to start again".to_owned();
                note::done(&bus, "restart", name.clone(), AuditResult::Done, words).await;
                asked.obeyed.push((name.clone(), back(&bus, name, told).await));
            }
            // Whoever heard it and said nothing is stuck, which its supervisor gets over.
            Err(RequestError::NoResponders { .. } | RequestError::TimedOut { .. }) => {
                asked.deaf.push(name.clone());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(asked)
}

/// A service that was told to start again, as the parts of a supervisor are.
fn told(name: &str, back: bool) -> Part {
    let (state, detail) = if back {
        (State::Ready, "is back".to_owned())
    } else {
        let limit = paint::duration(BACK_LIMIT.as_secs());
        (State::Failing, format!("is not ready after {limit}: `vigie logs {name}` may say why"))
    };
    Part { name: name.to_owned(), state, detail }
}

/// Waits until every instance of a service is younger than the order, and ready; not for ever.
async fn back(bus: &Bus, name: &str, asked: Instant) -> bool {
    while asked.elapsed() < BACK_LIMIT {
        tokio::time::sleep(LOOK_EVERY).await;
        let stats = bus.stats(DISCOVERY_LIMIT).await;
        let mut ours = stats.iter().filter(|one| one.service == name).peekable();
        // A service counts whole seconds, and the one that ends still answers.
        let young = asked.elapsed().as_secs() + 1;
        if ours.peek().is_some() && ours.all(|one| one.ready && one.uptime_s < young) {
            return true;
        }
    }
    false
}

fn concerns(part: &Part, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| here::is_called(&part.name, name))
}

/// `by`: what runs them, or who told them.
fn tell(
    by: impl Serialize,
    parts: &[Part],
    json: bool,
    fits: impl Fn(&Part) -> bool,
) -> anyhow::Result<ExitCode> {
    let good = parts.iter().all(fits);
    if json {
        let all = json!({ "by": by, "good": good, "parts": parts });
        cli::say(&(all.to_string() + "\n"))?;
    } else {
        cli::say(&here::render(parts, Paint::stdout()))?;
    }
    Ok(code(good))
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
