//! A folder with `vigie` and stand-ins for the services, as an installation has it, and a running
//! `vigie up` in it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// An installation of this test alone.
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    /// With `vigie` and a stand-in for each service.
    pub fn new() -> Self {
        // In the target folder, since a hard link needs the same file system.
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let vigie = Path::new(env!("CARGO_BIN_EXE_vigie"));
        fs::hard_link(vigie, folder.path().join("vigie")).unwrap();
        let folder = Self { folder };
        for name in ["discord-gateway", "twitch-gateway", "command-worker", "healthcheck"] {
            folder.add(name);
        }
        folder
    }

    /// With a stand-in for one more service.
    pub fn add(&self, name: &str) {
        let stand_in = Path::new(env!("CARGO_BIN_EXE_vigie")).with_file_name("examples").join("stand_in");
        fs::hard_link(&stand_in, self.path().join(name)).expect(
            "the stand-in is built by `cargo test -p vigie`, or by `cargo build -p vigie --examples`",
        );
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where `vigie up` keeps its data.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `vigie`, with none of the settings of whoever runs the tests.
    pub fn vigie(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path().join("vigie"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if ["BACKUP_", "DISCORD_", "TWITCH_", "VIGIE_", "NATS_URL", "PREFIX"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                command.env_remove(name);
            }
        }
        command.env("NATS_SERVER", nats_server());
        command
    }

    /// Starts `vigie up --json` and waits for nothing.
    pub fn up(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Up {
        let mut command = self.vigie(&["up", "--json"]);
        let mut child = command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (reports, lines) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
        Up { child, reports, lines, seen: Vec::new(), over: false }
    }
}

/// The server that is named, else the one that the checkout fetched.
pub fn nats_server() -> PathBuf {
    let fetched = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    std::env::var_os("NATS_SERVER").map_or_else(fetched, PathBuf::from)
}

/// The lines of a stream, as they come.
pub fn follow(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What came so far or, when nothing more can come, all of it.
fn lines(from: &Receiver<String>, over: bool) -> Vec<String> {
    if over { from.iter().collect() } else { from.try_iter().collect() }
}

/// A running `vigie up`; killed when dropped, and its parts with it.
pub struct Up {
    child: Child,
    reports: Receiver<String>,
    lines: Receiver<String>,
    seen: Vec<Value>,
    over: bool,
}

impl Up {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next report that fits.
    pub fn wait_for(&mut self, part: &str, state: &str) -> Value {
        self.wait_for_any(&[part], state)
    }

    /// The same of any of these.
    pub fn wait_for_any(&mut self, parts: &[&str], state: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.reports.recv_timeout(left) else {
                panic!("no report that {parts:?} is {state}; seen {:#?}; log {:#?}", self.seen, self.log());
            };
            let report: Value = serde_json::from_str(&line).unwrap();
            self.seen.push(report.clone());
            if parts.iter().any(|part| report["part"] == *part) && report["state"] == state {
                return report;
            }
        }
    }

    /// Waits until everything is ready, and gives the process ids of the parts.
    pub fn ready(&mut self) -> Vec<u32> {
        self.wait_for("vigie", "ready");
        self.pids()
    }

    /// The process ids of everything that was started so far.
    pub fn pids(&self) -> Vec<u32> {
        let started = self.seen.iter().filter(|report| report["state"] == "starting");
        started.map(|report| u32::try_from(report["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    /// The process id that a part was started with last.
    pub fn pid_of(&self, part: &str) -> u32 {
        let of_part = |report: &&Value| report["part"] == part && report["state"] == "starting";
        let last = self.seen.iter().rev().find(of_part).unwrap();
        u32::try_from(last["pid"].as_u64().unwrap()).unwrap()
    }

    /// What was reported so far; after [`Up::ended`], all of it.
    pub fn seen(&mut self) -> &[Value] {
        for line in lines(&self.reports, self.over) {
            self.seen.push(serde_json::from_str(&line).unwrap());
        }
        &self.seen
    }

    /// What was logged since the last look; after [`Up::ended`], all of it.
    pub fn log(&self) -> Vec<String> {
        lines(&self.lines, self.over)
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.over = true;
                return status;
            }
            assert!(Instant::now() < deadline, "vigie up did not end; seen {:#?}", self.seen());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "no process {pid}");
}

/// Whether a process runs; one that only waits to be buried does not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until none of the processes runs.
pub fn wait_until_gone(pids: &[u32]) {
    let deadline = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(Instant::now() < deadline, "still running: {:?}", pids.iter().filter(|pid| runs(**pid)));
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
