//! A folder of `tar.zst` files, for people without restic: one file for each backup, which `tar --zstd -xf` opens.
//!
//! They are not encrypted, so that settings and keys are not in them, and nobody else on the machine may read them.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::{
    config::Folder,
    files,
    kept::Known,
    manifest::{self, Manifest, Part},
};

/// How their names begin and end.
const START: &str = "vigie-";
const END: &str = ".tar.zst";
/// One that is being written.
const UNFINISHED: &str = ".part";
/// Where there were archives, and there are none.
const GONE: &str = "the archives are gone from BACKUP_EXPORT: is its disk there? To begin anew, remove backup.json from \
                    BACKUP_DATA";
/// How hard it is pressed: more takes a Pi minutes for little.
const LEVEL: i32 = 3;
/// How names tell when they were made.
pub const TIME: &str = "%Y%m%dT%H%M%SZ";

/// A folder of archives.
#[derive(Clone, Debug)]
pub struct Archives(pub PathBuf);

impl Archives {
    /// All of them. What was not finished is removed. The folder is made only where no archive is `expected`: else a
    /// disk that is not there would be noticed by nobody.
    ///
    /// # Errors
    /// When the folder cannot be read, or none of the archives that are expected is in it.
    pub fn list(&self, expected: bool) -> io::Result<Vec<Known>> {
        let mut known = Vec::new();
        if !expected {
            fs::create_dir_all(&self.0)?;
        } else if !self.0.is_dir() {
            return Err(io::Error::other(GONE));
        }
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(START) && name.ends_with(UNFINISHED) {
                files::remove(&entry.path())?;
                continue;
            }
            known.extend(of_name(&name, entry.metadata()?.len()));
        }
        if expected && known.is_empty() {
            return Err(io::Error::other(GONE));
        }
        Ok(known)
    }

    /// Stores what is gathered in `stage`, and the folders; gives the name and size.
    ///
    /// # Errors
    /// When the disk is full or something cannot be read; then nothing is left of it.
    pub fn save(&self, stage: &Path, folders: &[Folder], backup: &Known) -> io::Result<(String, u64)> {
        let name = format!("{START}{:06}-{}{END}", backup.number, backup.id);
        let unfinished = self.0.join(format!("{name}{UNFINISHED}"));
        let written = write(&unfinished, stage, folders);
        let stored = written.and_then(|bytes| {
            self.check(&format!("{name}{UNFINISHED}"))?;
            fs::rename(&unfinished, self.0.join(&name))?;
            files::sync(&self.0)?;
            Ok((name, bytes))
        });
        if stored.is_err() {
            files::remove(&unfinished)?;
        }
        stored
    }

    /// Restores everything into `target`.
    ///
    /// # Errors
    /// When it is torn, or the disk is full.
    pub fn restore(&self, name: &str, target: &Path) -> io::Result<()> {
        let mut archive = tar::Archive::new(self.open(name)?);
        archive.set_preserve_permissions(true);
        archive.set_preserve_mtime(true);
        archive.set_preserve_ownerships(files::is_root());
        archive.unpack(target)
    }

    /// How many bytes it takes where it is restored, without reading all of it.
    ///
    /// # Errors
    /// When it does not begin as ours do.
    pub fn size_of(&self, name: &str) -> io::Result<u64> {
        let mut archive = tar::Archive::new(self.open(name)?);
        let first = archive.entries()?.next().transpose()?;
        let Some(mut first) =
            first.filter(|first| first.path().is_ok_and(|path| path == Path::new(manifest::FILE)))
        else {
            return Err(io::Error::other(format!("{} is not the first in it", manifest::FILE)));
        };
        let mut text = String::new();
        first.read_to_string(&mut text)?;
        let manifest: Manifest = serde_json::from_str(&text)?;
        Ok(manifest.bytes().max(fs::metadata(self.0.join(name))?.len()))
    }

    /// Reads it to its end, and holds every file against what was written down of it.
    ///
    /// # Errors
    /// With what is not as it was.
    pub fn check(&self, name: &str) -> io::Result<()> {
        let mut archive = tar::Archive::new(self.open(name)?);
        let mut wanted: Option<Manifest> = None;
        let mut left = 0;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            if path == manifest::FILE {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                let manifest: Manifest = serde_json::from_str(&text)?;
                left = manifest.files.iter().filter(|file| is_stored(&file.path)).count();
                wanted = Some(manifest);
                continue;
            }
            let found = hash(&mut entry)?;
            let expected = wanted.iter().flat_map(|manifest| &manifest.files).find(|file| file.path == path);
            match expected {
                Some(expected) if expected.sha256 != found => {
                    return Err(io::Error::other(format!("{path} is not as it was saved")));
                }
                Some(_) => left -= 1,
                None => {}
            }
        }
        if wanted.is_none() || left > 0 {
            return Err(io::Error::other(format!("{left} files are missing")));
        }
        Ok(())
    }

    /// Removes one.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        files::remove(&self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<zstd::Decoder<'static, io::BufReader<File>>> {
        zstd::Decoder::new(File::open(self.0.join(name))?)
    }
}

