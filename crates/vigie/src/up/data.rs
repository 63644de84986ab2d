//! The data folder: there, writable, with room, and used by one `vigie up` only.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};

use crate::{
    find::{LOCK_FILE, Running},
    paint,
};

/// With less room NATS would soon refuse to store anything, in bytes.
const LEAST_ROOM: u64 = 64 << 20;

/// Only this user reads the lock file: a URL in it may hold a password.
const PRIVATE: u32 = 0o600;

/// An open data folder, locked until this is dropped or the process ends, however it ends.
pub(crate) struct Data {
    lock: File,
    lock_path: PathBuf,
    folder: PathBuf,
    root: PathBuf,
}

/// Whoever looks whether the folder is used holds the lock for a moment.
const LOOKED_AT: Duration = Duration::from_millis(50);

impl Data {
    /// Opens the folder, and makes it when it is not there. With the sandbox everything is in a folder
    /// of its own inside, so that play never touches the data of a real bot.
    ///
    /// # Errors
    /// When it cannot be used; the message says what to do.
    pub(crate) fn open(folder: &Path, sandbox: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).map_err(|error| advice(error, folder))?;
        let folder = fs::canonicalize(folder).map_err(|error| advice(error, folder))?;
        let lock_path = folder.join(LOCK_FILE);
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(&lock_path)
            .map_err(|error| advice(error, &folder))?;
        let locked = lock.try_lock().or_else(|_| {
            std::thread::sleep(LOOKED_AT);
            lock.try_lock()
        });
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&folder, &lock_path)),
            Err(TryLockError::Error(error)) => return Err(advice(error, &folder)),
        }
        keep_private(&lock).map_err(|error| advice(error, &lock_path))?;
        has_room(&folder)?;
        let root = if sandbox { folder.join("sandbox") } else { folder.clone() };
        if sandbox && root.exists() {
            // The sandbox forgets everything when it ends, so what NATS remembers of it means nothing.
            fs::remove_dir_all(&root).map_err(|error| advice(error, &root))?;
        }
        fs::create_dir_all(&root).map_err(|error| advice(error, &root))?;
        let mut data = Self { lock, lock_path, folder, root };
        data.tell(&Running { pid: std::process::id(), ..Running::default() })?;
        Ok(data)
    }

    /// What is the same with the sandbox and without.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where this run keeps its files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Says in the lock file who runs here, for a second `vigie up` and for `vigie status`.
    ///
    /// # Errors
    /// When the disk is full.
    pub(crate) fn tell(&mut self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_string(running)? + "\n";
        let write = |lock: &mut File| {
            lock.seek(SeekFrom::Start(0))?;
            // A reader sees a whole line at every moment.
            lock.write_all(text.as_bytes())?;
            lock.set_len(text.len() as u64)
        };
        write(&mut self.lock).map_err(|error| advice(error, &self.lock_path))
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // An empty file tells `vigie status` that nobody runs here. The file itself stays: removing it
        // could take it from under somebody who waits for the lock.
        let _ = self.lock.set_len(0);
    }
}

/// A lock file that was there already keeps the mode it was made with.
fn keep_private(lock: &File) -> io::Result<()> {
    let found = lock.metadata()?;
    if found.is_file() && found.permissions().mode() & 0o777 != PRIVATE {
        lock.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

fn taken(folder: &Path, lock: &Path) -> anyhow::Error {
    let who = Running::read(lock).map_or_else(
        || "another `vigie up`".to_owned(),
        |running| format!("another `vigie up` (process {})", running.pid),
    );
    anyhow!(
        "{who} already uses {}: stop that one first, or choose another folder with --data",
        folder.display()
    )
}

fn has_room(folder: &Path) -> anyhow::Result<()> {
    let room = free_bytes(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    if room < LEAST_ROOM {
        bail!(
            "only {} are free on the disk that holds {}: free at least {}, or choose another folder with --data",
            paint::bytes(room),
            folder.display(),
            paint::bytes(LEAST_ROOM)
        );
    }
    Ok(())
}

/// How much a normal user may still write there.
///
/// # Errors
/// When the folder cannot be looked at.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// An error of the file system, with what to do about it.
pub(crate) fn advice(error: io::Error, path: &Path) -> anyhow::Error {
    let shown = path.display();
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!(
                "the disk that holds {shown} is full: free some room, or choose another folder with --data"
            )
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{shown} cannot be written: give this user the right to, or choose another folder with --data"
            )
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            format!("{shown} is a file where a folder is needed: choose another folder with --data")
        }
        _ => format!("{shown} cannot be used for data: choose another folder with --data"),
    };
    anyhow::Error::from(error).context(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_is_used_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = Data::open(folder.path(), false).unwrap();
        let error = Data::open(folder.path(), true).err().unwrap().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        Data::open(folder.path(), false).unwrap();
    }

    #[test]
    fn only_this_user_reads_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join(LOCK_FILE);
        let mode = || fs::metadata(&lock).unwrap().permissions().mode() & 0o777;
        drop(Data::open(folder.path(), false).unwrap());
        assert_eq!(mode(), PRIVATE);
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        let _data = Data::open(folder.path(), false).unwrap();
        assert_eq!(mode(), PRIVATE);
    }

    #[test]
    fn a_full_disk_is_named() {
        let error = fs::write("/dev/full", "x").unwrap_err();
        let error = advice(error, Path::new("/data")).to_string();
        assert!(error.starts_with("the disk that holds /data is full: free some room"), "{error}");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Data::open(file.path(), false).err().unwrap().to_string();
        assert!(error.contains("is a file where a folder is needed"), "{error}");
    }

    #[test]
    fn the_sandbox_starts_anew_and_leaves_the_rest_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("sandbox/nats")).unwrap();
        fs::create_dir_all(folder.path().join("nats")).unwrap();
        let data = Data::open(folder.path(), true).unwrap();
        assert!(data.root().ends_with("sandbox") && !data.root().join("nats").exists());
        assert!(folder.path().join("nats").exists());
    }
}
