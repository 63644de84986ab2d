//! `vigie commit-and-restart`: from a change in the bot's folder to a bot that runs with it. Each step is one that
//! a person could do: `vigie check`, `git add`, `git commit`, `git push`, `vigie deploy now` or `vigie restart`,
//! `vigie status`.

use std::{
    env,
    ffi::OsStr,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use protocol::control::DeployStatus;
use serde_json::{Value, json};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    ask, cli, doctor,
    find::{self, BadSetting, Which},
    here::program,
    jobs,
    paint::{self, Paint},
};

/// How long the bot may take to be ready again.
const BACK_LIMIT: Duration = Duration::from_secs(90);
/// How often is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So many files are named before the question.
const NAMED: usize = 20;
/// The exit code where the bot is not ready.
const FAILURE: u8 = 1;
/// What must not be in a repository: the file with tokens, and the folder of `vigie init`.
const SECRET: [&str; 2] = [".env", "secrets"];
/// How the names of keys, tokens and other files of settings end. One that is tracked was meant to be.
const SECRET_ENDS: [&str; 4] = [".nk", ".secret", ".token", ".env"];
/// What is said in the end, where NATS did not answer.
const UNWATCHED: &str = "NATS did not answer: nobody was asked to roll it out, and nobody watched the bot come back; `vigie \
     start` starts what does not run, then `vigie deploy now` rolls out, or without a deployer `vigie restart`";
/// It shows what there is to set.
const EXAMPLE: &str = ".env.example";

/// What `--help` ends with.
const EXIT_CODES: &str = "\
It runs what you could run yourself: vigie check, git add --all, git commit,
git push; then vigie deploy now where there is a deployer, else vigie restart,
which builds nothing; then vigie status until it is well.

Exit codes: 0 pushed, and the bot is ready; 1 something stopped it, and it says
what; 64 settings or arguments cannot be used; 75 pushed, and the deploy still goes
on or found nothing new, or NATS does not answer, so that nobody was asked to
roll it out and nobody watched the bot";

/// Arguments of `vigie commit-and-restart`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// What the change is, in a sentence
    #[arg(long, short, value_name = "TEXT")]
    message: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object once it is pushed; all that is done is told on standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Checks, commits, pushes and watches the bot come back.
///
/// # Errors
/// When a step fails; the message says which, and what was before it is done.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !ask::can_ask(options.yes) {
        return Ok(cli::refuse("this pushes, and there is no terminal to ask on: add --yes"));
    }
    if !doctor::can_start(&options.which.data, options.json).await? {
        cli::complain("vigie: nothing was committed: mend what is wrong first");
        return Ok(ExitCode::FAILURE);
    }
    let changed = changed().await?;
    // Asked now, since a push alone may set off a deploy.
    let before = deployed(&options.which.data).await.context("nothing was committed")?;
    let watched = before != Deployer::Unknown;
    if !watched {
        cli::complain("NATS does not answer, so that no deployer is asked: this only commits and pushes");
    }
    let branch = git(&["symbolic-ref", "--short", "HEAD"]).await.context("expected a branch to commit to")?;
    if !options.yes && !ask::confirmed(question(&changed, &branch, &options.message, watched)).await? {
        cli::complain("nothing was committed");
        return Ok(ExitCode::FAILURE);
    }
    if !changed.is_empty() {
        tell_git(&["add", "--all"]).await?;
        tell_git(&["commit", "--quiet", "--message", &options.message]).await?;
    }
    tell_git(&["push", "--quiet"]).await.context("the change is committed here, and not pushed")?;
    let commit = git(&["rev-parse", "--short", "HEAD"]).await?;
    let pushed = format!("{commit} is pushed to {branch}");
    if options.json {
        cli::complain(&pushed);
    } else {
        cli::say(&format!("{} {pushed}\n", Paint::stdout().good("✓")))?;
    }
    let code = match before {
        Deployer::Unknown => {
            cli::complain(UNWATCHED);
            jobs::STILL_GOING_ON
        }
        Deployer::There(before) => roll_out(options, &commit, Some(&before)).await?,
        Deployer::None => roll_out(options, &commit, None).await?,
    };
    if options.json {
        let view = vigie(&["status", "--json"], &options.which.data)?.stderr(Stdio::null()).output().await?;
        let status: Option<Value> = serde_json::from_slice(&view.stdout).ok();
        let all = json!({ "commit": commit, "branch": branch, "good": code == 0, "status": status });
        cli::say(&(all.to_string() + "\n"))?;
    }
    Ok(ExitCode::from(code))
}

