//! `vigie backup restore` in the place of what is there: stops what talks to people and writes what they change, has the
//! service `backup` restore, starts it all again and looks that it is ready. What is restored, and how it goes back, is
//! not known here.

use std::process::ExitCode;

use bus::RequestError;
use protocol::control::BackupOrder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{RestoreOptions, open, request};
use crate::{
    ask, cli,
    find::{self, Running},
    here::{self, Hold, Part, Supervisor, Way},
    jobs,
    paint::Paint,
};

/// What `--help` ends with.
pub(super) const EXIT_CODES: &str = "Without --into it stops the gateways and the workers, restores, and starts them again, also when it\n\
failed: then all is as it was before.\n\n\
Exit codes: 0 restored, and all that was stopped is ready again; 1 refused, failed, or nobody answers:\n\
nothing has changed; 64 arguments cannot be used; 69 restored, and not all is ready again; 75 it still\n\
goes on, and what was stopped stays so";

/// How it ended, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Restored,
    /// What is there is as it was.
    AsBefore,
    /// Nothing that it exchanges may be used until it is over.
    Unknown,
}

/// Restores.
///
/// # Errors
/// When nobody answers, or what was stopped cannot be started again.
pub(super) async fn restore(options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    if !ask::can_ask(options.yes) {
        let why = "this replaces what is there, and there is no terminal to ask on: add --yes, or --into";
        cli::complain(why);
        return Ok(cli::bad_settings());
    }
    let found = if options.no_stop { None } else { here(options).await? };
    let bot = match &found {
        Some(found) => found.bot().await?,
        None => Vec::new(),
    };
    if found.is_none() && !options.no_stop {
        cli::complain(
            "nothing here runs Vigie: gateways and workers must be stopped where they run, or it refuses to restore",
        );
    }
    if options.waiting.no_wait && !bot.is_empty() {
        cli::complain(
            "who does not wait cannot start the bot again: leave out --no-wait, or `vigie stop` it and add --no-stop",
        );
        return Ok(cli::bad_settings());
    }
    if !options.yes && !ask::confirmed(question(options, found.as_ref(), &bot)).await? {
        cli::say("nothing was restored\n")?;
        return Ok(ExitCode::FAILURE);
    }
    match found {
        Some(found) if !bot.is_empty() => under(&found, &bot, options).await,
        found => Ok(code(job(found.as_ref(), options).await?)),
    }
}

fn question(options: &RestoreOptions, found: Option<&Supervisor>, bot: &[String]) -> String {
    let replace = format!("replace all it has kept by the backup {}", options.backup);
    match found {
        Some(found) if !bot.is_empty() => format!(
            "stop {} of {found}, {replace}, and start them again? What is there now is put aside",
            bot.join(", ")
        ),
        _ => format!("{replace}? What is there now is put aside"),
    }
}

/// What runs it here. With `NATS_URL` that is only who uses the very same server: another bot's must go on.
async fn here(options: &RestoreOptions) -> anyhow::Result<Option<Supervisor>> {
    let runs = &options.runs;
    match find::nats_url_setting()? {
        Some(url) if !runs.is_named() => {
            let same = Running::find(&runs.which.data).is_some_and(|running| running.nats_url == url);
            Ok(same.then(|| here::up(runs)))
        }
        _ => here::find(runs).await,
    }
}

