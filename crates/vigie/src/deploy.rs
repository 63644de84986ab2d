//! `vigie deploy`: what `deployer` is asked and told, and what it answers. Nothing is rolled out here.

use std::process::ExitCode;

use anyhow::bail;
use protocol::{
    VERSION,
    control::{Deploy, DeployAnswer, DeployOrder, DeployReply, DeployRequest, DeployState, DeployStatus},
};
use service::clock;

use crate::{
    ask, cli,
    find::Which,
    jobs::{self, BY, Reply, Service, ViewOptions, Waiting},
    paint::{self, Paint},
};

/// Arguments of `vigie deploy`.
#[derive(clap::Args, Debug)]
#[command(after_help = jobs::EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

impl Options {
    /// Which Vigie it is about.
    pub(crate) const fn which(&self) -> &Which {
        match &self.verb {
            Verb::Now(options) => &options.which,
            Verb::Rollback(options) => &options.which,
            Verb::Status(options) | Verb::History(options) => &options.which,
        }
    }
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Look whether there is something new, and roll it out
    #[command(after_help = jobs::EXIT_CODES)]
    Now(NowOptions),
    /// Say what goes on, and what runs
    #[command(after_help = jobs::VIEW_EXIT_CODES)]
    Status(ViewOptions),
    /// List what was rolled out, the newest first
    #[command(after_help = jobs::VIEW_EXIT_CODES)]
    History(ViewOptions),
    /// Go back to a version that ran well
    #[command(after_help = jobs::EXIT_CODES)]
    Rollback(RollbackOptions),
}

#[derive(clap::Args, Debug)]
struct NowOptions {
    /// Also when nothing changed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args, Debug)]
struct RollbackOptions {
    /// Which version, as `vigie deploy status` shows it; not given: the one before
    #[arg(value_name = "VERSION")]
    to: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    which: Which,
}

/// Does what the arguments ask.
///
/// # Errors
/// When nobody answers, or the answer is a refusal.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.verb {
        Verb::Now(options) => {
            let order = DeployOrder::Request { commit: None, force: options.force };
            open(&options.which).await?.run(&request(order), options.waiting).await
        }
        Verb::Rollback(options) => rollback(options).await,
        Verb::Status(options) => status(options).await,
        Verb::History(options) => history(options).await,
    }
}

