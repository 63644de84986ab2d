//! What a restart must not forget: which backups there are, which of them were proved, what was done when.
//!
//! A small file. It is written in one step, so that a power cut leaves the old one or the new one; without it
//! nothing is lost but what can be asked again of where backups are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::control::{Job, JobEnd};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    files,
    trouble::{While as _, aside},
};

/// Its name in the data folder.
const FILE: &str = "backup.json";
/// A file that is larger was not written here, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The repository that was used, as it names itself: an empty disk in its place is noticed.
    pub repository: Option<String>,
    /// Every backup, the oldest first.
    pub backups: Vec<Known>,
    /// The job that runs, or ran last.
    pub job: Option<Job>,
    /// How the last backup ended.
    pub create: Option<JobEnd>,
    /// How the last drill ended.
    pub drill: Option<JobEnd>,
    /// How long the last good drill took to bring everything back, in milliseconds.
    pub restore_ms: Option<u64>,
    /// How long the last good backup took, in milliseconds.
    pub create_ms: Option<u64>,
    /// What was in the last good backup: what is missing next time is missed.
    pub parts: Vec<String>,
    /// How many files each folder had in the last good backup: one that is empty next time is missed.
    pub files: BTreeMap<String, u64>,
    /// How many messages each stream and bucket had in the last good backup: one that is gone next time is missed.
    pub streams: BTreeMap<String, u64>,
    /// When what no backup needs was last removed from the repository.
    pub pruned_at_ms: Option<u64>,
    /// What a restore to a new place takes until it has its name there.
    pub restoring: Option<PathBuf>,
    /// When a backup was last due.
    pub created_at_ms: Option<u64>,
    /// When a drill was last due.
    pub drilled_at_ms: Option<u64>,
}

/// A backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// Its name.
    pub id: String,
    /// Which one in a row: the clock may be put back, this is not.
    pub number: u64,
    /// When it was made, in Unix milliseconds.
    pub at_ms: u64,
    /// How much it holds, where that is known.
    pub bytes: Option<u64>,
    /// What is in it.
    pub parts: Vec<String>,
    /// When it was last restored and found whole, in Unix milliseconds.
    pub proved_ms: Option<u64>,
    /// Its name in the repository.
    pub snapshot: Option<String>,
    /// The name of its archive.
    pub archive: Option<String>,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Held by who writes the file.
    writing: Mutex<()>,
}

impl Store {
    /// Reads the file in the folder. One that cannot be read is put aside.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let kept = match read(&path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                let aside = path.with_extension("json.bad");
                warn!(path = %path.display(), %error, "what was kept cannot be read; it is put aside");
                if let Err(error) = fs::rename(&path, &aside) {
                    warn!(path = %aside.display(), %error, "it could not be put aside");
                }
                Kept::default()
            }
        };
        Self { path, kept: Mutex::new(kept), writing: Mutex::default() }
    }

    /// What is kept now.
    pub fn get(&self) -> Kept {
        self.lock().clone()
    }

    /// Changes it at once, and writes the file when that changed anything.
    pub async fn change(self: &Arc<Self>, change: impl FnOnce(&mut Kept)) {
        {
            let mut kept = self.lock();
            let before = kept.clone();
            change(&mut kept);
            if *kept == before {
                return;
            }
        }
        let store = self.clone();
        if let Err(trouble) = aside(move || store.write().during("writing it down")).await {
            let (path, error) = (self.path.display(), service::chain(&trouble));
            warn!(%path, error, "cannot be written: a restart will not know what was done");
        }
    }

    /// Who comes last writes what is newest.
    fn write(&self) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        files::write_json(&self.path, &self.get())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_there_after_a_restart_and_a_torn_file_is_no_reason_not_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("not/there/yet");
        Arc::new(Store::open(&data)).change(|kept| kept.parts.push("database".to_owned())).await;
        assert_eq!(Store::open(&data).get().parts, ["database"]);
        fs::write(data.join(FILE), b"{\"parts\": [").unwrap();
        assert_eq!(Store::open(&data).get(), Kept::default());
        assert!(data.join("backup.json.bad").exists());
    }
}
