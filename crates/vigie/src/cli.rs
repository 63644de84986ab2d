//! Arguments, and which module does what they ask.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    audit, backup, commit, completions, dead, deploy, doctor, env_file, events,
    find::{self, Which},
    here::{self, HandedOver},
    init, keys, lifecycle, logs, monitor, provision, settings, silence, status, up,
};

const EXIT_CODES: &str = "\
Exit codes: 0 done, and well; 1 something is wrong, or was not done;
64 settings or arguments cannot be used; 69 restored, and not all is ready
again; 74 half restored; 75 a job still goes on.
With --json what is printed is for programs, and its fields stay.";

/// Run and watch a Vigie: a bot for communities on Discord and Twitch.
#[derive(Parser)]
#[command(name = "vigie", version = service::BUILD, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask for what a bot needs, check it, and write .env
    Init(Box<init::Options>),
    /// Say whether what is set here can be started; ask nobody outside
    Check(doctor::CheckOptions),
    /// Say what is wrong and how to mend it
    Doctor(doctor::Options),
    /// List every setting of every service
    Settings(settings::Options),
    /// Start what does not run
    Start(lifecycle::StartOptions),
    /// Stop all parts, or some, in order
    Stop(lifecycle::Options),
    /// Stop and start again all parts, or some
    Restart(lifecycle::Options),
    /// Run everything in this terminal, and start again what ends
    Up(up::Options),
    /// Say how every service is
    Status(status::Options),
    /// Watch services and what passes, in a whole terminal
    Monitor(monitor::Options),
    /// Print what the parts have written
    Logs(logs::Options),
    /// Follow what passes over the bus
    Events(events::Options),
    /// List, show, give back or drop what failed for good
    Dead(dead::Options),
    /// Say what was done, and who asked for it
    Audit(audit::Options),
    /// Make, list, check and bring back backups
    Backup(backup::Options),
    /// Roll out what is new, or go back
    Deploy(deploy::Options),
    /// Have nobody told of something that is wrong, for a while
    Silence(silence::Options),
    /// Check, commit and push, and watch the bot come back
    CommitAndRestart(commit::Options),
    /// Make the keys of NATS's users, and write what each may do
    Keys(keys::Options),
    /// Create streams, consumers and buckets in NATS
    Provision(provision::Options),
    /// Print what a shell needs to complete commands
    Completions(completions::Options),
}

impl Command {
    /// Where NATS is, of a command that can do nothing without it, or little; if that may be in Compose.
    fn asks_nats(&self) -> Option<&Which> {
        match self {
            Self::Status(options) => options.runs.perhaps_compose(),
            Self::Monitor(options) => options.runs.perhaps_compose(),
            Self::Events(options) => Some(&options.which),
            Self::Audit(options) => Some(&options.which),
            Self::Dead(options) => Some(options.which()),
            Self::Backup(options) => options.asks_nats(),
            Self::Deploy(options) => Some(options.which()),
            Self::Silence(options) => Some(options.which()),
            _ => None,
        }
    }

