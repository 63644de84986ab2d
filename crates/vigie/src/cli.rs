//! Arguments, and which module does what they ask.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{dead, doctor, env_file, events, init, keys, provision, settings, status, up};

/// Run and watch a Vigie: a bot for communities on Discord and Twitch.
#[derive(Parser)]
#[command(name = "vigie", version = service::BUILD, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask for what a bot needs, check it, and write .env
    Init(Box<init::Options>),
    /// Run everything on this machine, and start again what ends
    Up(up::Options),
    /// Create streams, consumers and buckets in NATS
    Provision(provision::Options),
    /// Say how every service is
    Status(status::Options),
    /// Follow what passes over the bus
    Events(events::Options),
    /// List, show, give back or drop what failed for good
    Dead(dead::Options),
    /// Say what is wrong and how to mend it
    Doctor(doctor::Options),
    /// Make the keys by which NATS knows its users, and write what it grants each of them
    Keys(keys::Options),
    /// List every setting of every service
    Settings(settings::Options),
}

/// The `main` of the binary.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Where help cannot be written there is nobody to tell.
            let _ = answer.print();
            return if answer.use_stderr() { bad_settings() } else { ExitCode::SUCCESS };
        }
    };
    let skip = match &cli.command {
        // The accounts in the file are the real ones, of which the sandbox must not be told.
        Command::Up(options) if options.sandbox => settings::PLATFORMS,
        _ => &[],
    };
    // It reads and writes that file by itself.
    let loads = !matches!(cli.command, Command::Init(_));
    if let Err(reason) = if loads { env_file::load(skip) } else { Ok(()) } {
        complain(&format!("vigie: {reason:#}"));
        return bad_settings();
    }
    service::install_crypto();
    // One thread: it is enough, and a child must not outlive the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        let done = runtime.block_on(Box::pin(run(cli.command)));
        // A thread that waits for standard input must not hold up the end.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(code) => code,
        Err(reason) => {
            complain(&format!("vigie: {reason:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(options) => init::run(*options).await,
        Command::Up(options) => up::run(options).await,
        Command::Provision(options) => provision::run(&options).await,
        Command::Status(options) => status::run(&options).await,
        Command::Events(options) => events::run(&options).await,
        Command::Dead(options) => dead::run(&options).await,
        Command::Doctor(options) => doctor::run(&options).await,
        Command::Keys(options) => keys::run(&options),
        Command::Settings(options) => settings::run(&options),
    }
}

/// The exit code for settings and arguments that cannot be used.
pub(crate) fn bad_settings() -> ExitCode {
    ExitCode::from(service::EXIT_BAD_SETTINGS)
}

/// Each as a line of JSON, for programs.
///
/// # Errors
/// When one of them cannot be JSON.
pub(crate) fn json_lines<T: serde::Serialize>(
    all: impl IntoIterator<Item = T>,
) -> serde_json::Result<String> {
    all.into_iter().map(|one| Ok(serde_json::to_string(&one)? + "\n")).collect()
}

/// Writes to standard output.
///
/// # Errors
/// When the reader went away.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error; where that is closed there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
