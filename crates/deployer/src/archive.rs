//! Programs of a release in a `tar.gz`, put into a folder. What is unpacked was signed for; all the same only files of
//! known names come out of it, for this kind of machine, and no more bytes than a release has.

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path},
};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

/// The largest archive, in bytes.
pub const ARCHIVE_MAX: u64 = 256 << 20;
/// What is in it may have so many bytes in all.
const UNPACKED_MAX: u64 = 1 << 30;
/// What every release has: one for each kind of unit that is replaced.
pub const NEEDED: [&str; 7] = [
    "vigie",
    "discord-gateway",
    "twitch-gateway",
    "command-worker",
    "healthcheck",
    "backup",
    "webhook-deploy",
];
/// What may be there too.
const OTHERS: [&str; 2] = ["deployer", "sandbox"];
/// As much of a program as says for which machine it is, in bytes.
const HEADER: usize = 20;

/// Why an archive is not used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, or its programs not be written.
    #[error("the archive could not be unpacked")]
    Unpack(#[from] io::Error),
    /// It holds what no release has.
    #[error("the archive holds {0:?}: expected only the programs of Vigie, each of them once, as files")]
    Foreign(String),
    /// It is larger than releases are.
    #[error("the archive holds more than {} MB", UNPACKED_MAX >> 20)]
    Large,
    /// Something is not there.
    #[error("the archive lacks {0}")]
    Missing(&'static str),
    /// It is for others.
    #[error("{name} is no program for {machine}")]
    Machine {
        /// The program.
        name: String,
        /// This machine, such as `arm64`.
        machine: String,
    },
}

/// Unpacks into an empty folder, and has all of it on the disk before it returns. It blocks.
///
/// # Errors
/// [`ArchiveError`]
pub fn unpack(archive: impl Read, folder: &Path, machine: &str) -> Result<(), ArchiveError> {
    let mut found: Vec<String> = Vec::new();
    // Headers and padding come on top of what files hold.
    let mut archive = Archive::new(GzDecoder::new(archive).take(UNPACKED_MAX + (1 << 20)));
    let mut left = UNPACKED_MAX;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = known(&path).filter(|_| entry.header().entry_type() == EntryType::Regular);
        let Some(name) = name.filter(|name| found.iter().all(|other| other != name)) else {
            return Err(ArchiveError::Foreign(path.to_string_lossy().chars().take(100).collect()));
        };
        left = left.checked_sub(entry.size()).ok_or(ArchiveError::Large)?;
        let mut header = [0; HEADER];
        let machine_is_right = entry.read_exact(&mut header).is_ok() && is_for(&header, machine);
        if !machine_is_right {
            return Err(ArchiveError::Machine { name: name.to_owned(), machine: machine.to_owned() });
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(folder.join(name))?;
        // Services run it as other users, whatever mask this one has.
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        file.write_all(&header)?;
        io::copy(&mut entry, &mut file)?;
        file.sync_all()?;
        found.push(name.to_owned());
    }
    match NEEDED.iter().find(|name| found.iter().all(|found| found != *name)) {
        Some(name) => Err(ArchiveError::Missing(name)),
        None => Ok(fs::File::open(folder)?.sync_all()?),
    }
}

/// The name of a program of Vigie, when the path is that and nothing else.
fn known(path: &Path) -> Option<&'static str> {
    let mut parts = path.components();
    let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else { return None };
    NEEDED.into_iter().chain(OTHERS).find(|known| name == *known && path.as_os_str() == *known)
}