async fn rollback(options: &RollbackOptions) -> anyhow::Result<ExitCode> {
    if !ask::can_ask(options.yes) {
        return Ok(cli::refuse("this changes what runs, and there is no terminal to ask on: add --yes"));
    }
    let service = open(&options.which).await?;
    let to = options.to.as_deref().unwrap_or("the version before");
    if !options.yes && !ask::confirmed(format!("go back to {to}?")).await? {
        cli::complain("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    service.run(&request(DeployOrder::Rollback { to: options.to.clone() }), options.waiting).await
}

async fn status(options: &ViewOptions) -> anyhow::Result<ExitCode> {
    let answer = open(&options.which).await?.ask(&request(DeployOrder::Status)).await?;
    let DeployReply::Status(status) = answer.reply else {
        bail!("deployer answers something that was not asked")
    };
    options.show(&status, || render(&status, clock::unix_ms(), Paint::stdout()))
}

async fn history(options: &ViewOptions) -> anyhow::Result<ExitCode> {
    let answer = open(&options.which).await?.ask(&request(DeployOrder::History)).await?;
    let DeployReply::History { deploys } = answer.reply else {
        bail!("deployer answers something that was not asked")
    };
    options.list(&deploys, || table(&deploys, Paint::stdout()))
}

async fn open(which: &Which) -> anyhow::Result<Service<DeployRequest>> {
    Service::open(which, "deploy", "deployer", request(DeployOrder::Status), read).await
}

fn request(order: DeployOrder) -> DeployRequest {
    DeployRequest { v: VERSION, by: BY.to_owned(), order }
}

fn read(answer: &DeployAnswer) -> Reply {
    match &answer.reply {
        DeployReply::Accepted { job } => Reply::Accepted(job.clone()),
        DeployReply::Refused { reason } => Reply::Refused(reason.clone()),
        DeployReply::Status(status) => Reply::Job(status.job.clone()),
        DeployReply::History { .. } => Reply::Odd,
    }
}

const fn word(state: DeployState) -> &'static str {
    match state {
        DeployState::RolledOut => "✓ rolled out",
        DeployState::RolledBackTo => "✗ rolled back",
        DeployState::NeverStarted => "· never started",
        DeployState::RollbackFailed => "✗ rollback failed",
    }
}

fn table(deploys: &[Deploy], paint: Paint) -> String {
    if deploys.is_empty() {
        return "nothing was rolled out yet\n".to_owned();
    }
    let heading = ["BEGAN (UTC)", "TOOK", "HOW IT ENDED", "VERSION", "ASKED BY", "WHAT CAME OUT"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for one in deploys {
        rows.push(vec![
            paint::when(one.began_ms),
            paint::duration(one.ended_ms.saturating_sub(one.began_ms) / 1000),
            word(one.state).to_owned(),
            paint::harmless(&short(&one.to)),
            paint::harmless(&one.by),
            // The log of what failed comes below it: `vigie deploy status` and --json have all of it.
            paint::harmless(one.words.lines().next().unwrap_or_default()),
        ]);
    }
    let style = |row: usize, column: usize, cell: String| match (row, column) {
        (0, _) => paint.faint(&cell),
        (row, 2) => match deploys[row - 1].state {
            DeployState::RolledOut => paint.good(&cell),
            DeployState::NeverStarted => paint.warn(&cell),
            DeployState::RolledBackTo | DeployState::RollbackFailed => paint.bad(&cell),
        },
        (_, 3) => paint.strong(&cell),
        _ => cell,
    };
    paint::table(&rows, &[1], &style)
}

fn render(status: &DeployStatus, now_ms: u64, paint: Paint) -> String {
    let list = |versions: &[String]| {
        let versions: Vec<String> = versions.iter().map(|one| paint::harmless(one)).collect();
        versions.join(", ")
    };
    let current = status.current.as_deref().map_or_else(|| "not known".to_owned(), paint::harmless);
    let mut text = format!("{} runs: {}\n", paint.faint("·"), paint.strong(&current));
    if status.kept.is_empty() {
        text += &format!("{} nothing to go back to\n", paint.warn("!"));
    } else {
        text += &format!("{} can go back to: {}\n", paint.faint("·"), list(&status.kept));
    }
    if !status.quarantined.is_empty() {
        text += &format!("{} failed, not tried again: {}\n", paint.bad("✗"), list(&status.quarantined));
    }
    text += &jobs::now(status.job.as_ref(), now_ms, paint);
    text
}

/// A commit or digest is known by its first twelve characters.
fn short(version: &str) -> String {
    let bare = version.strip_prefix("sha256:").unwrap_or(version);
    let hexadecimal = bare.len() >= 40 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal { bare[..12].to_owned() } else { version.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deploy(state: DeployState, words: &str) -> Deploy {
        Deploy {
            id: "deploy-3".to_owned(),
            by: "hook:site".to_owned(),
            from: None,
            to: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
            began_ms: 1_700_000_000_000,
            ended_ms: 1_700_000_075_000,
            state,
            words: words.to_owned(),
        }
    }

    #[test]
    fn what_was_rolled_out_is_a_table() {
        let deploys = [
            deploy(DeployState::RolledOut, "4 services"),
            deploy(DeployState::RolledBackTo, "twitch-gateway was not ready after 90 s\nits log"),
            deploy(DeployState::NeverStarted, "no room on the disk"),
            deploy(DeployState::RollbackFailed, "docker does not answer"),
        ];
        insta::assert_snapshot!(table(&deploys, Paint::plain()));
    }

    #[test]
    fn how_deploys_stand() {
        let status = DeployStatus {
            job: None,
            current: Some("0.2.0 (abc1234567)".to_owned()),
            kept: vec!["0.1.9".to_owned(), "0.1.8".to_owned()],
            quarantined: vec!["0.2.1".to_owned()],
        };
        let text = render(&status, 0, Paint::plain())
            + "---\n"
            + &render(&DeployStatus::default(), 0, Paint::plain());
        insta::assert_snapshot!(text);
    }
}
