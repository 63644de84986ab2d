//! Files and folders: written so that a power cut leaves the old or the new, copied, counted, hashed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::trouble::may_take_long;

/// What this service puts into other people's folders for a while begins so, and is never saved.
pub const OURS: &str = ".vigie-";
/// The deepest folder.
const DEPTH_MAX: usize = 64;
/// What is wrong where long work on files is done on the thread of the service: see [`may_take_long`].
const HOLDS_UP: &str = "long work on files holds up the service: expected it to be done aside";

/// What is below a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many files.
    pub files: u64,
    /// How many bytes are in them.
    pub bytes: u64,
}

/// Writes a file in one step.
///
/// # Errors
/// When the disk is full, or the folder cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync(folder)
}

/// Makes sure that what was renamed in a folder stays so.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync(folder: &Path) -> io::Result<()> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    File::open(folder)?.sync_all()
}

/// An empty folder that nobody else may read.
///
/// # Errors
/// When what is there cannot be removed, or nothing made.
pub fn fresh(folder: &Path) -> io::Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// A folder that is there.
///
/// # Errors
/// When it cannot be made.
pub fn fresh_if_missing(folder: &Path) -> io::Result<()> {
    if folder.is_dir() { Ok(()) } else { fresh(folder) }
}

/// Removes a file or folder; one that is not there is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a file or folder with what is below it, with permissions, times and (as root) owners, onto the disk.
///
/// # Errors
/// As of its parts; what is neither file, folder nor link is left out.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    copy_below(from, to, 0)
}

fn copy_below(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{}: too deep", from.display())));
    }
    let found = fs::symlink_metadata(from)?;
    if found.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return if is_root() { lchown(to, Some(found.uid()), Some(found.gid())) } else { Ok(()) };
    }
    if found.is_file() {
        fs::copy(from, to)?;
        owned_like(&found, to)?;
        let there = File::open(to)?;
        there.set_modified(found.modified()?)?;
        return there.sync_all();
    }
    if found.is_dir() {
        fs::create_dir_all(to)?;
        for name in names(from)? {
            copy_below(&from.join(&name), &to.join(&name), depth + 1)?;
        }
        owned_like(&found, to)?;
        let there = File::open(to)?;
        there.set_modified(found.modified()?)?;
        return there.sync_all();
    }
    Ok(())
}

/// Gives a file or folder the permissions of another, and its owner where we may: as root.
///
/// # Errors
/// When it cannot be changed.
pub fn owned_like(found: &fs::Metadata, to: &Path) -> io::Result<()> {
    if is_root() {
        chown(to, Some(found.uid()), Some(found.gid()))?;
    }
    // Last: what is given away loses bits of them.
    fs::set_permissions(to, found.permissions())
}

/// Whether files may be given to others.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The names in a folder, without ours, in order.
///
/// # Errors
/// When it cannot be read.
pub fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with(OURS) {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

/// How much is below a file or folder.
///
/// # Errors
/// When something cannot be read.
pub fn amount(path: &Path) -> io::Result<Amount> {
    let mut amount = Amount::default();
    each_file(path, &mut |_, bytes| {
        amount.files += 1;
        amount.bytes += bytes;
        Ok(())
    })?;
    Ok(amount)
}

/// Every file below a folder, with its size.
///
/// # Errors
/// When something cannot be read, and those of `file`.
pub fn each_file(path: &Path, file: &mut impl FnMut(&Path, u64) -> io::Result<()>) -> io::Result<()> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    let found = fs::symlink_metadata(path)?;
    if found.is_file() {
        return file(path, found.len());
    }
    if found.is_dir() {
        for name in names(path)? {
            match each_file(&path.join(name), file) {
                // It went while it was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    debug_assert!(may_take_long(), "{HOLDS_UP}");
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How much room there is on the disk of a folder, in bytes.
///
/// # Errors
/// When it cannot be told.
pub fn room(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, unit)| format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_with_links_and_permissions_and_without_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::create_dir_all(from.join(".vigie-before")).unwrap();
        fs::write(from.join("deep/key"), "secret").unwrap();
        fs::set_permissions(from.join("deep/key"), fs::Permissions::from_mode(0o400)).unwrap();
        symlink("deep/key", from.join("link")).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for name in ["deep/key", "deep"] {
            File::open(from.join(name)).unwrap().set_modified(long_ago).unwrap();
            if is_root() {
                chown(from.join(name), Some(65534), Some(65533)).unwrap();
            }
        }
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "secret");
        assert_eq!(fs::metadata(to.join("deep/key")).unwrap().permissions().mode() & 0o777, 0o400);
        for name in ["deep/key", "deep", "link"] {
            let (old, new) = (
                fs::symlink_metadata(from.join(name)).unwrap(),
                fs::symlink_metadata(to.join(name)).unwrap(),
            );
            assert_eq!((old.uid(), old.gid()), (new.uid(), new.gid()), "{name}");
            assert!(new.is_symlink() || new.modified().unwrap() == long_ago, "{name}");
        }
        assert!(!to.join(".vigie-before").exists());
        assert_eq!(amount(&from).unwrap(), Amount { files: 1, bytes: 6 });
    }
}
