//! Programs of others that are asked or told something: found, bounded, and without the settings of `.env`.

use std::{
    env,
    ffi::OsStr,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::process::Command;

use crate::env_file;

/// How long an answer may take; on a Pi that has just started it takes its time.
const ASK_LIMIT: Duration = Duration::from_secs(20);
/// How long something may take to be done: parts drain for some seconds, one after the other.
const TELL_LIMIT: Duration = Duration::from_secs(180);
/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Whether there is such a program on PATH.
pub(crate) fn is_there(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// A program that gets what this process got: what was read from `.env` it reads for itself, in its own way.
pub(crate) fn command<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for name in env_file::loaded() {
        command.env_remove(name);
    }
    command
}

/// What it says.
///
/// # Errors
/// When it fails or takes too long.
pub(crate) async fn ask(mut command: Command) -> anyhow::Result<String> {
    let shown = shown(&command);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("{shown} cannot be run"))?;
    let output = tokio::time::timeout(ASK_LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("{shown} gave no answer within {} s", ASK_LIMIT.as_secs()))?
        .with_context(|| format!("{shown} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}", said.trim().lines().last().unwrap_or("it does not say why"));
    }
    if output.stdout.len() > MAX_ANSWER {
        bail!("{shown} says more than {MAX_ANSWER} bytes");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has it do something; its own words go to standard error.
///
/// # Errors
/// When it fails or, if `bounded`, takes too long.
pub(crate) async fn tell(mut command: Command, bounded: bool) -> anyhow::Result<()> {
    let shown = shown(&command);
    let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let mut child = child.with_context(|| format!("{shown} cannot be run"))?;
    let status = if bounded {
        tokio::time::timeout(TELL_LIMIT, child.wait())
            .await
            .with_context(|| format!("{shown} was not done within {} s", TELL_LIMIT.as_secs()))?
    } else {
        child.wait().await
    };
    match status.with_context(|| format!("{shown} cannot be run"))? {
        status if status.success() => Ok(()),
        status if status.signal().is_some() => Err(Killed { shown, status }.into()),
        status => bail!("{shown} failed ({status})"),
    }
}

/// The same of what neither Ctrl-C nor a terminal that is closed stops half-way. May be done twice.
///
/// # Errors
/// As [`tell`], within the same time.
pub(crate) async fn tell_to_the_end(command: impl Fn() -> Command) -> anyhow::Result<()> {
    let told = |mut command: Command| {
        command.process_group(0);
        tell(command, true)
    };
    match told(command()).await {
        // For a moment after its start it is in our group, and gets what is pressed.
        Err(reason) if reason.downcast_ref::<Killed>().is_some_and(Killed::is_by_terminal) => {
            told(command()).await
        }
        done => done,
    }
}

/// A program that a signal ended.
#[derive(Debug, thiserror::Error)]
#[error("{shown} failed ({status})")]
struct Killed {
    shown: String,
    status: ExitStatus,
}

impl Killed {
    /// Whether it is one that a terminal sends, or who ends all that runs in it.
    fn is_by_terminal(&self) -> bool {
        let sent = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
        self.status.signal().is_some_and(|number| sent.iter().any(|signal| signal.as_raw() == number))
    }
}

/// The program and its first arguments, for people.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = command.get_args().take(3).map(OsStr::to_string_lossy);
    let words: Vec<_> = std::iter::once(command.get_program().to_string_lossy()).chain(words).collect();
    format!("`{}`", words.join(" "))
}
