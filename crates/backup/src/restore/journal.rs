//! What a restore in place has done so far, in a file, so that whoever comes next can go back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::swap::{self, Place};
use crate::files;

/// Its name in the data folder.
const FILE: &str = "restore.json";

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

    /// Writes it down.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&self) -> io::Result<()> {
        files::write_json(&self.path, self)
    }

    /// There is nothing to go back to any more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        files::remove(&self.path)?;
        self.path.parent().map_or(Ok(()), files::sync)
    }

    /// Exchanges the files.
    ///
    /// # Errors
    /// When a step fails.
    pub fn forward(&mut self) -> io::Result<()> {
        self.exchange(swap::forward)
    }

    /// Exchanges them back.
    ///
    /// # Errors
    /// When a step fails.
    pub fn back(&mut self) -> io::Result<()> {
        self.exchange(swap::back)
    }

    fn exchange(
        &mut self,
        way: fn(&mut [Place], swap::Save<'_>, swap::Point<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut places = std::mem::take(&mut self.places);
        let mut written = self.clone();
        let mut save = |places: &[Place]| {
            written.places = places.to_vec();
            written.write()
        };
        let outcome = way(&mut places, &mut save, &mut || Ok(()));
        self.places = places;
        outcome
    }
}
