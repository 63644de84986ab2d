//! What is in a backup, written into it, so that what comes back can be held against it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::files;

/// Its name at the top of a backup.
pub const FILE: &str = "manifest.json";
/// What is at the top of a backup: in a repository a folder of people, which is there by its own path, must not be below
/// one of these.
pub const NAMES: [&str; 5] = [FILE, Part::DATABASE, Part::STREAMS, Part::SETTINGS, Part::FOLDERS];
/// The version that this build writes, and the only one it reads.
pub const VERSION: u16 = 1;
/// A manifest that is larger was not written here, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file.
    pub v: u16,
    /// The name of the backup.
    pub id: String,
    /// Which one in a row.
    pub number: u64,
    /// When saving began, in Unix milliseconds.
    pub began_ms: u64,
    /// When everything was saved: all of it is from between these two.
    pub ended_ms: u64,
    /// Version and commit of who saved it.
    pub build: String,
    /// What was saved.
    pub parts: Vec<Part>,
    /// Every file that was gathered, from the top of the backup. Those of folders are not among them.
    pub files: Vec<Entry>,
}

/// Something that was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Part {
    /// A database of SQLite.
    Sqlite {
        /// Where in the backup.
        file: String,
        /// How many rows each table had.
        rows: BTreeMap<String, u64>,
    },
    /// A database of PostgreSQL, as `pg_dump` writes it for `pg_restore`.
    Postgres {
        /// Where in the backup.
        file: String,
        /// How many rows each table had.
        rows: BTreeMap<String, u64>,
    },
    /// A stream or bucket.
    Stream {
        /// Its name on the server.
        name: String,
        /// How many messages it had.
        messages: u64,
    },
    /// Settings and keys.
    Settings {
        /// Where they were, in the order of their folders in the backup.
        paths: Vec<PathBuf>,
    },
    /// A folder.
    Folder {
        /// Its name.
        name: String,
        /// Where it was.
        path: PathBuf,
        /// How many files were in it, about: it may change while it is read.
        files: u64,
        /// How many bytes were in them.
        #[serde(default)]
        bytes: u64,
    },
}

/// A file that was gathered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where in the backup.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl Part {
    /// Where files of SQLite and PostgreSQL are.
    pub const DATABASE: &'static str = "database";
    /// Where streams are, each in a folder of its name.
    pub const STREAMS: &'static str = "streams";
    /// Where settings are, in numbered folders.
    pub const SETTINGS: &'static str = "settings";
    /// Where folders are, by name.
    pub const FOLDERS: &'static str = "folders";

    /// What people call it.
    pub fn kind(&self) -> String {
        match self {
            Self::Sqlite { .. } | Self::Postgres { .. } => Self::DATABASE.to_owned(),
            Self::Stream { .. } => Self::STREAMS.to_owned(),
            Self::Settings { .. } => Self::SETTINGS.to_owned(),
            Self::Folder { name, .. } => format!("folder:{name}"),
        }
    }
}

impl Manifest {
    /// What kinds of parts there are, each once.
    pub fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<String> = self.parts.iter().map(Part::kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// Whether files are exchanged when it is restored in place.
    pub fn has_files(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Sqlite { .. } | Part::Folder { .. }))
    }

    /// How many files each folder has.
    pub fn folders(&self) -> BTreeMap<String, u64> {
        let folder = |part: &Part| match part {
            Part::Folder { name, files, .. } => Some((name.clone(), *files)),
            _ => None,
        };
        self.parts.iter().filter_map(folder).collect()
    }

    /// How many messages each stream has.
    pub fn streams(&self) -> BTreeMap<String, u64> {
        let stream = |part: &Part| match part {
            Part::Stream { name, messages } => Some((name.clone(), *messages)),
            _ => None,
        };
        self.parts.iter().filter_map(stream).collect()
    }

    /// How many bytes it takes to bring all of it back. Those of folders are not known of backups of an older build.
    pub fn bytes(&self) -> u64 {
        let of = |part: &Part| match part {
            Part::Folder { bytes, .. } => *bytes,
            _ => 0,
        };
        self.files.iter().map(|file| file.bytes).chain(self.parts.iter().map(of)).sum()
    }

    /// Counts and hashes what was gathered, and writes all of it down.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn write(mut self, folder: &Path) -> io::Result<Self> {
        files::each_file(folder, &mut |path, bytes| {
            let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
            self.files.push(Entry { path: name, bytes, sha256: files::sha256(path)? });
            Ok(())
        })?;
        files::write_json(&folder.join(FILE), &self)?;
        Ok(self)
    }

    /// Reads the one of a backup.
    ///
    /// # Errors
    /// When there is none, or it is of another version.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let size = fs::metadata(&path)?.len();
        if size > MAX_BYTES {
            return Err(io::Error::other(format!("{FILE} has {size} bytes")));
        }
        let manifest: Self = serde_json::from_slice(&fs::read(&path)?)?;
        if manifest.v != VERSION {
            let found = manifest.v;
            return Err(io::Error::other(format!("{FILE} has version {found}, this build reads {VERSION}")));
        }
        Ok(manifest)
    }
}
