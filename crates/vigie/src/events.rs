//! `vigie events`: what passes over the bus, live: events, actions and outcomes with their trace ids.
//! It only listens; nothing is taken from a stream.

mod line;

use std::{io, process::ExitCode};

use anyhow::Context;
use bus::{Bus, Incoming, Subscription};
use protocol::Platform;
use tokio::signal;

pub(crate) use self::line::{Kind, Line};
use crate::{
    cli,
    find::{self, Which},
    paint::Paint,
};

/// Everything but `interaction.>`: those are questions with an answer, and are traced instead.
const SUBJECTS: [&str; 4] = ["event.>", "chatter.>", "action.>", "outcome.>"];

/// What its `--help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 ended by Ctrl-C, or nobody reads any more; 1 NATS does not answer;\n\
64 settings or arguments cannot be used";

/// Arguments of `vigie events`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Only this platform: discord or twitch
    #[arg(long, value_parser = platform)]
    platform: Option<Platform>,
    /// Only this community: a Discord guild id or a Twitch broadcaster id
    #[arg(long, value_name = "ID")]
    community: Option<String>,
    /// Only this kind, such as message, command, raid, reply, sent or dropped
    #[arg(long)]
    kind: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

fn platform(text: &str) -> Result<Platform, String> {
    Platform::ALL
        .into_iter()
        .find(|platform| platform.as_str() == text)
        .ok_or_else(|| "expected discord or twitch".to_owned())
}

/// Prints what passes until Ctrl-C, or until the reader goes away.
///
/// # Errors
/// When NATS cannot be reached.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let url = options.which.nats_url()?;
    let bus = find::connect(&url).await?;
    let mut passing = Passing::of(&bus).await?;
    cli::complain(&format!("following NATS at {} until Ctrl-C", bus::without_credentials(&url)));
    let paint = Paint::stdout();
    loop {
        let incoming = tokio::select! {
            incoming = passing.next() => incoming,
            stopped = signal::ctrl_c() => return stopped.map(|()| ExitCode::SUCCESS).context("cannot wait for Ctrl-C"),
        };
        let Some(incoming) = incoming else { anyhow::bail!("the connection to NATS was closed") };
        match print(&incoming, options, paint) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            printed => printed?,
        }
    }
}

/// All that passes.
pub(crate) struct Passing([Subscription; 4]);

impl Passing {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) async fn of(bus: &Bus) -> anyhow::Result<Self> {
        let [events, chatter, actions, outcomes] = SUBJECTS;
        let all = Self([
            bus.subscribe(events).await?,
            bus.subscribe(chatter).await?,
            bus.subscribe(actions).await?,
            bus.subscribe(outcomes).await?,
        ]);
        // The server knows of the subscriptions once something came back from it.
        bus.round_trip().await;
        Ok(all)
    }

    /// The next message; `None` when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        let [events, chatter, actions, outcomes] = &mut self.0;
        tokio::select! {
            incoming = events.next() => incoming,
            incoming = chatter.next() => incoming,
            incoming = actions.next() => incoming,
            incoming = outcomes.next() => incoming,
        }
    }
}

fn print(incoming: &Incoming, options: &Options, paint: Paint) -> io::Result<()> {
    let lines = match Line::read(incoming) {
        Ok(lines) => lines,
        Err(reason) => {
            cli::complain(&format!("{}: {reason}", incoming.subject));
            return Ok(());
        }
    };
    let mut text = String::new();
    for line in lines.iter().filter(|line| wanted(line, options)) {
        text += &if options.json { line.json() } else { line.render(paint) };
        text.push('\n');
    }
    cli::say(&text)
}

fn wanted(line: &Line, options: &Options) -> bool {
    let kind_fits = |kind: &str| line.kind == kind || Kind::named(kind) == Some(line.what);
    options.platform.is_none_or(|platform| line.platform == platform)
        && options.community.as_ref().is_none_or(|community| line.community.as_str() == community)
        && options.kind.as_deref().is_none_or(kind_fits)
}
