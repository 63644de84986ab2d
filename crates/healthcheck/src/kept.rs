//! What a restart must not forget: what is wrong, who was told what, which services there were.
//!
//! A small file, not a bucket in NATS: the news that must never be told twice, or forgotten, is that NATS is gone.
//! It is written only when something changed, so that an SD card hardly notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use protocol::control::JobEnd;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{
    news::Waiting,
    restart,
    rules::{Alert, Level},
    silences::Silences,
};

/// Its name in the data folder.
const FILE: &str = "healthcheck.json";
/// A file that is larger was not written here, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// What was wrong.
    pub alerts: Vec<Alert>,
    /// Services that were seen.
    pub services: BTreeSet<String>,
    /// The number of the last dead letter that was seen.
    pub last_letter: Option<u64>,
    /// The number of the last entry of the audit trail that was read.
    pub trail: Option<u64>,
    /// When it was first asked how backups stand, in Unix milliseconds.
    pub backups_since_ms: Option<u64>,
    /// How the last try to make a backup ended.
    pub backup_tried: Option<JobEnd>,
    /// By channel.
    pub channels: BTreeMap<String, Channel>,
    /// Of what nobody is told for a while.
    pub silences: Silences,
    /// Which services were told to start again in the last hour.
    pub restarts: restart::Told,
}

/// What is kept of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Channel {
    /// What people were told there and not yet that it is over, by the alert's key.
    pub told: BTreeMap<String, Told>,
    /// What happened and people were not told there yet.
    pub waiting: Waiting,
    /// When it was last tested well, in Unix milliseconds.
    pub tested_ms: u64,
}

/// What people were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How bad it was.
    pub level: Level,
    /// What it was called.
    pub title: String,
    /// Since when it was so, in Unix milliseconds.
    pub since_ms: u64,
    /// When they were told, in Unix milliseconds.
    pub at_ms: u64,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    kept: Kept,
    /// Whether the file could not be written, which is said once.
    failed: bool,
}

impl Store {
    /// Reads the file in the folder. One that cannot be read is as good as none: what is wrong now is seen anyway,
    /// and told once more.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let kept = match read(&path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                warn!(path = %path.display(), %error, "what was kept cannot be read; starting anew");
                Kept::default()
            }
        };
        Self { path, inner: Mutex::new(Inner { kept, failed: false }) }
    }

    /// What is kept now.
    pub fn get(&self) -> Kept {
        self.lock().kept.clone()
    }

    /// Changes it, and writes the file when that changed anything.
    pub fn change(&self, change: impl FnOnce(&mut Kept)) {
        let mut inner = self.lock();
        let before = inner.kept.clone();
        change(&mut inner.kept);
        if inner.kept == before && !inner.failed {
            return;
        }
        match write(&self.path, &inner.kept) {
            Ok(()) if inner.failed => {
                inner.failed = false;
                info!(path = %self.path.display(), "can be written again");
            }
            Ok(()) => {}
            Err(error) if !inner.failed => {
                inner.failed = true;
                let path = self.path.display();
                warn!(%path, %error, "cannot be written: a restart will tell again what was told");
            }
            Err(_) => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Beside it first, then in its place: a power cut leaves the old one or the new one.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("json.new");
    let file = fs::File::create(&beside)?;
    serde_json::to_writer(&file, kept)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told { level: Level::Critical, title: "NATS cannot be reached".to_owned(), since_ms: 1, at_ms: 2 }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("not/there/yet");
        Store::open(&data).change(|kept| {
            kept.services.insert("command-worker".to_owned());
            kept.channels.entry("ntfy".to_owned()).or_default().told.insert("nats/".to_owned(), told());
        });
        let kept = Store::open(&data).get();
        assert_eq!(kept.channels["ntfy"].told["nats/"], told());
        assert!(kept.services.contains("command-worker"));
    }

    #[test]
    fn a_broken_file_is_no_reason_not_to_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"{\"alerts\": [").unwrap();
        let store = Store::open(folder.path());
        assert_eq!(store.get(), Kept::default());
        store.change(|kept| kept.last_letter = Some(3));
        assert_eq!(Store::open(folder.path()).get().last_letter, Some(3));
    }

    #[test]
    fn nothing_new_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        store.change(|kept| kept.alerts.clear());
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_endured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, b"").unwrap();
        let store = Store::open(&file);
        store.change(|kept| kept.last_letter = Some(3));
        assert_eq!(store.get().last_letter, Some(3));
    }
}