fn write(to: &Path, stage: &Path, folders: &[Folder]) -> io::Result<u64> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    archive.follow_symlinks(false);
    // First, so that a reader knows what follows.
    archive.append_path_with_name(stage.join(manifest::FILE), manifest::FILE)?;
    for name in files::names(stage)? {
        if name != Path::new(manifest::FILE) && name != Path::new(Part::SETTINGS) {
            append(&mut archive, &stage.join(&name), &name)?;
        }
    }
    for folder in folders {
        append(&mut archive, &folder.path, &Path::new(Part::FOLDERS).join(&folder.name))?;
    }
    let file = archive.into_inner()?.finish()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Adds what is below a path; what went while it was looked at is left out, and so is what is neither file, folder
/// nor link. Of a file that grows there is as much as there was at first; one that shrinks ends with zeros.
fn append<W: io::Write>(archive: &mut tar::Builder<W>, from: &Path, name: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if found.is_dir() {
        archive.append_dir(name, from)?;
        for below in files::names(from)? {
            match append(archive, &from.join(&below), &name.join(&below)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                added => added?,
            }
        }
    } else if found.is_file() {
        let file = File::open(from)?;
        let found = file.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&found);
        // The header says how many bytes follow, whatever becomes of the file meanwhile.
        archive.append_data(&mut header, name, file.chain(io::repeat(0)).take(found.len()))?;
    } else if found.is_symlink() {
        archive.append_path_with_name(from, name)?;
    }
    Ok(())
}

/// Settings are in the manifest and not here.
pub fn is_stored(path: &str) -> bool {
    !path.starts_with(&format!("{}/", Part::SETTINGS))
}

fn hash(reader: &mut impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `vigie-000012-20261122T033000Z.tar.zst`
fn of_name(name: &str, bytes: u64) -> Option<Known> {
    let (number, id) = name.strip_prefix(START)?.strip_suffix(END)?.split_once('-')?;
    let time = NaiveDateTime::parse_from_str(id.split('-').next()?, TIME).ok()?;
    let at_ms =
        u64::try_from(DateTime::<Utc>::from_naive_utc_and_offset(time, Utc).timestamp_millis()).ok()?;
    Some(Known {
        id: id.to_owned(),
        number: number.parse().ok()?,
        at_ms,
        bytes: Some(bytes),
        archive: Some(name.to_owned()),
        ..Known::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_which_one_it_is() {
        let known = of_name("vigie-000012-20261122T033000Z.tar.zst", 7).unwrap();
        assert_eq!(
            (known.number, known.id.as_str(), known.at_ms),
            (12, "20261122T033000Z", 1_795_318_200_000)
        );
        assert_eq!(of_name("vigie-12.tar.zst", 7), None);
        assert_eq!(of_name("holidays.tar.zst", 7), None);
    }
}
