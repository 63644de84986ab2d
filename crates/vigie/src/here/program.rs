//! Programs of others that are asked or told something: found, bounded, and without the settings of `.env`.

use std::{env, ffi::OsStr, process::Stdio, time::Duration};

use anyhow::{Context, bail};
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
        status => bail!("{shown} failed ({status})"),
    }
}

/// The program and its first arguments, for people.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = command.get_args().take(3).map(OsStr::to_string_lossy);
    let words: Vec<_> = std::iter::once(command.get_program().to_string_lossy()).chain(words).collect();
    format!("`{}`", words.join(" "))
}
