//! `vigie backup`: what the service `backup` is asked and told, and what it answers. Nothing is saved or restored
//! here.

mod in_place;

use std::process::ExitCode;

use anyhow::bail;
use protocol::{
    VERSION,
    control::{Backup, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus},
};
use serde::Serialize;
use service::clock;

use crate::{
    find::Which,
    here::Runs,
    jobs::{self, BY, Reply, Service, ViewOptions, Waiting},
    paint::{self, Paint},
};

/// What is said where they are off.
const SWITCH_ON: &str = "set BACKUP_REPOSITORY and BACKUP_PASSWORD (with Docker Compose BACKUP_FOLDER, too), and start it \
again: `vigie restart backup`; docs/backup.md says more";

/// Arguments of `vigie backup`.
#[derive(clap::Args, Debug)]
#[command(after_help = jobs::EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

impl Options {
    /// Which Vigie it is about, unless that is known only once something here was stopped.
    pub(crate) fn asks_nats(&self) -> Option<&Which> {
        match &self.verb {
            Verb::Create(options) | Verb::Verify(options) | Verb::Drill(options) => Some(&options.which),
            Verb::Restore(options) if options.into.is_none() && !options.no_stop => None,
            Verb::Restore(options) => options.runs.perhaps_compose(),
            Verb::List(options) | Verb::Status(options) => Some(&options.which),
        }
    }
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Save everything now
    #[command(after_help = jobs::EXIT_CODES)]
    Create(JobOptions),
    /// List backups, the newest first
    #[command(after_help = jobs::VIEW_EXIT_CODES)]
    List(ViewOptions),
    /// Read what is stored, and say whether it is whole
    #[command(after_help = jobs::EXIT_CODES)]
    Verify(JobOptions),
    /// Bring a backup back
    #[command(after_help = in_place::EXIT_CODES)]
    Restore(RestoreOptions),
    /// Restore the newest into a scratch place, and say whether it is whole
    #[command(after_help = jobs::EXIT_CODES)]
    Drill(JobOptions),
    /// Say what goes on, and what was last
    #[command(after_help = jobs::VIEW_EXIT_CODES)]
    Status(ViewOptions),
}

#[derive(clap::Args, Debug)]
struct JobOptions {
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args, Debug)]
struct RestoreOptions {
    /// Which one, as `vigie backup list` shows it
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
    /// Restore into this empty folder of the machine that `backup` runs on; without it what is there is replaced
    #[arg(long, value_name = "DIR")]
    into: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Stop and start nothing: gateways and workers are stopped already
    #[arg(long)]
    no_stop: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten, next_help_heading = "What is meant")]
    runs: Runs,
}

/// Does what the arguments ask.
///
/// # Errors
/// When nobody answers, or the answer is a refusal.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.verb {
        Verb::Create(options) => job(BackupOrder::Create, options).await,
        Verb::Verify(options) => job(BackupOrder::Verify, options).await,
        Verb::Drill(options) => job(BackupOrder::Drill, options).await,
        Verb::Restore(options) => restore(options).await,
        Verb::List(options) => list(options).await,
        Verb::Status(options) => status(options).await,
    }
}

async fn job(order: BackupOrder, options: &JobOptions) -> anyhow::Result<ExitCode> {
    open(&options.which).await?.run(&request(order), options.waiting).await
}

async fn restore(options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    let Some(into) = options.into.clone() else { return in_place::restore(options).await };
    let order = BackupOrder::Restore { backup: options.backup.clone(), into: Some(into) };
    open(&options.runs.which).await?.run(&request(order), options.waiting).await
}

async fn list(options: &ViewOptions) -> anyhow::Result<ExitCode> {
    let answer = open(&options.which).await?.ask(&request(BackupOrder::List)).await?;
    let BackupReply::Backups { backups } = answer.reply else {
        bail!("backup answers something that was not asked")
    };
    options.list(&backups, || table(&backups, Paint::stdout()))
}

async fn status(options: &ViewOptions) -> anyhow::Result<ExitCode> {
    let service = open(&options.which).await?;
    let answer = service.ask(&request(BackupOrder::Status)).await?;
    let BackupReply::Status(status) = answer.reply else {
        bail!("backup answers something that was not asked")
    };
    // Where backups are off nothing is known of them, and all but this question is refused.
    let off = if *status == BackupStatus::default() {
        service.refusal(&request(BackupOrder::List)).await?
    } else {
        None
    };
    let standing = Standing { status: *status, off };
    options.show(&standing, || standing.render(clock::unix_ms(), Paint::stdout()))
}

/// How backups stand.
#[derive(Debug, Default, Serialize)]
struct Standing {
    #[serde(flatten)]
    status: BackupStatus,
    /// Why there are none, where nobody has switched them on.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<String>,
}

impl Standing {
    fn render(&self, now_ms: u64, paint: Paint) -> String {
        match &self.off {
            None => render(&self.status, now_ms, paint),
            Some(reason) => format!(
                "{} {}\n{} {SWITCH_ON}\n",
                paint.warn("!"),
                paint::harmless(reason),
                paint.strong("→")
            ),
        }
    }
}