/// Has the bot run with what was pushed; the exit code.
async fn roll_out(options: &Options, commit: &str, before: Option<&DeployStatus>) -> anyhow::Result<u8> {
    let step: &[&str] = if before.is_some() {
        &["deploy", "now"]
    } else {
        cli::complain(
            "there is no deployer: nothing is built, and the bot starts again with the programs it has",
        );
        &["restart"]
    };
    cli::complain(&format!("vigie {}", step.join(" ")));
    let mut command = vigie(step, &options.which.data)?;
    if options.json {
        command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    }
    let code = command.status().await?.code();
    if code != Some(0) {
        return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE));
    }
    if let Some(before) = before
        && !is_new(before, commit, &options.which.data).await?
    {
        return Ok(jobs::STILL_GOING_ON);
    }
    come_back(options).await
}

/// Files that a commit would hold.
async fn changed() -> anyhow::Result<Vec<String>> {
    let status = program::command("git", ["status", "--porcelain", "--untracked-files=all", "-z"]);
    let status = program::ask(status).await?;
    let mut paths = Vec::new();
    let mut entries = status.split('\0').filter(|entry| !entry.is_empty());
    while let Some(entry) = entries.next() {
        let (state, path) =
            entry.split_at_checked(3).with_context(|| format!("git status says {entry:?}"))?;
        if is_secret(state, path) {
            bail!("{path} holds secrets, and would be committed: add it to .gitignore");
        }
        // The name it had before is an entry of its own.
        if state.starts_with(['R', 'C']) {
            entries.next();
        }
        paths.push(path.to_owned());
    }
    Ok(paths)
}

/// `state`: as `git status --porcelain` has it.
fn is_secret(state: &str, path: &str) -> bool {
    // What goes out of the repository; of a conflict that is not known.
    if state.contains('D') && !state.contains('U') {
        return false;
    }
    let path = Path::new(path);
    let named = |part: &OsStr| SECRET.iter().any(|name| part == OsStr::new(name));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = SECRET_ENDS.iter().any(|end| name.ends_with(end)) || name.starts_with(".env.");
    path.components().any(|part| named(part.as_os_str()))
        || (state.starts_with("??") && kind && name != EXAMPLE)
}

fn question(changed: &[String], branch: &str, message: &str, watched: bool) -> String {
    let mut text = String::new();
    for path in changed.iter().take(NAMED) {
        text += &format!("  {}\n", paint::harmless(path));
    }
    if changed.len() > NAMED {
        text += &format!("  … and {} more\n", changed.len() - NAMED);
    }
    let what = match changed.len() {
        0 => "nothing changed here; push".to_owned(),
        1 => format!("commit this file as {message:?}, push"),
        count => format!("commit these {count} files as {message:?}, push"),
    };
    let then = if watched { ", and have the bot run with it?" } else { "?" };
    format!("{text}{what} to {branch}{then}")
}

/// Whether somebody rolls out what is pushed.
#[derive(Debug, PartialEq)]
enum Deployer {
    /// It says how things stand.
    There(Box<DeployStatus>),
    /// There is none.
    None,
    /// NATS does not answer.
    Unknown,
}

