//! Releases on this machine, and which of them each unit starts: `releases/<name>/bin/`, `units/<unit>` and `current`,
//! which are links. A unit is only pointed elsewhere while it does not run, so that what runs is what its link says.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    archive::{self, ArchiveError},
    release::is_name,
};

/// Where the sum of the archive is kept that a release came from.
const SUM: &str = "sha256";

/// The folder.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// Where it is.
    pub root: PathBuf,
}

/// Why a release is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file cannot be written or read.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody changed it on the way.
    #[error("the archive is another than the release was signed for: nothing of it is used")]
    Sum,
    /// A name means one thing.
    #[error("{0} is here already, made from another archive: give what is new a new version")]
    Twice(String),
    /// What is in it is not used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Shelf {
    /// The programs of a release.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.folder(name).join("bin")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join("releases").join(name)
    }

    /// Whether a release is here, whole.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        is_name(name) && archive::NEEDED.iter().all(|program| self.bin(name).join(program).is_file())
    }

    /// Whether it is here and came from the archive of this sum.
    ///
    /// # Errors
    /// [`ShelfError::Twice`] when it came from another.
    pub fn has_this(&self, name: &str, sum: &str) -> Result<bool, ShelfError> {
        if !self.has(name) {
            return Ok(false);
        }
        match fs::read_to_string(self.folder(name).join(SUM)) {
            Ok(found) if found == sum => Ok(true),
            _ => Err(ShelfError::Twice(name.to_owned())),
        }
    }

    /// Where archives are put before they are looked at.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.root.join("releases").join(".archive")
    }

    /// Takes what came in, when it has the sum that was signed for. It blocks.
    ///
    /// # Errors
    /// [`ShelfError`]; then nothing of it is here.
    pub fn put(&self, name: &str, sum: &str, machine: &str) -> Result<(), ShelfError> {
        let incoming = self.incoming();
        let put = self.try_put(&incoming, name, sum, machine);
        // It is of no use any more, or never was.
        let _ = fs::remove_file(&incoming);
        if put.is_err() {
            let _ = fs::remove_dir_all(self.beside());
        }
        put
    }

    fn try_put(&self, incoming: &Path, name: &str, sum: &str, machine: &str) -> Result<(), ShelfError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ShelfError::File { path, source }
        };
        let mut file = fs::File::open(incoming).map_err(failed(incoming))?;
        let found = sum_of(&mut file).map_err(failed(incoming))?;
        if found != sum {
            return Err(ShelfError::Sum);
        }
        let (beside, folder) = (self.beside(), self.folder(name));
        match fs::remove_dir_all(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&beside)(error)),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(beside.join("bin")).map_err(failed(&beside))?;
        let file = fs::File::open(incoming).map_err(failed(incoming))?;
        archive::unpack(file, &beside.join("bin"), machine)?;
        for folder in [beside.clone(), beside.join("bin")] {
            // Services run what is in it as other users, whatever mask this one has.
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&folder, open).map_err(failed(&folder))?;
        }
        fs::write(beside.join(SUM), sum).map_err(failed(&beside))?;
        if folder.exists() {
            // Half of one, that a person left there.
            fs::remove_dir_all(&folder).map_err(failed(&folder))?;
        }
        fs::rename(&beside, &folder).map_err(failed(&folder))?;
        let releases = self.root.join("releases");
        fs::File::open(&releases).and_then(|folder| folder.sync_all()).map_err(failed(&releases))
    }

    fn beside(&self) -> PathBuf {
        self.root.join("releases").join(".new")
    }

    /// The release that a unit starts.
    #[must_use]
    pub fn started_by(&self, unit: &str) -> Option<String> {
        let to = fs::read_link(self.root.join("units").join(unit)).ok()?;
        let name = to.file_name()?.to_str()?.to_owned();
        (is_name(&name) && to == Path::new("../releases").join(&name)).then_some(name)
    }

    /// When it was said what a unit starts, in seconds since 1970.
    #[must_use]
    pub fn said_s(&self, unit: &str) -> Option<u64> {
        let said = fs::symlink_metadata(self.root.join("units").join(unit)).ok()?.modified().ok()?;
        Some(said.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    }

    /// Has a unit start a release from now on.
    ///
    /// # Errors
    /// [`ShelfError::File`]
    pub fn point(&self, unit: &str, name: &str) -> Result<(), ShelfError> {
        if self.started_by(unit).as_deref() == Some(name) {
            return Ok(());
        }
        link(&Path::new("../releases").join(name), &self.root.join("units").join(unit))
    }

    /// Says which release is the one that runs, for people.
    ///
    /// # Errors
    /// [`ShelfError::File`]
    pub fn point_current(&self, name: &str) -> Result<(), ShelfError> {
        link(&Path::new("releases").join(name), &self.root.join("current"))
    }

    /// The names of all that are here.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join("releases")) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| is_name(name)).collect()
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`ShelfError::File`]
    pub fn remove(&self, name: &str) -> Result<(), ShelfError> {
        let path = self.folder(name);
        fs::remove_dir_all(&path).map_err(|source| ShelfError::File { path, source })
    }
}

/// Makes a link or moves it, in one step that a power cut does not undo.
fn link(to: &Path, path: &Path) -> Result<(), ShelfError> {
    let moved = || {
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        symlink(to, &beside)?;
        fs::rename(&beside, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    moved().map_err(|source| ShelfError::File { path: path.to_owned(), source })
}

/// The sum of a file, as `sha256sum` writes it. What is larger than archives are has none.
fn sum_of(file: &mut fs::File) -> io::Result<String> {
    let (mut sum, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    let mut file = file.take(archive::ARCHIVE_MAX + 1);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => sum.update(piece.get(..count).unwrap_or_default()),
        }
    }
    if file.limit() == 0 {
        return Err(io::Error::other(format!("it has more than {} MB", archive::ARCHIVE_MAX >> 20)));
    }
    Ok(sum.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}
