//! `vigie init`: asks for what a bot needs, checks it where that can be checked, and writes `.env` and
//! the secrets. Every question has a flag, so that scripts can answer it.
//!
//! Invariants: nothing is written before the last question; what was there is kept beside it; no
//! secret is shown, or taken from an argument, which everybody on the machine could read.

mod before;
mod bot;
mod discord;
mod env_text;
mod plan;
mod talk;
mod twitch;

pub(crate) use env_text::example_names;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use reqwest::Client;
use rustix::fs::Access;
use secrecy::SecretString;

use self::{before::Before, plan::Plan, talk::Talk};
use crate::{accounts, cli};

const EXAMPLES: &str = "\
Examples:
  vigie init
  vigie init --yes --platforms discord --discord-token-file ~/discord.token
  pass twitch | vigie init --yes --platforms twitch --twitch-token-file - --twitch-channels olive

A file named - is the next line of standard input. With Docker Compose and no `vigie` on this machine:
  docker compose run --rm -u \"$(id -u):$(id -g)\" init

Exit codes: 0 written, or there was nothing to write; 1 stopped, and nothing was written; 64 what was given
cannot be used, or there is no terminal to ask at, and nothing was written";

/// Arguments of `vigie init`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where .env and the folder `secrets` are, or will be
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Ask nothing: take what is given here, what is there already, and defaults
    #[arg(long)]
    yes: bool,
    /// With --yes: settings that have another value already may be replaced
    #[arg(long, requires = "yes")]
    replace: bool,
    /// Take tokens as they are, without asking the platforms
    #[arg(long)]
    unchecked: bool,
    /// How the bot will run
    #[arg(long, value_name = "WAY")]
    run: Option<Way>,
    /// Where the bot will be: discord, twitch, both or none
    #[arg(long, value_name = "NAMES")]
    platforms: Option<Platforms>,
    #[command(flatten)]
    discord: discord::Options,
    #[command(flatten)]
    twitch: twitch::Options,
    #[command(flatten)]
    bot: bot::Options,
}

/// How a bot runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// By Docker Compose.
    Compose,
    /// By `vigie up`, without Docker.
    Up,
}

/// Which platforms a bot is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Platforms {
    discord: bool,
    twitch: bool,
}

impl std::str::FromStr for Platforms {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut found = Self { discord: false, twitch: false };
        for name in text.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "discord" => found.discord = true,
                "twitch" => found.twitch = true,
                "both" => found = Self { discord: true, twitch: true },
                "none" => {}
                _ => return Err("expected discord, twitch, both or none".to_owned()),
            }
        }
        Ok(found)
    }
}

impl Platforms {
    fn name(self) -> &'static str {
        match (self.discord, self.twitch) {
            (true, true) => "both",
            (true, false) => "discord",
            (false, true) => "twitch",
            (false, false) => "none",
        }
    }
}

/// Why it ended before everything was written.
#[derive(Debug)]
enum End {
    /// The person wanted so.
    Stopped,
    /// What was given cannot be used.
    Unusable(String),
    /// Something went wrong.
    Failed(anyhow::Error),
}

/// What every part needs.
struct Session<'a> {
    talk: Talk,
    before: &'a Before,
    /// `None` when tokens are taken as they are.
    client: Option<Client>,
}

/// Asks, checks and writes.
///
/// # Errors
/// When something cannot be read or written.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match Box::pin(work(options)).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(End::Stopped) => {
            cli::complain("\nvigie: stopped; nothing was written");
            Ok(ExitCode::FAILURE)
        }
        Err(End::Unusable(reason)) => Ok(cli::refuse(&format!("{reason}; nothing was written"))),
        Err(End::Failed(reason)) => Err(reason),
    }
}

async fn work(options: Options) -> Result<(), End> {
    if !options.yes && !io::stdin().is_terminal() {
        let reason = "standard input is no terminal to ask at: give --yes and flags, see vigie init --help";
        return Err(End::Unusable(reason.to_owned()));
    }
    writable(&options.dir)?;
    let before = Before::read(&options.dir)?;
    let client = if options.unchecked { None } else { Some(client()?) };
    let talk = Talk::new(!options.yes)?;
    let mut session = Session { talk, before: &before, client };
    session.welcome()?;
    let way = session.way(options.run, &options.dir).await?;
    let platforms = session.platforms(&options).await?;
    let mut plan = Plan::new(&before, &options.dir, way);
    if platforms.discord {
        discord::ask(&mut session, options.discord, &mut plan).await?;
    } else {
        plan.off("DISCORD_TOKEN");
    }
    if platforms.twitch {
        twitch::ask(&mut session, options.twitch, &mut plan).await?;
    } else {
        plan.off("TWITCH_OAUTH_TOKEN");
    }
    bot::ask(&mut session, options.bot, &mut plan).await?;
    session.write(&plan, options.replace).await?;
    session.farewell(way)
}

