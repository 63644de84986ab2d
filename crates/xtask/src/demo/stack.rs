//! The running `vigie up --sandbox` of a demo: what it reports, and how it is asked to stop.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Interval, interval},
};

use crate::{paths, shell};

/// How many workers share the commands.
const WORKERS: &str = "2";
/// How often the list of parts is redrawn.
const TICK: Duration = Duration::from_millis(100);
/// How many lines of the log are shown when something went wrong.
const SHOWN_LINES: usize = 20;

/// What `vigie up --json` says of one part.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// `nats`, `sandbox`, `discord-gateway`, `command-worker-1`, ..., or `vigie` for the whole.
    pub part: String,
    /// What it is now.
    pub state: State,
    /// Why, for a person.
    #[serde(default)]
    pub detail: String,
    /// Milliseconds since its start, or for `stopped` since it was asked.
    pub after_ms: Option<u64>,
    /// Where a person or a program finds it.
    pub url: Option<String>,
}

/// What a part is now.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is going to be started.
    Planned,
    /// Its process runs.
    Starting,
    /// It does not work yet, or not at the moment.
    Waiting,
    /// It works.
    Ready,
    /// Its process ended unasked; it is started again.
    Ended,
    /// It cannot be started; nobody tries again.
    Failed,
    /// It ended because it was asked to.
    Stopped,
}

impl Report {
    /// The URL, when this says that everything is ready.
    pub fn vigie_is_ready(&self) -> Option<String> {
        (self.part == "vigie" && self.state == State::Ready).then(|| self.url.clone().unwrap_or_default())
    }
}

/// What comes from a running stack.
pub enum News {
    /// Time passed.
    Tick,
    /// A part changed.
    Report(Report),
    /// `vigie up` is over.
    Ended(ExitStatus),
}

/// A running `vigie up`. When this is dropped, or dies, its standard input closes, and it stops in
/// order.
pub struct Stack {
    child: Child,
    stdin: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    reports_over: bool,
    tick: Interval,
    log: PathBuf,
}

impl Stack {
    /// Starts it with its data in `folder`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(nats_server: &Path, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        let log_file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(paths::binary("vigie"));
        command
            .args(["up", "--sandbox", "--workers", WORKERS, "--json", "--until-stdin-closes", "--data"])
            .arg(folder)
            .current_dir(folder)
            .env("NATS_SERVER", nats_server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // A Ctrl-C in the terminal reaches this process, which then stops that one in order.
            .process_group(0);
        // What a person has set for a real bot must not reach the demo.
        for (name, _) in env::vars_os() {
            let theirs = |name: &str| {
                ["DISCORD_", "TWITCH_", "NATS_URL"].iter().any(|prefix| name.starts_with(prefix))
            };
            if name.to_str().is_some_and(theirs) {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().context("cannot start vigie")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("vigie has no standard output")?;
        Ok(Self {
            child,
            stdin,
            reports: BufReader::new(stdout).lines(),
            reports_over: false,
            tick: interval(TICK),
            log: log.to_path_buf(),
        })
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// When `vigie up` writes something that is not a report.
    pub async fn news(&mut self) -> anyhow::Result<News> {
        loop {
            if self.reports_over {
                return Ok(News::Ended(self.child.wait().await?));
            }
            tokio::select! {
                line = self.reports.next_line() => match line? {
                    Some(line) => {
                        let report = serde_json::from_str(&line)
                            .with_context(|| format!("vigie up wrote something unexpected: {line}"))?;
                        return Ok(News::Report(report));
                    }
                    None => self.reports_over = true,
                },
                _ = self.tick.tick() => return Ok(News::Tick),
            }
        }
    }

    /// Asks it to stop in order.
    pub fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Where the parts write their logs.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// Shows how a log ends.
pub fn show_end_of(log: &Path) {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    shell::complain(&format!("\nThe end of {}:", paths::shown(log)));
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        shell::complain(&format!("  {line}"));
    }
}
