//! What a restore in place has done so far, in a file, so that whoever comes next can go back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::swap::{self, Place};
use crate::{
    files,
    trouble::{Trouble, While as _, aside},
};

/// Its name in the data folder. `vigie up` and the units of systemd start no bot while it is there.
const FILE: &str = "restore.json";
/// What cannot be written when that fails.
const DOING: &str = "writing restore.json in BACKUP_DATA";

/// What was done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Which backup is put back.
    pub backup: String,
    /// Files.
    pub places: Vec<Place>,
    /// Whether the database of PostgreSQL was begun.
    pub database: bool,
    /// Streams that were begun.
    pub streams: Vec<String>,
    #[serde(skip)]
    path: PathBuf,
}

impl Journal {
    /// An empty one, not written yet.
    pub fn new(data: &Path, backup: String) -> Self {
        Self { backup, places: Vec::new(), database: false, streams: Vec::new(), path: data.join(FILE) }
    }

    /// The one of a restore that did not come to its end; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read: then a person must look.
    pub fn read(data: &Path) -> io::Result<Option<Self>> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(text) => Ok(Some(Self { path, ..serde_json::from_slice(&text)? })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which backup it is about, with a reason where that cannot be read; `None` when there is none.
    pub fn unfinished(data: &Path) -> Option<String> {
        match Self::read(data) {
            Ok(journal) => journal.map(|journal| journal.backup),
            Err(error) => Some(format!("? ({FILE}: {error})")),
        }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When the disk is full.
    pub async fn write(&self) -> Result<(), Trouble> {
        let journal = self.clone();
        aside(move || journal.put().during(DOING)).await
    }

    /// There is nothing to go back to any more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self) -> Result<(), Trouble> {
        let path = self.path.clone();
        let removed = move || {
            files::remove(&path)?;
            path.parent().map_or(Ok(()), files::sync)
        };
        aside(move || removed().during(DOING)).await
    }

    /// Exchanges the files.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn forward(&mut self) -> Result<(), Trouble> {
        self.exchange(swap::forward).await
    }

    /// Exchanges them back.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn back(&mut self) -> Result<(), Trouble> {
        self.exchange(swap::back).await
    }

    /// How far it got is here too when a step fails.
    async fn exchange(
        &mut self,
        way: fn(&mut [Place], swap::Save<'_>, swap::Point<'_>) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        let mut written = self.clone();
        let (places, outcome) = aside(move || {
            let mut places = written.places.clone();
            let mut save = |places: &[Place]| {
                written.places = places.to_vec();
                written.put()
            };
            let outcome = way(&mut places, &mut save, &mut || Ok(()));
            Ok((places, outcome))
        })
        .await?;
        self.places = places;
        outcome.during("renaming")
    }

    fn put(&self) -> io::Result<()> {
        files::write_json(&self.path, self)
    }
}
