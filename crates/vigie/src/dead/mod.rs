//! `vigie dead`: what failed for good, looked at, given back to where it came from, or dropped.

mod drop;
mod late;
mod list;
mod replay;
mod show;

use std::process::ExitCode;

use bus::{Bus, DeadLetters, Stream};

use crate::{
    find::{self, Which},
    paint,
};

/// What `vigie dead --help` ends with.
const EXIT_CODES: &str = "\
Exit codes: 0 done, also when there is nothing to do; 1 something could not be done, or was kept; \
64 settings or arguments cannot be used, or there is no terminal to ask on";

/// Arguments of `vigie dead`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

impl Options {
    /// Which Vigie it is about.
    pub(crate) const fn which(&self) -> &Which {
        match &self.verb {
            Verb::List(options) => &options.which,
            Verb::Show(options) => &options.which,
            Verb::Replay(options) => &options.which,
            Verb::Drop(options) => &options.which,
        }
    }
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List them, the oldest first
    #[command(after_help = EXIT_CODES)]
    List(list::Options),
    /// Show one with its payload
    #[command(after_help = EXIT_CODES)]
    Show(show::Options),
    /// Give some or all back to where they came from
    #[command(after_help = EXIT_CODES)]
    Replay(replay::Options),
    /// Drop some or all for good
    #[command(after_help = EXIT_CODES)]
    Drop(drop::Options),
}

/// Which letters a verb is about.
#[derive(clap::Args, Debug)]
struct Chosen {
    /// The numbers of the letters, as `vigie dead list` shows them
    #[arg(
        value_name = "NUMBER",
        required_unless_present = "all",
        conflicts_with = "all",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    numbers: Vec<u64>,
    /// All that are there now
    #[arg(long)]
    all: bool,
    /// With --all: only those of this stream, such as EVENTS
    #[arg(long, requires = "all", conflicts_with = "numbers", value_parser = stream)]
    stream: Option<Stream>,
}

/// So many letters are named in the audit trail; of the others it knows how many they are.
const NAMED: usize = 20;

impl Chosen {
    /// Which they are, for the audit trail.
    fn in_words(&self) -> String {
        match (self.all, self.stream) {
            (true, None) => "all dead letters".to_owned(),
            (true, Some(stream)) => format!("all dead letters of {}", stream.name()),
            (false, _) => {
                let named: Vec<String> = self.numbers.iter().take(NAMED).map(u64::to_string).collect();
                let more = if self.numbers.len() > NAMED { ", …" } else { "" };
                format!("dead letters {}{more}", named.join(", "))
            }
        }
    }
}

/// Does what the arguments ask.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.verb {
        Verb::List(options) => list::run(options).await,
        Verb::Show(options) => show::run(options).await,
        Verb::Replay(options) => replay::run(options).await,
        Verb::Drop(options) => drop::run(options).await,
    }
}

async fn open(which: &Which, stream: Option<Stream>) -> anyhow::Result<(Bus, DeadLetters)> {
    let bus = find::connect(&which.nats_url()?).await?;
    let letters = bus.dead_letters(stream);
    Ok((bus, letters))
}

fn stream(text: &str) -> Result<Stream, String> {
    let named = |stream: &Stream| stream.name().eq_ignore_ascii_case(text);
    Stream::ALL.into_iter().find(named).ok_or_else(|| {
        let names = Stream::ALL.map(Stream::name).join(", ");
        format!("expected one of {names}")
    })
}

/// `1 dead letter`, `2 dead letters`.
fn count_of(count: u64) -> String {
    format!("{} dead {}", paint::grouped(count), if count == 1 { "letter" } else { "letters" })
}

/// 0 when everything was done that was asked for.
fn done(all: bool) -> ExitCode {
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