/// Asks it.
///
/// # Errors
/// When it cannot be known whether there is one, although NATS answers.
async fn deployed(data: &Path) -> anyhow::Result<Deployer> {
    let mut ask = vigie(&["deploy", "status", "--json"], data)?;
    let output = ask.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await?;
    if output.status.success() {
        let status = serde_json::from_slice(&output.stdout);
        let status = status.context("`vigie deploy status` says something that cannot be read")?;
        return Ok(Deployer::There(status));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(find::NOBODY) {
        return Ok(Deployer::Unknown);
    }
    if said.contains(&jobs::nobody("deployer")) {
        return Ok(Deployer::None);
    }
    let reason = said.trim().lines().last().unwrap_or_default().trim_start_matches("vigie: ");
    if output.status.code() == Some(i32::from(service::EXIT_BAD_SETTINGS)) {
        return Err(BadSetting(reason.to_owned()).into());
    }
    bail!("`vigie deploy status`: {reason}")
}

/// Whether a deploy that went well has changed anything. It may have started the deployer again, too.
async fn is_new(before: &DeployStatus, commit: &str, data: &Path) -> anyhow::Result<bool> {
    let deadline = Instant::now() + BACK_LIMIT;
    let now = loop {
        match deployed(data).await {
            Ok(Deployer::There(now)) => break now,
            Ok(Deployer::None | Deployer::Unknown) if Instant::now() >= deadline => {
                bail!("the deployer did not come back after the deploy")
            }
            Err(reason) if Instant::now() >= deadline => return Err(reason),
            Ok(Deployer::None | Deployer::Unknown) | Err(_) => sleep(LOOK_EVERY).await,
        }
    };
    let runs = now.current.as_deref().unwrap_or("the version before");
    // Nothing is new where the commit was rolled out already.
    if now.current != before.current || runs.contains(commit) {
        return Ok(true);
    }
    let shown = paint::harmless(runs);
    cli::complain(&format!(
        "{commit} is pushed, and {shown} still runs: the deployer found nothing new, such as an image that is not \
         built yet; `vigie deploy now` looks again"
    ));
    Ok(false)
}

/// Looks until the bot is well, not for ever.
async fn come_back(options: &Options) -> anyhow::Result<u8> {
    let data = &options.which.data;
    let deadline = Instant::now() + BACK_LIMIT;
    loop {
        let mut look = vigie(&["status", "--json"], data)?;
        let well = look.stdout(Stdio::null()).stderr(Stdio::null()).status().await?.success();
        if well || Instant::now() >= deadline {
            // It says what is missing, too.
            let well = if options.json { well } else { vigie(&["status"], data)?.status().await?.success() };
            return Ok(if well { 0 } else { FAILURE });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// This program with other arguments.
fn vigie(arguments: &[&str], data: &Path) -> anyhow::Result<Command> {
    let program: PathBuf = env::current_exe().context("cannot find out where this program lies")?;
    let mut command = program::command(&program.to_string_lossy(), arguments);
    command.arg("--data").arg(data);
    Ok(command)
}

async fn git(arguments: &[&str]) -> anyhow::Result<String> {
    ensure!(program::is_there("git"), "git is not installed");
    Ok(program::ask(program::command("git", arguments)).await?.trim().to_owned())
}

/// A person may have to type the password of a key there.
async fn tell_git(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = program::command("git", arguments);
    command.stdin(Stdio::inherit());
    program::tell(command, false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_wherever_they_lie() {
        let new = |path: &str| is_secret("?? ", path);
        assert!([".env", "bot/.env", "secrets/discord_token", "a/secrets/b"].iter().all(|path| new(path)));
        let keys =
            ["keys/operator/nats.nk", "hooks/site.secret", "discord.token", "other.env", "a/.env.local"];
        assert!(keys.iter().all(|path| new(path)));
        let open = [".env.example", "src/secrets.rs", "environment", "hooks/hooks.toml"];
        assert!(!open.iter().any(|path| new(path)));
    }

    #[test]
    fn what_is_tracked_by_intent_or_taken_out_is_let_through() {
        assert!(is_secret(" M ", ".env") && is_secret("A  ", "secrets/a") && is_secret("DU ", ".env"));
        assert!(!is_secret("D  ", ".env") && !is_secret(" D ", "secrets/discord_token"));
        assert!(!is_secret(" M ", "deploy/systemd/discord.env"));
    }

    #[test]
    fn the_question_names_what_would_be_committed() {
        let files: Vec<String> = (0..22).map(|number| format!("file-{number}")).collect();
        let text = question(&files, "main", "add a command", true);
        assert!(text.contains(
            "  file-19\n  … and 2 more\ncommit these 22 files as \"add a command\", push to main,"
        ));
        assert!(question(&[], "main", "x", true).starts_with("nothing changed here; push to main,"));
        assert_eq!(question(&[], "main", "x", false), "nothing changed here; push to main?");
    }
}
