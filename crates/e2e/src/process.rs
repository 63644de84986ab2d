//! One service as a child process.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

/// How long a service may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long a program that should end by itself may take.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A running service.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    variables: Vec<(String, String)>,
    log: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub said: String,
}

impl Process {
    /// Starts a service with these settings and no others.
    pub(crate) fn start(name: &'static str, variables: Vec<(String, String)>, log: PathBuf) -> Self {
        let mut process = Self { name, variables, log, port: free_port(), child: None };
        process.resume();
        process
    }

    /// Starts it again with the same settings.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn resume(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let mut command = command(self.name, &self.variables);
        command.env("VIGIE_HTTP_ADDR", format!("127.0.0.1:{}", self.port)).stderr(log);
        // The same after each start, as a supervisor does.
        let instance = self.log.file_stem().expect("the log has a name");
        command.env("VIGIE_INSTANCE", instance);
        self.child = Some(command.spawn().expect("the service starts"));
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the signal is sent");
    }

    /// Kills it (`SIGKILL`) and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    /// Asks it to end (`SIGTERM`) and waits until it has; its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended()
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.take().expect("it runs").wait().expect("it ends").code()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// With its last answer and its log when it is not ready in time.
    pub async fn ready(&self) {
        let answer = self.answers("readyz", |status, _| status == 200);
        answer.await;
    }

    /// Waits until it says why it is not ready, in words that contain `reason`.
    ///
    /// # Panics
    /// With its last answer when it says something else for too long.
    pub async fn unready(&self, reason: &str) -> String {
        self.answers("readyz", |status, text| status == 503 && text.contains(reason)).await
    }

    /// What it counts now.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        self.answers("metrics", |status, _| status == 200).await
    }

    /// Where it answers probes and shows its numbers: a host with a port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn answers(&self, page: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let url = format!("http://127.0.0.1:{}/{page}", self.port);
        eventually(READY_LIMIT, || async {
            let seen = match reqwest::get(&url).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let text = answer.text().await.unwrap_or_default();
                    if wanted(status, &text) {
                        return Ok(text);
                    }
                    format!("{status} {text}")
                }
                Err(error) => error.to_string(),
            };
            Err(format!("{}: {seen}\n{}", self.name, self.log()))
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a binary that should end by itself.
///
/// # Panics
/// When it does not end in time.
pub async fn run_to_end(name: &'static str, variables: &[(String, String)]) -> Ended {
    let mut command = tokio::process::Command::from(command(name, variables));
    let child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts");
    let output = tokio::time::timeout(END_LIMIT, child.wait_with_output()).await;
    let output = output.expect("the program ends by itself").expect("its output can be read");
    Ended { code: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// A binary that is about to run, with these settings and no others.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn command(name: &str, variables: &[(String, String)]) -> Command {
    let mut command = Command::new(binary(name));
    // Settings of the person who runs the tests must not matter.
    command.env_clear().envs(variables.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The binary beside the test's own: `target/<profile>/<name>`.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: `cargo build --workspace` first", path.display());
    path
}
