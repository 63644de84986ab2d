//! `cargo xtask demo`: a whole Vigie with a local Discord and a local Twitch, for a person with a
//! browser, or with `--say` for a terminal.

mod progress;
mod say;
mod stack;

use std::{fs, process::ExitStatus};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    progress::Progress,
    stack::{News, Stack},
};
use crate::{nats, paths, shell};

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args, Debug, Default)]
pub struct Options {
    /// Say this line on both platforms, print the replies with their latency, and end
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
}

/// How the time until everything is ready ended.
enum Start {
    Ready { url: String },
    Stopped,
}

/// Runs the demo until Ctrl-C, or until the line of `--say` was answered.
///
/// # Errors
/// When something cannot be built or started, a line is not answered, or a part does not end.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo(options))
}

/// Builds the binaries that a running Vigie consists of.
///
/// # Errors
/// When cargo fails.
pub fn build() -> anyhow::Result<()> {
    let mut arguments = vec!["build", "--bins"];
    arguments.extend(paths::BINARIES.iter().flat_map(|name| ["--package", name]));
    shell::cargo(&arguments).context("the build failed, see above")
}

async fn demo(options: &Options) -> anyhow::Result<()> {
    build()?;
    let server = nats::find_or_fetch()?;
    let folder = paths::target().join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let log = folder.join("vigie.log");

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut stack = Stack::start(&server, &folder, &log)?;
    let mut progress = Progress::new();
    let start = tokio::select! {
        start = wait_until_ready(&mut stack, &mut progress) => start,
        _ = interrupt.recv() => Ok(Start::Stopped),
        _ = terminate.recv() => Ok(Start::Stopped),
    };
    progress.settle();
    let done = match start {
        Err(reason) => Err(reason),
        Ok(Start::Stopped) => Ok(()),
        Ok(Start::Ready { url }) => tokio::select! {
            done = use_it(options, &url, &mut stack, &mut progress) => done,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        },
    };
    if done.is_err() {
        stack::show_end_of(&log);
    }
    let stopped = tokio::select! {
        stopped = stop(stack, &mut progress, options.say.is_none()) => stopped,
        _ = interrupt.recv() => bail!("ended at once; what was running ends with it"),
    };
    done.and(stopped)
}

async fn wait_until_ready(stack: &mut Stack, progress: &mut Progress) -> anyhow::Result<Start> {
    loop {
        match stack.news().await? {
            News::Tick => progress.tick(),
            News::Report(report) => {
                if let Some(url) = report.vigie_is_ready() {
                    return Ok(Start::Ready { url });
                }
                progress.take(&report);
            }
            News::Ended(status) => bail!("vigie up ended before everything was ready ({status})"),
        }
    }
}

async fn use_it(
    options: &Options,
    url: &str,
    stack: &mut Stack,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    match &options.say {
        Some(text) => say::say(url, text).await,
        None => {
            say::invite(url, stack.log());
            watch(stack, progress).await
        }
    }
}

/// Tells what happens to the parts until `vigie up` ends unasked.
async fn watch(stack: &mut Stack, progress: &mut Progress) -> anyhow::Result<()> {
    loop {
        match stack.news().await? {
            News::Tick => {}
            News::Report(report) => progress.tell(&report),
            News::Ended(status) => bail!("vigie up ended by itself ({status})"),
        }
    }
}

/// Ends everything, and tells each part's end when `each`.
async fn stop(mut stack: Stack, progress: &mut Progress, each: bool) -> anyhow::Result<()> {
    stack.ask_to_stop();
    let status: ExitStatus = loop {
        match stack.news().await? {
            News::Tick => {}
            News::Report(report) if each || report.part == "vigie" => progress.tell(&report),
            News::Report(_) => {}
            News::Ended(status) => break status,
        }
    };
    if !status.success() {
        bail!("vigie up did not end in order ({status}); see {}", paths::shown(stack.log()));
    }
    Ok(())
}