    /// Whether it says how the bot is, as far as that is known without NATS.
    const fn looks(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Monitor(_))
    }
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
        Command::Up(options) if options.shape.sandbox => settings::PLATFORMS,
        _ => &[],
    };
    // It reads and writes that file by itself.
    let loads = !matches!(cli.command, Command::Init(_));
    if let Err(reason) = if loads { env_file::load(skip) } else { Ok(()) } {
        return refuse(&format!("{reason:#}"));
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
        // Whoever read this has seen enough, as `head` does.
        Err(reason) if is_broken_pipe(&reason) => ExitCode::SUCCESS,
        Err(reason) if reason.is::<find::BadSetting>() => refuse(&format!("{reason:#}")),
        Err(reason) => {
            complain(&format!("vigie: {reason:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let mut without = None;
    if let Some(which) = command.asks_nats() {
        match here::hand_over(which, command.looks()).await? {
            HandedOver::Done(code) => return Ok(code),
            HandedOver::WithoutNats(reason) => without = Some(reason),
            HandedOver::Not => {}
        }
    }
    match command {
        Command::Init(options) => init::run(*options).await,
        Command::Check(options) => doctor::check(&options).await,
        Command::Doctor(options) => doctor::run(&options).await,
        Command::Settings(options) => settings::run(&options),
        Command::Start(options) => lifecycle::start(&options).await,
        Command::Stop(options) => lifecycle::stop(&options).await,
        Command::Restart(options) => lifecycle::restart(&options).await,
        Command::Up(options) => up::run(options).await,
        Command::Status(options) => status::run(&options, without).await,
        Command::Monitor(options) => monitor::run(&options, without).await,
        Command::Logs(options) => logs::run(&options).await,
        Command::Events(options) => events::run(&options).await,
        Command::Dead(options) => dead::run(&options).await,
        Command::Audit(options) => audit::run(&options).await,
        Command::Backup(options) => backup::run(&options).await,
        Command::Deploy(options) => deploy::run(&options).await,
        Command::Silence(options) => silence::run(&options).await,
        Command::CommitAndRestart(options) => commit::run(&options).await,
        Command::Keys(options) => keys::run(&options),
        Command::Provision(options) => provision::run(&options).await,
        Command::Completions(options) => completions::run(&options),
    }
}

fn is_broken_pipe(reason: &anyhow::Error) -> bool {
    reason.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The exit code for settings and arguments that cannot be used.
pub(crate) fn bad_settings() -> ExitCode {
    ExitCode::from(service::EXIT_BAD_SETTINGS)
}

/// Says why nothing is done with what was asked for: the exit code for that.
pub(crate) fn refuse(why: &str) -> ExitCode {
    complain(&format!("vigie: {why}"));
    bad_settings()
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The help of a command and of those below it.
    fn help(command: &mut clap::Command, path: &str, all: &mut String) {
        *all += &format!("$ {path} --help\n{}\n", command.render_long_help());
        let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        for name in names {
            if let Some(one) = command.find_subcommand_mut(&name) {
                help(one, &format!("{path} {name}"), all);
            }
        }
    }

    #[test]
    fn the_help_of_every_command() {
        let mut command = Cli::command();
        command.build();
        let mut all = String::new();
        help(&mut command, "vigie", &mut all);
        insta::assert_snapshot!(all);
    }

    /// Verbs that are for people alone: a dialogue, a screen, and what a shell reads.
    const FOR_PEOPLE: [&str; 3] = ["completions", "init", "monitor"];

    /// Commands without others below them, by their names with hyphens.
    fn verbs(command: &mut clap::Command, path: &str, all: &mut Vec<(String, clap::Command)>) {
        if !command.has_subcommands() {
            all.push((path.to_owned(), command.clone()));
        }
        let separator = if path.is_empty() { "" } else { "-" };
        for one in command.get_subcommands_mut() {
            let path = format!("{path}{separator}{}", one.get_name());
            verbs(one, &path, all);
        }
    }

    /// `tests/it/golden` says how a verb gets its file.
    #[test]
    fn what_every_verb_says_is_kept_in_a_file() {
        let mut command = Cli::command();
        command.build();
        let mut all = Vec::new();
        verbs(&mut command, "", &mut all);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        for (name, mut verb) in all {
            let said = std::fs::read_to_string(folder.join(format!("{name}.snap")));
            let said = said.unwrap_or_else(|_| panic!("{name}: tests/golden has no {name}.snap"));
            let ends = |code: &str| said.lines().any(|line| line == format!("-- exit code {code}"));
            let fails = said.lines().any(|line| line.starts_with("-- exit code ") && !line.ends_with(" 0"));
            assert!(
                fails && (ends("0") || name == "monitor"),
                "{name}: what it says when all is well, and when not"
            );
            let for_programs = verb.get_arguments().any(|one| one.get_long() == Some("json"));
            assert_eq!(for_programs, !FOR_PEOPLE.contains(&&*name), "{name}: whether it has --json");
            let shown = said.lines().any(|line| line.starts_with("$ vigie ") && line.contains(" --json"));
            assert_eq!(shown, for_programs, "{name}: what it says with --json");
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Exit codes: 0 "), "{name}: --help says nothing of its exit codes");
        }
    }

    #[test]
    fn arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