/// Nobody should answer everything to hear at the end that it cannot be written.
fn writable(folder: &Path) -> Result<(), End> {
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let shown = folder.display();
        let hint = "run this as the user it belongs to; in a container with -u \"$(id -u):$(id -g)\"";
        End::Unusable(format!("{shown} cannot be written ({error}): {hint}"))
    })
}

fn client() -> Result<Client, End> {
    accounts::client().map_err(|error| {
        let what = "no platform can be asked: install the package ca-certificates, or give --unchecked";
        End::Failed(anyhow::Error::from(error).context(what))
    })
}

impl Session<'_> {
    fn welcome(&self) -> Result<(), End> {
        if !self.talk.person() {
            return Ok(());
        }
        let (paint, there) = (self.talk.paint, self.before.text.is_some());
        self.talk.say(&paint.strong("Setting up Vigie\n"))?;
        self.talk.say(if there {
            "A .env is there already: Enter keeps what is in it.\n"
        } else {
            "Enter takes what stands in [brackets].\n"
        })?;
        self.talk.say(&paint.faint("Nothing is written before the last question. Ctrl-C ends this.\n"))
    }

    async fn way(&mut self, given: Option<Way>, folder: &Path) -> Result<Way, End> {
        let compose = folder.join("compose.yaml").exists();
        match given {
            Some(way) => return Ok(way),
            None if !self.talk.person() => return Ok(if compose { Way::Compose } else { Way::Up }),
            None => {}
        }
        self.talk.part(1, "How it runs")?;
        self.talk.explain("compose  by Docker Compose")?;
        self.talk.explain("up       by `vigie up`, without Docker")?;
        let default = if compose { "compose" } else { "up" };
        let read = |text: &str| Way::from_str(text, true).map_err(|_| "expected compose or up".to_owned());
        self.talk.ask("compose or up?", default, read).await
    }

    async fn platforms(&mut self, options: &Options) -> Result<Platforms, End> {
        if let Some(platforms) = options.platforms {
            return Ok(platforms);
        }
        let there = Platforms {
            discord: options.discord.given() || self.before.names("DISCORD_TOKEN"),
            twitch: options.twitch.given() || self.before.names("TWITCH_OAUTH_TOKEN"),
        };
        if !self.talk.person() {
            return Ok(there);
        }
        self.talk.part(2, "Where the bot will be")?;
        let default = if there.name() == "none" { "both" } else { there.name() };
        self.talk.ask("discord, twitch or both?", default, str::parse).await
    }

    async fn write(&mut self, plan: &Plan<'_>, replace: bool) -> Result<(), End> {
        self.talk.part(5, "Writing it down")?;
        if plan.is_empty() {
            return self.talk.good("everything is as it should be: nothing to write");
        }
        self.talk.say(&plan.render(self.talk.paint))?;
        if !self.talk.person() && plan.replaces && !replace {
            let reason = "this replaces settings that are there already: add --replace if that is meant";
            return Err(End::Unusable(reason.to_owned()));
        }
        if self.talk.person() && !self.talk.confirm("write this?", true).await? {
            return Err(End::Stopped);
        }
        let copy = plan.carry_out().map_err(End::Failed)?;
        self.talk.good(&match copy {
            Some(copy) => format!("written; the earlier .env is {}", copy.display()),
            None => "written".to_owned(),
        })
    }

    fn farewell(&self, way: Way) -> Result<(), End> {
        let (paint, steps) = (
            self.talk.paint,
            match way {
                Way::Compose => [
                    ("docker compose up -d --wait", "starts it"),
                    ("docker compose run --rm status", "says how it is"),
                ],
                Way::Up => [("vigie doctor", "looks for what is still missing"), ("vigie up", "starts it")],
            },
        );
        let mut text = format!("\n{}\n", paint.strong("What comes next"));
        for (command, what) in steps {
            text += &format!("     {command:<32} {}\n", paint.faint(what));
        }
        self.talk.say(&text)
    }

    /// A secret that a flag gives.
    async fn given(&mut self, path: Option<PathBuf>) -> Result<Option<SecretString>, End> {
        let Some(path) = path else { return Ok(None) };
        if path == Path::new("-") {
            return self.talk.secret_line().await.map(Some);
        }
        let text = before::read_secret(&path).map_err(|error| End::Unusable(format!("{error:#}")))?;
        let token = talk::token(&text);
        token.map(Some).map_err(|expected| End::Unusable(format!("{}: {expected}", path.display())))
    }

    /// A secret that a flag gave, or a person types, or that is there already. `None` when there is none.
    async fn secret(
        &mut self,
        given: Option<&SecretString>,
        name: &str,
        question: &str,
    ) -> Result<Option<SecretString>, End> {
        if let Some(given) = given {
            return Ok(Some(given.clone()));
        }
        let there = self.before.secret(name);
        if !self.talk.person() {
            return Ok(there);
        }
        let hint = if there.is_some() { " [the one that is there]" } else { "" };
        let typed = self.talk.ask_hidden(&format!("{question}{}", self.talk.paint.faint(hint))).await?;
        Ok(typed.or(there))
    }
}
