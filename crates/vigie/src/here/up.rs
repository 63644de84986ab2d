//! `vigie up`: the one that uses the data folder, in a terminal or in the background.

use std::{
    env, fmt,
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf, absolute},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    Part, State,
    lines::{Logs, Wanted, is_called},
};
use crate::{
    env_file,
    find::{Running, Seat},
    up::{EARLIER_LOG, HOLD, LOG, MOST_WORKERS},
};

/// How often is looked whether it has started or ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long all parts may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(60);
/// It ends within five seconds by itself.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a part may take to have another process: it drains, and waits for its turn.
const RESTART_LIMIT: Duration = Duration::from_secs(45);
/// Nobody else tells which parts are stopped.
const PRIVATE: u32 = 0o600;
/// What it says on standard error when it cannot start is not read further, in bytes.
const MAX_SAID: u64 = 16 * 1024;

/// The part that has a page for people.
const SANDBOX: &str = "sandbox";

/// A data folder.
pub(crate) struct Up {
    data: PathBuf,
}

/// What is to run, where that is not written in a file already.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Talk to a local Discord and a local Twitch, with a chat page, instead of the real ones
    #[arg(long)]
    pub sandbox: bool,
    /// How many workers share the commands
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MOST_WORKERS))]
    pub workers: u8,
}

impl Up {
    pub(super) fn at(data: &Path) -> Self {
        Self { data: data.to_path_buf() }
    }

    /// What the one that runs says of itself.
    pub(super) fn running(&self) -> Option<Running> {
        Running::find(&self.data)
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let Running { parts, url, .. } = self.running().unwrap_or_default();
        let mut parts: Vec<Part> = parts.into_iter().map(Seat::into).collect();
        if let Some(sandbox) = parts.iter_mut().find(|part| part.name == SANDBOX) {
            sandbox.detail += &format!(", {url}");
        }
        parts
    }