/// Whether this is the beginning of a program (ELF) for a kind of machine.
fn is_for(header: &[u8; HEADER], machine: &str) -> bool {
    let expected: u16 = match machine {
        "amd64" => 62,
        "arm64" => 183,
        "arm" => 40,
        "riscv64" => 243,
        _ => return false,
    };
    header.starts_with(b"\x7fELF") && header.get(18..20) == Some(&expected.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    fn program(machine: u8) -> Vec<u8> {
        let mut program = b"\x7fELF\x02\x01\x01".to_vec();
        program.resize(18, 0);
        program.extend([machine, 0, 1, 2, 3]);
        program
    }

    type Tar = Builder<GzEncoder<Vec<u8>>>;

    fn put(tar: &mut Tar, name: &str, kind: EntryType, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        // As it is, also where the library would not write it.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4777);
        header.set_size(bytes.len() as u64);
        if !kind.is_file() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }

    fn with(more: impl FnOnce(&mut Tar)) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for name in NEEDED {
            put(&mut tar, name, EntryType::Regular, &program(62));
        }
        more(&mut tar);
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(archive: &[u8]) -> (tempfile::TempDir, Result<(), ArchiveError>) {
        let folder = tempfile::tempdir().unwrap();
        let result = unpack(archive, folder.path(), "amd64");
        (folder, result)
    }

    #[test]
    fn programs_come_out_as_they_went_in_and_with_no_power() {
        let (folder, result) = unpacked(&with(|tar| put(tar, "deployer", EntryType::Regular, &program(62))));
        result.unwrap();
        let file = folder.path().join("deployer");
        assert_eq!(fs::read(&file).unwrap(), program(62));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn what_is_no_file_of_a_known_name_does_not_come_out() {
        for name in ["vigie2", "bin/sandbox", "./sandbox", "../sandbox", "/tmp/sandbox", "vigie", "sandbox/"]
        {
            let (_, result) = unpacked(&with(|tar| put(tar, name, EntryType::Regular, &program(62))));
            assert!(matches!(result, Err(ArchiveError::Foreign(_))), "{name}: {result:?}");
        }
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Directory,
            EntryType::Char,
            EntryType::Fifo,
            EntryType::GNUSparse,
        ] {
            let (folder, result) = unpacked(&with(|tar| put(tar, "sandbox", kind, b"")));
            assert!(matches!(result, Err(ArchiveError::Foreign(_) | ArchiveError::Unpack(_))), "{kind:?}");
            assert!(!folder.path().join("sandbox").exists());
        }
    }

    #[test]
    fn what_is_for_others_or_no_program_is_refused() {
        for bytes in [program(183), b"#!/bin/sh\nexec rm -rf /tmp/it".to_vec(), b"\x7fELF".to_vec()] {
            let (_, result) = unpacked(&with(|tar| put(tar, "sandbox", EntryType::Regular, &bytes)));
            assert!(matches!(result, Err(ArchiveError::Machine { .. })), "{result:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let result = unpack(&with(|_| {})[..], folder.path(), "arm64");
        assert!(matches!(result, Err(ArchiveError::Machine { .. })), "{result:?}");
    }

    #[test]
    fn half_of_one_and_one_that_says_it_is_huge_are_refused() {
        let whole = with(|_| {});
        let (_, result) = unpacked(&whole[..whole.len() / 2]);
        assert!(matches!(result, Err(ArchiveError::Unpack(_) | ArchiveError::Missing(_))), "{result:?}");
        let (_, result) = unpacked(b"no archive");
        assert!(matches!(result, Err(ArchiveError::Unpack(_))), "{result:?}");
        let huge = with(|tar| {
            let mut header = Header::new_gnu();
            header.set_path("sandbox").unwrap();
            header.set_size(UNPACKED_MAX);
            header.set_cksum();
            tar.append(&header, &program(62)[..]).unwrap();
        });
        let (_, result) = unpacked(&huge);
        assert!(matches!(result, Err(ArchiveError::Large)), "{result:?}");
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        put(&mut tar, "vigie", EntryType::Regular, &program(62));
        let (_, result) = unpacked(&tar.into_inner().unwrap().finish().unwrap());
        assert!(matches!(result, Err(ArchiveError::Missing("discord-gateway"))), "{result:?}");
    }
}
