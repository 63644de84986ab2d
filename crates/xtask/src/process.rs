//! A child process: started with a log of its own, signalled, talked with, and what the kernel says it used.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// `USER_HZ`: the unit of CPU times in `/proc`, 1/100 s on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// A child that ends with this value.
pub struct Process {
    /// What it is called in tables.
    pub name: String,
    child: Child,
}

impl Process {
    /// Starts a program with its log in `folder`, after what is there already.
    ///
    /// # Errors
    /// When it cannot be started, or its log not be written.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, String)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let log = log_of(name, folder)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Self::spawn(name, &mut command)
    }

    /// As [`start`](Self::start), for a program that is talked with, line by line; its log has only what it
    /// complains about.
    ///
    /// # Errors
    /// As `start`.
    pub fn talk(
        name: &str,
        program: &Path,
        arguments: &[&str],
        folder: &Path,
    ) -> anyhow::Result<(Self, Talk)> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_of(name, folder)?);
        let mut process = Self::spawn(name, &mut command)?;
        let (to, from) = (process.child.stdin.take(), process.child.stdout.take());
        let talk = Talk { to: to.context("no pipe")?, from: BufReader::new(from.context("no pipe")?) };
        Ok((process, talk))
    }

    fn spawn(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} has no process id", self.name))?;
        kill_process(pid, signal).with_context(|| format!("{} has ended; its log tells why", self.name))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Bytes that it caused to be written to storage so far: what the page cache still holds included, what
    /// was deleted before it was written not. A work queue that is empty deletes its file, mostly within
    /// a millisecond, so that little of what passes through it is ever written.
    ///
    /// # Errors
    /// When it has ended, or the kernel does not tell.
    pub fn written(&self) -> anyhow::Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))
            .with_context(|| format!("{} has ended, or is not ours; its log tells why", self.name))?;
        let bytes = |name: &str| -> anyhow::Result<u64> {
            let line = io.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("/proc/PID/io has no {name}"))
        };
        Ok(bytes("write_bytes")?.saturating_sub(bytes("cancelled_write_bytes")?))
    }

    /// CPU time used so far, user and system.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .with_context(|| format!("{} has ended; its log tells why", self.name))?;
        // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').context("/proc/PID/stat has another shape")?.1;
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        Ok(TICK * u32::try_from(ticks).context("CPU time is out of range")?)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS")
    }

    /// The most resident memory that it ever had, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM")
    }

    /// Begins to count the most resident memory anew.
    ///
    /// # Errors
    /// When it has ended, or is not ours.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&path, "5").with_context(|| format!("{path} cannot be written"))
    }

    /// Its share of resident memory in bytes: what others use as well counts by parts (`Pss`).
    ///
    /// # Errors
    /// When it has ended, or is not ours.
    pub fn share(&self) -> anyhow::Result<u64> {
        kibibytes(&format!("/proc/{}/smaps_rollup", self.child.id()), "Pss")
            .with_context(|| format!("{} does not tell; its log may", self.name))
    }

    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        memory(self.child.id(), field).with_context(|| format!("{} has ended; its log tells why", self.name))
    }
}

/// Memory of any process in bytes, by the name of the field in `/proc/PID/status`.
///
/// # Errors
/// When it has ended.
pub fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    kibibytes(&format!("/proc/{pid}/status"), field)
}

fn kibibytes(path: &str, field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has no {field}"))? * 1024)
}

/// The children that a process has now.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn log_of(name: &str, folder: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(folder.join(format!("{name}.log")))
}

/// A child's standard input and output. It is told that it is over when this is dropped.
pub struct Talk {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talk {
    /// Waits for the child's next line.
    ///
    /// # Errors
    /// When it has ended instead.
    pub fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let bytes = self.from.read_line(&mut line)?;
        ensure!(bytes > 0, "it ended without a word");
        Ok(line)
    }

    /// Tells the child to go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        Ok(self.to.write_all(b"\n")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