    /// Starts it in the background.
    pub(super) async fn start(&self, names: &[String], shape: Shape) -> anyhow::Result<()> {
        ensure!(names.is_empty(), "`vigie up` starts all parts together: leave out {}", names.join(", "));
        if let Some(running) = self.running() {
            bail!("it runs already (process {}); `vigie restart` starts it again", running.pid);
        }
        let mut child = self.spawn(&shape)?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = child.try_wait()? {
                let mut said = String::new();
                if let Some(stderr) = child.stderr.take() {
                    stderr.take(MAX_SAID).read_to_string(&mut said).await?;
                }
                let said = said.trim().trim_start_matches("vigie: ");
                let log = self.data.join(LOG);
                bail!("it ended while it started ({status}): {said}; {} has its log", log.display());
            }
            let ours = self.running().filter(|running| Some(running.pid) == child.id());
            if ours.as_ref().is_some_and(|running| running.ready) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let parts = ours.map(|running| running.parts).unwrap_or_default();
                let waiting: Vec<String> =
                    parts.into_iter().filter(|part| !part.ready).map(|part| part.name).collect();
                bail!(
                    "it runs, and is not ready after {} s: {}; `vigie logs` may say why",
                    START_LIMIT.as_secs(),
                    waiting.join(", ")
                );
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it in order.
    pub(super) async fn stop(&self, names: &[String]) -> anyhow::Result<()> {
        ensure!(names.is_empty(), "`vigie up` stops all parts together: leave out {}", names.join(", "));
        let Some(running) = self.running() else { bail!("no `vigie up` uses {}", self.data.display()) };
        signal(running.pid)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.running().is_some_and(|now| now.pid == running.pid) {
            ensure!(
                Instant::now() < deadline,
                "process {} did not end within {} s: `kill -9 {0}` ends it with all parts, and loses nothing",
                running.pid,
                STOP_LIMIT.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Has the parts end, which are then started again; or all of it, with new settings.
    pub(super) async fn restart(&self, names: &[String]) -> anyhow::Result<()> {
        let Some(running) = self.running() else { bail!("no `vigie up` uses {}", self.data.display()) };
        if names.is_empty() {
            ensure!(
                running.background,
                "it runs in a terminal (process {}): end it there with Ctrl-C and start it again, or name the parts \
                 to start again",
                running.pid
            );
            let shape = Shape { sandbox: running.sandbox, workers: running.workers };
            self.stop(&[]).await?;
            return self.start(&[], shape).await;
        }
        let mut ended = Vec::new();
        for name in names {
            let meant = running.parts.iter().filter(|part| is_called(&part.name, name));
            let meant: Vec<&Seat> = meant.collect();
            if meant.is_empty() {
                return Err(super::no_part(name, running.parts.iter().map(|part| part.name.as_str())));
            }
            for part in meant {
                let Some(pid) = part.pid else { bail!("{} does not run at the moment", part.name) };
                signal(pid)?;
                ended.push((part.name.clone(), pid));
            }
        }
        let deadline = Instant::now() + RESTART_LIMIT;
        let another = |part: &Seat, pid| part.pid.is_some_and(|now| now != pid);
        let again = |now: &Running| {
            let started =
                |name: &str, pid| now.parts.iter().any(|part| part.name == name && another(part, pid));
            ended.iter().all(|(name, pid)| started(name, *pid))
        };
        while !self.running().is_some_and(|now| again(&now)) && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Stops some parts until what this gives is dropped.
    pub(super) async fn hold(&self, names: &[String]) -> anyhow::Result<Hold> {
        let hold = Hold::take(&self.data.join(HOLD), names)?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            let Some(running) = self.running() else { bail!("no `vigie up` uses {}", self.data.display()) };
            let held = |name: &String| running.parts.iter().any(|part| part.name == *name && part.held);
            if names.iter().all(held) {
                return Ok(hold);
            }
            ensure!(
                Instant::now() < deadline,
                "the `vigie up` that runs (process {}) has not stopped {} within {} s: is it of an older version? \
                 Start it again",
                running.pid,
                names.join(", "),
                STOP_LIMIT.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn logs(&self, wanted: &Wanted) -> anyhow::Result<Logs> {
        Logs::of_file(self.data.join(LOG), self.data.join(EARLIER_LOG), wanted)
    }

    fn spawn(&self, shape: &Shape) -> anyhow::Result<Child> {
        let program = env::current_exe().context("cannot find out where this program lies")?;
        let mut command = Command::new(&program);
        command.args(["up", "--background", "--workers", &shape.workers.to_string()]);
        if shape.sandbox {
            command.arg("--sandbox");
        }
        command.arg("--data").arg(absolute(&self.data)?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in env_file::loaded() {
            command.env_remove(name);
        }
        command.spawn().with_context(|| format!("{} cannot be run", program.display()))
    }
}

/// Parts that stay stopped for as long as this is there.
pub(crate) struct Hold {
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl Hold {
    fn take(path: &Path, names: &[String]) -> anyhow::Result<Self> {
        let told = || format!("{} cannot be written", path.display());
        let options = File::options().create(true).truncate(false).write(true).mode(PRIVATE).to_owned();
        let mut file = options.open(path).with_context(told)?;
        let locked = file.try_lock().or_else(|_| {
            // Whoever looks whether it is held holds it for a moment.
            std::thread::sleep(LOOK_EVERY);
            file.try_lock()
        });
        if let Err(TryLockError::WouldBlock) = locked {
            bail!("another command has stopped parts for a while: wait until it is done");
        }
        file.set_len(0).and_then(|()| file.write_all(names.join("\n").as_bytes())).with_context(told)?;
        Ok(Self { path: path.to_owned(), _file: file })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // One that is left behind is locked by nobody, which says the same.
        let _ = fs::remove_file(&self.path);
    }
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`vigie up` with {}", absolute(&self.data).as_ref().unwrap_or(&self.data).display())
    }
}

impl From<Seat> for Part {
    fn from(seat: Seat) -> Self {
        let (state, word) = match (seat.gave_up, seat.ready, seat.pid) {
            _ if seat.held => (State::Down, "stopped for a while"),
            (true, ..) => (State::Down, "its settings cannot be used"),
            (_, true, Some(_)) => (State::Ready, "ready"),
            (_, false, Some(_)) => (State::Starting, "not ready"),
            (_, _, None) => (State::Failing, "ended, is started again"),
        };
        let process = seat.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        Self { name: seat.name, state, detail: format!("{word}{process}") }
    }
}

/// Asks a process to end.
fn signal(pid: u32) -> anyhow::Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has this number")?;
    kill_process(process, Signal::TERM).with_context(|| format!("process {pid} cannot be told to end"))
}
