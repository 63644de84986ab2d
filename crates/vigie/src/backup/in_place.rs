//! `vigie backup restore` in the place of what is there: stops what talks to people and writes what they change, has the
//! service `backup` restore, starts it all again and looks that it is ready. What is restored, and how it goes back, is
//! not known here.

use std::{pin::pin, process::ExitCode, time::Duration};

use bus::RequestError;
use protocol::control::{BackupOrder, BackupReply, BackupRequest, BackupStatus, Job};
use service::clock;
use tokio::time::sleep;

use super::{RestoreOptions, open, request};
use crate::{
    ask, cli, find,
    here::{self, Hold, Part, Supervisor, Way},
    jobs::{self, Service},
    paint::Paint,
    up::Stopper,
};

/// What `--help` ends with.
pub(super) const EXIT_CODES: &str = "Without --into it stops the gateways and the workers, restores, and starts them again, also when it\n\
failed and went back to what was before.\n\n\
Exit codes: 0 restored, and all that was stopped is ready again; 1 refused, failed, or nobody answers:\n\
nothing has changed; 64 settings or arguments cannot be used; 69 restored, and not all is ready again; 74 it failed,\n\
and so did going back: what was stopped stays so; 75 it still goes on, and what was stopped stays so";

/// EX_UNAVAILABLE of sysexits.
const UNAVAILABLE: u8 = 69;
/// EX_IOERR of sysexits.
const HALF: u8 = 74;
/// How often is asked whether the bot may be started.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many looks without a part: `vigie up` has ended. It writes anew what it says of itself, and one may miss it.
const GONE: u32 = 10;

/// How it ended, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Restored,
    /// What is there is as it was.
    AsBefore,
    /// Neither; nothing that it exchanges may be used until it has gone back.
    Half,
    /// Nothing that it exchanges may be used until it is over.
    Unknown,
}

/// The order that was given.
struct Asked {
    /// What its job is called, once that is known.
    id: Option<String>,
    /// When, in Unix milliseconds.
    at_ms: u64,
}

impl Asked {
    fn now() -> Self {
        Self { id: None, at_ms: clock::unix_ms() }
    }

    fn is(&self, job: &Job) -> bool {
        let ours = match &self.id {
            Some(id) => job.id == *id,
            None => job.began_ms >= self.at_ms,
        };
        ours && job.verb == "restore"
    }
}