/// Stops the bot, restores, and starts it again, whatever comes of it.
async fn under(found: &Supervisor, bot: &[String], options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    // From here on Ctrl-C is heard, and does not leave the bot stopped.
    let mut interrupt = signal(SignalKind::interrupt())?;
    cli::complain(&format!("stopping {} of {found}", bot.join(", ")));
    let paused = tokio::select! {
        paused = found.pause(bot) => paused.map_err(|reason| reason.context("nothing was restored")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted: nothing was restored")),
    };
    let (hold, end) = match paused {
        Ok(hold) => (hold, job(Some(found), options).await),
        Err(reason) => (None, Err(reason)),
    };
    let end = match end {
        Ok(End::Unknown) => later(found, options, &mut interrupt).await?,
        end => end,
    };
    if matches!(end, Ok(End::Unknown)) {
        cli::complain(&format!(
            "it still goes on, and {} must not run meanwhile: when `vigie backup status` says that it is over, `vigie \
             start {}`",
            bot.join(", "),
            bot.join(" ")
        ));
        return Ok(jobs::still_going_on());
    }
    let ready = start(found, bot, hold, options.waiting.json).await;
    match (end, ready) {
        (Ok(End::Restored), Ok(true)) => Ok(ExitCode::SUCCESS),
        (Ok(End::Restored), Ok(false)) => Ok(ExitCode::from(UNAVAILABLE)),
        (Ok(_), Ok(_)) => Ok(ExitCode::FAILURE),
        (Err(reason), Ok(_)) | (Ok(_), Err(reason)) => Err(reason),
        (Err(reason), Err(other)) => Err(reason.context(format!("{other:#}"))),
    }
}

/// EX_UNAVAILABLE of sysexits.
const UNAVAILABLE: u8 = 69;

/// `vigie up` has its parts stopped only for as long as this runs: it is waited for, until somebody insists.
async fn later(
    found: &Supervisor,
    options: &RestoreOptions,
    interrupt: &mut Signal,
) -> anyhow::Result<anyhow::Result<End>> {
    if found.way() != Way::Up {
        return Ok(Ok(End::Unknown));
    }
    cli::complain("it still goes on; the bot is started again when it is over (Ctrl-C: now)");
    let service = open(&options.runs.which).await?;
    tokio::select! {
        over = service.idle() => Ok(over.map(|good| if good { End::Restored } else { End::AsBefore })),
        _ = interrupt.recv() => Ok(Ok(End::AsBefore)),
    }
}

async fn start(found: &Supervisor, bot: &[String], hold: Option<Hold>, json: bool) -> anyhow::Result<bool> {
    cli::complain(&format!("starting {} again", bot.join(", ")));
    let mut parts = found.resume(bot, hold).await?;
    parts.retain(|part| bot.contains(&part.name));
    let text = here::render(&parts, Paint::stdout());
    if json {
        cli::complain(text.trim_end());
    } else {
        cli::say(&text)?;
    }
    Ok(parts.iter().all(Part::is_up))
}

/// Has the service restore; an error says that nothing has begun.
async fn job(found: Option<&Supervisor>, options: &RestoreOptions) -> anyhow::Result<End> {
    if found.is_some_and(|found| found.way() == Way::Compose) && find::nats_url_setting()?.is_none() {
        let mut arguments = vec!["backup", "restore", options.backup.as_str(), "--yes", "--no-stop"];
        arguments.extend(options.waiting.json.then_some("--json"));
        arguments.extend(options.waiting.no_wait.then_some("--no-wait"));
        return Ok(match here::inside(arguments).await? {
            Some(0) => End::Restored,
            // Its own codes, and those of Docker when it has not even begun.
            Some(1 | 64 | 125..=127) => End::AsBefore,
            _ => End::Unknown,
        });
    }
    let service = open(&options.runs.which).await?;
    let order = request(BackupOrder::Restore { backup: options.backup.clone(), into: None });
    if options.waiting.no_wait {
        return service.run(&order, options.waiting).await.map(|_| End::Restored);
    }
    let id = match service.begin(&order).await {
        Ok(id) => id,
        Err(reason) if matches!(reason.downcast_ref(), Some(RequestError::TimedOut { .. })) => {
            cli::complain(&format!("{reason:#}"));
            return Ok(End::Unknown);
        }
        Err(reason) => return Err(reason),
    };
    match service.watch(&id, options.waiting).await {
        Ok(Some(true)) => Ok(End::Restored),
        Ok(Some(false)) => Ok(End::AsBefore),
        Ok(None) => Ok(End::Unknown),
        Err(reason) => {
            cli::complain(&format!("{reason:#}"));
            Ok(End::Unknown)
        }
    }
}

fn code(end: End) -> ExitCode {
    match end {
        End::Restored => ExitCode::SUCCESS,
        End::AsBefore => ExitCode::FAILURE,
        End::Unknown => jobs::still_going_on(),
    }
}