async fn open(which: &Which) -> anyhow::Result<Service<BackupRequest>> {
    Service::open(which, "backup", "backup", request(BackupOrder::Status), read).await
}

fn request(order: BackupOrder) -> BackupRequest {
    BackupRequest { v: VERSION, by: BY.to_owned(), order }
}

fn read(answer: &BackupAnswer) -> Reply {
    match &answer.reply {
        BackupReply::Accepted { job } => Reply::Accepted(job.clone()),
        BackupReply::Refused { reason } => Reply::Refused(reason.clone()),
        BackupReply::Status(status) => Reply::Job(status.job.clone()),
        BackupReply::Backups { .. } => Reply::Odd,
    }
}

fn table(backups: &[Backup], paint: Paint) -> String {
    if backups.is_empty() {
        return "no backups: `vigie backup create` makes one\n".to_owned();
    }
    let heading = ["BACKUP", "MADE (UTC)", "SIZE", "IN IT", "PROVED BY A RESTORE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for one in backups {
        rows.push(vec![
            paint::harmless(&one.id),
            paint::when(one.at_ms),
            one.bytes.map_or_else(|| "-".to_owned(), paint::bytes),
            paint::harmless(&one.parts.join(", ")),
            one.proved_ms.map_or_else(|| "no".to_owned(), paint::when),
        ]);
    }
    let style = |row: usize, column: usize, cell: String| match (row, column) {
        (0, _) => paint.faint(&cell),
        (_, 0) => paint.strong(&cell),
        (row, 4) if backups[row - 1].proved_ms.is_some() => paint.good(&cell),
        _ => cell,
    };
    paint::table(&rows, &[2], &style)
}

fn render(status: &BackupStatus, now_ms: u64, paint: Paint) -> String {
    let mut text = match status.good_ms {
        Some(at) => format!("{} last good backup {}\n", paint.good("✓"), paint::ago(at, now_ms)),
        None => format!("{} no good backup yet: `vigie backup create` makes one\n", paint.bad("✗")),
    };
    text += &match &status.drill {
        Some(drill) if drill.good => {
            let words = paint::harmless(&drill.words);
            format!("{} restored for a trial {}: {words}\n", paint.good("✓"), paint::ago(drill.at_ms, now_ms))
        }
        Some(drill) => {
            let words = paint::harmless(&drill.words);
            format!(
                "{} a trial to restore failed {}: {words}\n",
                paint.bad("✗"),
                paint::ago(drill.at_ms, now_ms)
            )
        }
        None => format!("{} never restored for a trial: `vigie backup drill` does it\n", paint.warn("!")),
    };
    text += &match status.next_ms {
        Some(at) => format!("{} the next one is due {} UTC\n", paint.faint("·"), paint::when(at)),
        None => format!("{} none is due by itself\n", paint.faint("·")),
    };
    text += &jobs::now(status.job.as_ref(), now_ms, paint);
    if let Some(backup) =
        status.unfinished.as_ref().filter(|_| status.job.as_ref().is_none_or(|job| job.end.is_some()))
    {
        text += &format!(
            "{} the restore of {} is neither done nor undone: keep the bot stopped, mend what is wrong, and \
             `vigie restart backup`, which goes back\n",
            paint.bad("✗"),
            paint::harmless(backup)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::control::{Job, JobEnd};

    use super::*;

    #[test]
    fn backups_are_a_table() {
        let backups = [
            Backup {
                id: "9f3c1a".to_owned(),
                at_ms: 1_700_003_600_000,
                bytes: Some(12_700_000),
                parts: ["database", "streams", "settings"].map(str::to_owned).to_vec(),
                proved_ms: None,
            },
            Backup {
                id: "07be\x1b[2J".to_owned(),
                at_ms: 1_700_000_000_000,
                bytes: None,
                parts: vec!["database".to_owned()],
                proved_ms: Some(1_700_001_000_000),
            },
        ];
        insta::assert_snapshot!(table(&backups, Paint::plain()));
        assert!(table(&[], Paint::plain()).contains("vigie backup create"));
    }

    #[test]
    fn how_backups_stand() {
        let job = Job {
            id: "drill-4".to_owned(),
            verb: "drill".to_owned(),
            by: "schedule".to_owned(),
            step: "database".to_owned(),
            done: 1,
            total: Some(4),
            began_ms: 1_700_003_590_000,
            end: None,
        };
        let end = JobEnd { at_ms: 1_700_000_000_000, good: false, words: "one file is torn".to_owned() };
        let status = BackupStatus {
            job: Some(job),
            good_ms: Some(1_700_000_000_000),
            drill: Some(end),
            next_ms: Some(1_700_086_400_000),
            ..BackupStatus::default()
        };
        let text = render(&status, 1_700_003_600_000, Paint::plain())
            + "---\n"
            + &render(&BackupStatus::default(), 0, Paint::plain())
            + "---\n"
            + &Standing { off: Some("backups are off".to_owned()), ..Standing::default() }
                .render(0, Paint::plain());
        insta::assert_snapshot!(text);
    }
}
