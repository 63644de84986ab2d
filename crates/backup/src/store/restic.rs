//! A repository of restic, by its program, which runs for a while and then is gone with its memory.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use child::Child;
use chrono::DateTime;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tracing::{info, warn};

use super::complaint::{GREETING, ResticError};
use crate::{
    config::{Config, Folder},
    desk::Progress,
    files,
    kept::Known,
    programs,
};

/// What all our snapshots have in common, so that others can be in the same repository.
const TAG: &str = "vigie";
/// What a snapshot has besides once all of it is there. One that was made by a restic whose service had died, and
/// which found its files gone, has not.
const WHOLE: &str = "whole";
/// The name of the machine in our snapshots: a restored bot goes on where the lost one ended.
const HOST: &str = "vigie";
/// How long it may take to save, restore or check everything.
const LONG: Duration = Duration::from_secs(6 * 60 * 60);
/// How long what only looks at the repository may take.
const SHORT: Duration = Duration::from_secs(10 * 60);
/// When somebody else works on the repository, it is tried again so often,
const LOCK_TRIES: u32 = 60;
/// with this pause.
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// A repository.
#[derive(Clone, Debug)]
pub struct Restic {
    program: PathBuf,
    repository: SecretString,
    password: SecretString,
    cache: PathBuf,
    scratch: PathBuf,
}

