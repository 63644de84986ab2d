//! Where things are: the binaries of the services, and the NATS server to talk to.

use std::{
    env,
    fs::{File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use bus::{Bus, ConnectError, Login, User};
use serde::{Deserialize, Serialize};
use service::{NatsLogin, Problem, Settings};

use crate::settings::SETTINGS;

/// The services that `vigie up` runs, which are the ones with settings.
pub(crate) const SERVICES: [&str; 4] = ["discord-gateway", "twitch-gateway", "command-worker", "healthcheck"];
/// Those that look after a bot where somebody set them up, and how their settings begin. Their binaries may be
/// missing.
pub(crate) const OPTIONAL: [(&str, &str); 3] =
    [("backup", "BACKUP_"), ("deployer", "DEPLOY_"), ("webhook-deploy", "WEBHOOK_")];
/// Those without which the bot does not work.
pub(crate) const NEEDED: [&str; 3] = ["discord-gateway", "twitch-gateway", "command-worker"];
/// A command that asks waits this long for NATS, not the half minute that a service waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is said where NATS does not answer, which other programs of ours look for.
pub(crate) const NOBODY: &str = "no NATS server answers";
/// The file that a running `vigie up` holds locked in its data folder.
pub(crate) const LOCK_FILE: &str = "vigie.lock";

/// A lock file holds one line, in bytes: some 80 for each part.
const MAX_LOCK_BYTES: u64 = 16 * 1024;
/// A line that is just being written is whole at the next look.
const LOOKS: usize = 5;
const NEXT_LOOK: Duration = Duration::from_millis(10);

/// What a running `vigie up` leaves in its lock file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process id.
    pub pid: u32,
    /// The NATS server that its services use; empty while it starts.
    pub nats_url: String,
    /// Where a person looks: the chat page of the sandbox, or empty.
    #[serde(default)]
    pub url: String,
    /// Whether it was started without a terminal.
    #[serde(default)]
    pub background: bool,
    /// Whether it has a local Discord and a local Twitch.
    #[serde(default)]
    pub sandbox: bool,
    /// How many workers it runs.
    #[serde(default)]
    pub workers: u8,
    /// Whether every part was ready when this was written.
    #[serde(default)]
    pub ready: bool,
    /// Its parts.
    #[serde(default)]
    pub parts: Vec<Seat>,
}

/// How a part of `vigie up` is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// What it is called.
    pub name: String,
    /// Its process, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whether it works.
    #[serde(default)]
    pub ready: bool,
    /// Whether its settings cannot be used, so that it is not started again.
    #[serde(default)]
    pub gave_up: bool,
    /// Whether a command has stopped it for a while.
    #[serde(default)]
    pub held: bool,
}

impl Running {
    /// Reads a lock file; `None` when nobody runs there.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut said = Vec::new();
        File::open(path).ok()?.take(MAX_LOCK_BYTES).read_to_end(&mut said).ok()?;
        // What a longer line left behind it is cut off a moment later.
        serde_json::from_slice(said.split(|byte| *byte == b'\n').next()?).ok()
    }

    /// What the one that uses a data folder says, if one does: what a killed one left says nothing.
    pub(crate) fn find(data: &Path) -> Option<Self> {
        let path = data.join(LOCK_FILE);
        for _ in 0..LOOKS {
            // The lock is let go as the file is closed.
            match File::open(&path).ok()?.try_lock_shared() {
                Err(TryLockError::WouldBlock) => {}
                Ok(()) | Err(TryLockError::Error(_)) => return None,
            }
            if let Some(running) = Self::read(&path) {
                return Some(running);
            }
            std::thread::sleep(NEXT_LOOK);
        }
        None
    }
}

/// Which Vigie a command is about.
#[derive(clap::Args, Debug)]
pub(crate) struct Which {
    /// The data folder of a `vigie up`, whose NATS server is asked unless NATS_URL is set
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

impl Which {
    /// The URL of its NATS server: `NATS_URL`, else what the `vigie up` of the data folder says, else
    /// the default.
    ///
    /// # Errors
    /// When a setting cannot be read.
    pub(crate) fn nats_url(&self) -> anyhow::Result<String> {
        if let Some(url) = nats_url_setting()? {
            return Ok(url);
        }
        let running = Running::read(&self.data.join(LOCK_FILE)).filter(|one| !one.nats_url.is_empty());
        Ok(running.map_or_else(|| bus::NATS_URL_DEFAULT.to_owned(), |running| running.nats_url))
    }
}

/// A setting that cannot be used, and why: nothing was done, and the exit code is the one for that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadSetting(pub String);

/// `NATS_URL`, when it is set.
///
/// # Errors
/// [`BadSetting`] when it cannot be read, such as from a file that is missing.
pub(crate) fn nats_url_setting() -> anyhow::Result<Option<String>> {
    let mut settings = Settings::load(&[SETTINGS]);
    let url = settings.optional("NATS_URL");
    if let Some(problem) = settings.problems().iter().find(|problem| problem.name == "NATS_URL") {
        return Err(BadSetting(problem.to_string()).into());
    }
    Ok(url)
}

/// Connects for a command that asks and ends.
///
/// # Errors
/// When NATS does not answer soon, or does not let us in; the message says what to do.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Bus> {
    connect_as(User::Operator, url).await
}

/// The same as somebody else than the person at the command line.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_as(user: User, url: &str) -> anyhow::Result<Bus> {
    let login = login(user)?;
    let options = bus::Options { url: url.to_owned(), name: format!("vigie-{}", std::process::id()) };
    match tokio::time::timeout(PATIENCE, Bus::connect_as(&login, options)).await {
        Ok(Ok(bus)) => Ok(bus),
        // `vigie start` is right whatever runs Vigie here.
        Ok(Err(ConnectError::Unreachable { .. })) | Err(_) => bail!(
            "{NOBODY} at {}: start Vigie with `vigie start`, or set NATS_URL to where NATS is",
            bus::without_credentials(url)
        ),
        Ok(Err(error @ (ConnectError::Url(_) | ConnectError::Key(_) | ConnectError::CaFile { .. }))) => {
            Err(BadSetting(format!("{:#}", anyhow::Error::from(error))).into())
        }
        Ok(Err(error)) => Err(error.into()),
    }
}

/// What NATS asks of us, and we of it, by `NATS_NKEY` and `NATS_CA_FILE`.
///
/// # Errors
/// [`BadSetting`] when one of them cannot be read.
pub(crate) fn login(user: User) -> anyhow::Result<Login> {
    let mut settings = Settings::load(&[SETTINGS]);
    let NatsLogin { nkey, ca_file, .. } = NatsLogin::read(&mut settings);
    let ours = |problem: &&Problem| ["NATS_NKEY", "NATS_CA_FILE"].contains(&problem.name.as_str());
    match settings.problems().iter().find(ours) {
        Some(problem) => Err(BadSetting(problem.to_string()).into()),
        None => Ok(Login { user, nkey, ca_file }),
    }
}

/// The binary of a service, beside this one.
///
/// # Errors
/// When it is not there.
pub(crate) fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder_of_binaries()?.join(name);
    if !path.is_file() {
        bail!("{} is missing: the binaries of Vigie belong into one folder", path.display());
    }
    Ok(path)
}

/// The folder that this binary lies in.
///
/// # Errors
/// When the operating system does not tell.
pub(crate) fn folder_of_binaries() -> anyhow::Result<PathBuf> {
    let here = env::current_exe().context("cannot find out where this program lies")?;
    Ok(here.parent().unwrap_or(Path::new(".")).to_path_buf())
}
