//! One command to Docker, bounded in time. Knows nothing of Vigie.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{process::Command, time::timeout};

/// How long a command may take: a stack that comes up on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Runs `docker` with these arguments and gives what it wrote to standard output.
///
/// # Errors
/// When it cannot be started, takes too long or fails; the message ends with what it wrote to standard error.
pub async fn docker<S: AsRef<str>>(arguments: &[S]) -> anyhow::Result<String> {
    output(with_engine(Command::new("docker")).args(arguments.iter().map(AsRef::as_ref))).await
}

/// A program that is told where the engine is, and nothing else of the environment: whoever runs this may
/// have a real token in it.
#[must_use]
pub fn with_engine(mut command: Command) -> Command {
    let is_ours = |name: &str| ["PATH", "HOME", "TMPDIR"].contains(&name) || name.starts_with("DOCKER_");
    command.env_clear().envs(std::env::vars().filter(|(name, _)| is_ours(name)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program as [`docker`] does.
///
/// # Errors
/// As [`docker`].
pub async fn output(command: &mut Command) -> anyhow::Result<String> {
    output_within(LIMIT, command).await
}

/// Runs a program that may take another time.
///
/// # Errors
/// As [`docker`].
pub async fn output_within(limit: Duration, command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{:?}", command.as_std());
    let done = timeout(limit, command.output())
        .await
        .with_context(|| format!("{shown} took more than {} s", limit.as_secs()))?
        .with_context(|| format!("cannot start {shown}"))?;
    if !done.status.success() {
        bail!("{shown}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr).trim_end());
    }
    String::from_utf8(done.stdout).with_context(|| format!("{shown} did not write UTF-8"))
}

/// What all was tried with.
///
/// # Errors
/// When the engine does not answer.
pub async fn machine() -> anyhow::Result<String> {
    let engine = docker(&["version", "--format", "{{.Server.Version}} on {{.Server.Arch}}"]).await?;
    let compose = docker(&["compose", "version", "--short"]).await?;
    Ok(format!("Docker {}, Compose {}", engine.trim(), compose.trim()))
}