#[derive(Deserialize)]
struct Snapshot {
    id: String,
    time: String,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Size {
    total_size: u64,
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
enum Line {
    Status {
        #[serde(default)]
        bytes_done: u64,
        #[serde(default)]
        bytes_restored: u64,
        #[serde(default)]
        total_bytes: u64,
    },
    Summary {
        #[serde(default)]
        snapshot_id: String,
        #[serde(default)]
        total_bytes_processed: u64,
    },
    #[serde(other)]
    Other,
}

impl Restic {
    /// The one of the settings, if there is one.
    pub fn new(config: &Config) -> Option<Self> {
        Some(Self {
            program: config.restic.clone(),
            repository: config.repository.clone()?,
            password: config.password.clone()?,
            cache: config.data.join("cache"),
            scratch: config.data.join("scratch"),
        })
    }

    /// Makes sure that the repository is there, and the one it was; gives its own name. One is made only where none
    /// was used before: else a disk that is not there would be noticed by nobody.
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn open(&self, known: Option<&str>) -> Result<String, ResticError> {
        let found = match (self.identity().await, known) {
            (Err(ResticError::NoRepository), None) => {
                info!("making a new repository");
                self.run(&["init"], SHORT, |_| {}).await?;
                self.identity().await?
            }
            (Err(ResticError::NoRepository), Some(_)) => {
                let words = "the repository is gone from BACKUP_REPOSITORY: is its disk there? To begin a new one, \
                             remove backup.json from BACKUP_DATA";
                return Err(ResticError::Replaced(words.to_owned()));
            }
            (found, _) => found?,
        };
        match known {
            Some(known) if known != found => Err(ResticError::Replaced(format!(
                "at BACKUP_REPOSITORY is another repository ({found}) than before ({known}): is it the right disk? \
                 To go on with it, remove backup.json from BACKUP_DATA"
            ))),
            _ => Ok(found),
        }
    }

    async fn identity(&self) -> Result<String, ResticError> {
        #[derive(Deserialize)]
        struct Identity {
            id: String,
        }
        let text = self.text(&["cat", "config", "--no-lock", "--quiet"]).await?;
        let identity: Result<Identity, _> = serde_json::from_str(&text);
        identity.map(|identity| identity.id).map_err(|error| ResticError::Said(error.to_string()))
    }

    /// All our backups.
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn list(&self) -> Result<Vec<Known>, ResticError> {
        let snapshots = self.snapshots().await?;
        Ok(snapshots.into_iter().filter(Snapshot::is_whole).filter_map(Snapshot::known).collect())
    }

    /// Removes what is no backup, because who made it died before its end.
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn clear_unfinished(&self) -> Result<(), ResticError> {
        let snapshots = self.snapshots().await?;
        let unfinished = snapshots.into_iter().filter(|snapshot| !snapshot.is_whole());
        let names: Vec<String> = unfinished.map(|snapshot| snapshot.id).collect();
        if names.is_empty() {
            return Ok(());
        }
        info!(count = names.len(), "removing what was not stored to its end");
        self.forget(&names).await
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, ResticError> {
        let text = self.text(&["snapshots", "--json", "--no-lock", "--quiet", "--tag", TAG]).await?;
        // A repository without any says `null`.
        let snapshots: Option<Vec<Snapshot>> =
            serde_json::from_str(&text).map_err(|error| ResticError::Said(error.to_string()))?;
        Ok(snapshots.unwrap_or_default())
    }

    /// Stores what is gathered in `stage`, and the folders; gives how many bytes that is.
    ///
    /// # Errors
    /// [`ResticError`]; then nothing of it is left but what the next backup uses again.
    pub async fn save(
        &self,
        stage: &Path,
        folders: &[Folder],
        backup: &Known,
        progress: &Progress,
    ) -> Result<u64, ResticError> {
        let mut tags = vec![TAG.to_owned(), format!("id:{}", backup.id), format!("number:{}", backup.number)];
        tags.extend(backup.parts.iter().map(|part| format!("part:{part}")));
        let ours = format!("{}*", files::OURS);
        let mut arguments = vec!["backup", "--json", "--host", HOST, "--exclude", &ours];
        arguments.extend(tags.iter().flat_map(|tag| ["--tag", tag]));
        arguments.extend(["--", "."]);
        let paths: Vec<String> = folders.iter().map(|folder| folder.path.display().to_string()).collect();
        arguments.extend(paths.iter().map(String::as_str));
        let mut stored = None;
        let ran = self.run_within(Some(stage), &arguments, LONG, |line| match serde_json::from_str(line) {
            Ok(Line::Status { bytes_done, total_bytes, .. }) => progress.done(bytes_done, Some(total_bytes)),
            Ok(Line::Summary { snapshot_id, total_bytes_processed }) => {
                stored = Some((snapshot_id, total_bytes_processed));
            }
            _ => {}
        });
        match (ran.await, stored) {
            (Ok(()), Some((snapshot, bytes))) => {
                self.run(&["tag", "--add", WHOLE, "--", &snapshot], SHORT, |_| {}).await?;
                Ok(bytes)
            }
            (Ok(()), None) => Err(ResticError::Said("no summary".to_owned())),
            (Err(error), Some((snapshot, _))) => {
                // A snapshot that lacks something must not be taken for a backup.
                if let Err(error) = self.forget(&[snapshot]).await {
                    warn!(error = service::chain(&error), "a backup that is not whole could not be removed");
                }
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// How many bytes a snapshot takes where it is restored.
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn size_of(&self, snapshot: &str) -> Result<u64, ResticError> {
        let text = self.text(&["stats", "--json", "--no-lock", "--mode", "restore-size", snapshot]).await?;
        let size: Size = serde_json::from_str(&text).map_err(|error| ResticError::Said(error.to_string()))?;
        Ok(size.total_size)
    }

    /// Restores everything into `target`.
    ///
    /// # Errors
    /// [`ResticError`]; then what is there is not whole.
    pub async fn restore(
        &self,
        snapshot: &str,
        target: &Path,
        progress: &Progress,
    ) -> Result<(), ResticError> {
        let target = target.display().to_string();
        let arguments = ["restore", snapshot, "--json", "--target", &target];
        self.run(&arguments, LONG, |line| {
            if let Ok(Line::Status { bytes_restored, total_bytes, .. }) = serde_json::from_str(line) {
                progress.done(bytes_restored, Some(total_bytes));
            }
        })
        .await
    }

    /// Checks the structure, and reads so many percent of what is stored; `None`: nothing of it, and of the structure only
    /// what is not here already.
    ///
    /// # Errors
    /// [`ResticError`], with what is damaged.
    pub async fn check(&self, percent: Option<u8>) -> Result<(), ResticError> {
        let how = percent.map(|percent| format!("--read-data-subset={percent}%"));
        self.run(&["check", how.as_deref().unwrap_or("--with-cache")], LONG, |_| {}).await
    }

    /// Forgets snapshots; what only they had stays until [`prune`](Self::prune).
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn forget(&self, snapshots: &[String]) -> Result<(), ResticError> {
        let names = snapshots.iter().map(String::as_str);
        let arguments: Vec<&str> = ["forget", "--"].into_iter().chain(names).collect();
        self.run(&arguments, SHORT, |_| {}).await
    }

    /// Removes what no snapshot has any more.
    ///
    /// # Errors
    /// [`ResticError`]
    pub async fn prune(&self) -> Result<(), ResticError> {
        self.run(&["prune"], LONG, |_| {}).await
    }

    async fn text(&self, arguments: &[&str]) -> Result<String, ResticError> {
        let mut text = String::new();
        let add = |line: &str| {
            if line != GREETING {
                text.push_str(line);
            }
        };
        self.run(arguments, SHORT, add).await?;
        Ok(text)
    }

    async fn run(
        &self,
        arguments: &[&str],
        limit: Duration,
        line: impl FnMut(&str),
    ) -> Result<(), ResticError> {
        self.run_within(None, arguments, limit, line).await
    }

    /// Runs it, again when somebody else is at work.
    async fn run_within(
        &self,
        folder: Option<&Path>,
        arguments: &[&str],
        limit: Duration,
        mut line: impl FnMut(&str),
    ) -> Result<(), ResticError> {
        let mut tries = 1;
        loop {
            let mut child = self.child(arguments, limit)?;
            if let Some(folder) = folder {
                child = child.within(folder);
            }
            match child.lines(&mut line).await.map_err(ResticError::from) {
                Err(ResticError::Locked(words)) if tries < LOCK_TRIES => {
                    warn!(words, "the repository is in use; waiting");
                }
                ran => return ran,
            }
            tries += 1;
            tokio::time::sleep(LOCK_PAUSE).await;
            // It removes locks of processes that are gone, and no others. Not before the pause: one that was killed a
            // moment ago may still count as a process.
            self.child(&["unlock"], SHORT)?.lines(|_| {}).await?;
        }
    }

    fn child(&self, arguments: &[&str], limit: Duration) -> Result<Child, ResticError> {
        std::fs::create_dir_all(&self.scratch)?;
        let child = programs::program(&self.program, limit).args(arguments);
        Ok(child
            .env("RESTIC_REPOSITORY", self.repository.expose_secret())
            .env("RESTIC_CACHE_DIR", &self.cache)
            .env("TMPDIR", &self.scratch)
            // It must not ask whoever sits at the terminal, and wait for them.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "false")
            // Less memory for a little more time.
            .env("GOGC", "30")
            .input(self.password.clone()))
    }
}

impl Snapshot {
    fn is_whole(&self) -> bool {
        self.tags.iter().any(|tag| tag == WHOLE)
    }

    /// `None` when it is not one of ours.
    fn known(self) -> Option<Known> {
        let of = |start: &str| self.tags.iter().find_map(|tag| tag.strip_prefix(start).map(str::to_owned));
        let parts = self.tags.iter().filter_map(|tag| tag.strip_prefix("part:"));
        Some(Known {
            id: of("id:")?,
            number: of("number:")?.parse().ok()?,
            at_ms: u64::try_from(DateTime::parse_from_rfc3339(&self.time).ok()?.timestamp_millis())
                .unwrap_or(0),
            parts: parts.map(str::to_owned).collect(),
            snapshot: Some(self.id.clone()),
            ..Known::default()
        })
    }
}