/// Restores.
///
/// # Errors
/// When nobody answers, or what was stopped cannot be started again.
pub(super) async fn restore(options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    if !ask::can_ask(options.yes) {
        let why = "this replaces what is there, and there is no terminal to ask on: add --yes, or --into";
        return Ok(cli::refuse(why));
    }
    let found = if options.no_stop { None } else { here::of_nats(&options.runs).await? };
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
        return Ok(cli::refuse(
            "who does not wait cannot start the bot again: leave out --no-wait, or `vigie stop` it and add --no-stop",
        ));
    }
    if !options.yes && !ask::confirmed(question(options, found.as_ref(), &bot)).await? {
        cli::complain("nothing was restored");
        return Ok(ExitCode::FAILURE);
    }
    match found {
        Some(found) if !bot.is_empty() => under(&found, &bot, options).await,
        found => Ok(code(job(found.as_ref(), options, &mut Asked::now()).await?)),
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

/// Stops the bot, restores, and starts it again, unless what is there cannot be used.
async fn under(found: &Supervisor, bot: &[String], options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    // From here on no signal, and no terminal that is closed, leaves the bot stopped or has it start in the midst.
    let mut signals = Stopper::new(false)?;
    cli::complain(&format!("stopping {} of {found}", bot.join(", ")));
    let mut interrupted = false;
    let paused = {
        // To its end: what goes on stopping the bot while it is started again leaves it stopped.
        let mut pause = pin!(found.pause(bot));
        loop {
            tokio::select! {
                paused = &mut pause => break paused,
                () = signals.asked_again() => {
                    interrupted = true;
                    cli::complain("nothing will be restored; what is stopped is started again");
                }
            }
        }
    };
    let mut asked = Asked::now();
    let (hold, end) = match paused {
        Ok(hold) if interrupted => (hold, Err(anyhow::anyhow!("interrupted: nothing was restored"))),
        Ok(hold) => (hold, job(Some(found), options, &mut asked).await),
        Err(reason) => (None, Err(reason.context("nothing was restored"))),
    };
    let end = match end {
        Ok(end @ (End::Half | End::Unknown)) if found.way() == Way::Up => {
            Ok(later(found, options, &asked, end, &mut signals).await)
        }
        end => end,
    };
    let again = match found.way() {
        Way::Up => "`vigie start`".to_owned(),
        Way::Compose | Way::Systemd => format!("`vigie start {}`", bot.join(" ")),
    };
    match end {
        Ok(End::Unknown) => {
            cli::complain(&format!(
                "it still goes on, and {} must not run meanwhile: when `vigie backup status` says that it is over, {again}",
                bot.join(", ")
            ));
            return Ok(jobs::still_going_on());
        }
        Ok(End::Half) => {
            cli::complain(&half(&format!("when `vigie backup status` says that it went back, {again}")));
            return Ok(ExitCode::from(HALF));
        }
        Ok(End::Restored | End::AsBefore) | Err(_) => {}
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

fn half(then: &str) -> String {
    format!(
        "the restore is neither done nor undone, and the bot must not run on what is half: mend what it says is wrong, \
         and `vigie restart backup`, which goes back; {then}"
    )
}

/// `vigie up` has its parts stopped only for as long as this runs: it does until they may run, whatever is pressed; or
/// until `vigie up` has ended.
async fn later(
    found: &Supervisor,
    options: &RestoreOptions,
    asked: &Asked,
    mut end: End,
    signals: &mut Stopper,
) -> End {
    // What was pressed before is why this waits.
    tokio::select! {
        biased;
        () = signals.asked_again() => {}
        () = std::future::ready(()) => {}
    }
    let (mut service, mut said, mut missed) = (None, None, 0);
    while matches!(end, End::Half | End::Unknown) && missed < GONE {
        let there = found.parts().await.is_ok_and(|parts| !parts.is_empty());
        missed = if there { 0 } else { missed + 1 };
        if said != Some(end) {
            cli::complain(&match end {
                End::Half => half("the bot is started again when it has (`vigie stop` ends all of it)"),
                _ => "it still goes on; the bot is started again when it is over".to_owned(),
            });
            said = Some(end);
        }
        if service.is_none() {
            service = open(&options.runs.which).await.ok();
        }
        if let Some(service) = &service
            && let Some(now) = look(service, asked).await
        {
            end = now;
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = signals.asked_again() => said = None,
        }
    }
    end
}

/// How it stands now; `None` when nobody says.
async fn look(service: &Service<BackupRequest>, asked: &Asked) -> Option<End> {
    match service.ask(&request(BackupOrder::Status)).await.ok()?.reply {
        BackupReply::Status(status) => Some(left(&status, asked)),
        _ => None,
    }
}

fn left(status: &BackupStatus, asked: &Asked) -> End {
    match &status.job {
        Some(job) if job.end.is_none() => End::Unknown,
        _ if status.unfinished.is_some() => End::Half,
        Some(job) if asked.is(job) && jobs::is_good(job) => End::Restored,
        _ => End::AsBefore,
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
        // It is started, whether somebody reads this or not.
        let _ = cli::say(&text);
    }
    Ok(parts.iter().all(Part::is_up))
}

/// Has the service restore; an error says that nothing has begun.
async fn job(found: Option<&Supervisor>, options: &RestoreOptions, asked: &mut Asked) -> anyhow::Result<End> {
    if found.is_some_and(|found| found.way() == Way::Compose) && find::nats_url_setting()?.is_none() {
        return in_container(options).await;
    }
    let service = open(&options.runs.which).await?;
    let order = request(BackupOrder::Restore { backup: options.backup.clone(), into: None });
    if options.waiting.no_wait {
        return service.run(&order, options.waiting).await.map(|_| End::Restored);
    }
    let id = match service.begin(&order).await {
        Ok(id) => id,
        Err(reason) if may_have_come(&reason) => {
            cli::complain(&format!("{reason:#}"));
            return Ok(End::Unknown);
        }
        Err(reason) => return Err(reason),
    };
    asked.id = Some(id.clone());
    match service.watch(&id).await {
        Ok(Some(job)) => {
            // The bot is to be started also when nobody reads this any more.
            let _ = options.waiting.show_end(&job);
            match jobs::is_good(&job) {
                true => Ok(End::Restored),
                false => Ok(look(&service, asked).await.unwrap_or(End::Unknown)),
            }
        }
        Ok(None) => Ok(End::Unknown),
        Err(reason) => {
            cli::complain(&format!("{reason:#}"));
            Ok(End::Unknown)
        }
    }
}

/// Whether somebody may have taken an order, whatever became of the answer.
fn may_have_come(reason: &anyhow::Error) -> bool {
    matches!(reason.downcast_ref(), Some(RequestError::TimedOut { .. } | RequestError::Decode(_)))
}

/// The same where NATS can be reached.
async fn in_container(options: &RestoreOptions) -> anyhow::Result<End> {
    let mut arguments = vec!["backup", "restore", options.backup.as_str(), "--yes", "--no-stop"];
    arguments.extend(options.waiting.json.then_some("--json"));
    arguments.extend(options.waiting.no_wait.then_some("--no-wait"));
    let mut signals = Stopper::new(false)?;
    let mut ended = pin!(here::inside_to_the_end(arguments));
    let code = loop {
        tokio::select! {
            code = &mut ended => break code?,
            () = signals.asked_again() => cli::complain("it goes on; the bot is started again when it is over"),
        }
    };
    Ok(match code {
        Some(0) => End::Restored,
        // Its own codes, and those of Docker when it has not even begun.
        Some(1 | 64 | 125..=127) => End::AsBefore,
        Some(HALF) => End::Half,
        _ => End::Unknown,
    })
}

fn code(end: End) -> ExitCode {
    match end {
        End::Restored => ExitCode::SUCCESS,
        End::AsBefore => ExitCode::FAILURE,
        End::Half => {
            cli::complain(&half("keep the bot stopped until `vigie backup status` says that it went back"));
            ExitCode::from(HALF)
        }
        End::Unknown => jobs::still_going_on(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::control::JobEnd;

    use super::*;

    fn status(verb: &str, end: Option<bool>) -> BackupStatus {
        let job = Job {
            id: format!("{verb}-7"),
            verb: verb.to_owned(),
            by: "cli".to_owned(),
            step: "streams".to_owned(),
            done: 0,
            total: None,
            began_ms: 7,
            end: end.map(|good| JobEnd { at_ms: 9, good, words: String::new() }),
        };
        BackupStatus { job: Some(job), ..BackupStatus::default() }
    }

    #[test]
    fn only_a_restore_of_ours_that_ended_well_is_one() {
        let known = Asked { id: Some("restore-7".to_owned()), at_ms: 6 };
        let (unknown, later) = (Asked { id: None, at_ms: 6 }, Asked { id: None, at_ms: 8 });
        let good = status("restore", Some(true));
        assert_eq!(
            [&known, &unknown, &later].map(|asked| left(&good, asked)),
            [End::Restored, End::Restored, End::AsBefore]
        );
        assert_eq!(left(&status("restore", Some(false)), &known), End::AsBefore);
        // After the death of the service it has gone back; and this may be of long ago.
        assert_eq!(left(&status("go-back", Some(true)), &unknown), End::AsBefore);
        assert_eq!(left(&status("create", Some(true)), &unknown), End::AsBefore);
        assert_eq!(left(&BackupStatus::default(), &known), End::AsBefore);
    }

    #[test]
    fn what_goes_on_or_is_half_is_not_to_be_used() {
        let asked = Asked { id: Some("restore-7".to_owned()), at_ms: 6 };
        let unfinished = |status| BackupStatus { unfinished: Some("9f3c1a".to_owned()), ..status };
        assert_eq!(left(&unfinished(status("restore", None)), &asked), End::Unknown);
        assert_eq!(left(&unfinished(status("go-back", None)), &asked), End::Unknown);
        assert_eq!(left(&unfinished(status("restore", Some(false))), &asked), End::Half);
        assert_eq!(left(&unfinished(status("go-back", Some(false))), &asked), End::Half);
    }
}
