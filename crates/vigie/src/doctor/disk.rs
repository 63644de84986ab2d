//! The data folder: writable, with room.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::{Finding, machine::Machine};
use crate::paint;

/// With less room a bot that runs for months gets into trouble, in bytes.
const ENOUGH_ROOM: u64 = 256 << 20;
/// With fewer files left it cannot make the ones it needs.
const ENOUGH_FILES: u64 = 1000;

/// What a file system has left.
#[derive(Clone, Copy, Debug)]
struct Left {
    bytes: u64,
    /// `None` where their number is not limited.
    files: Option<u64>,
}

pub(crate) fn look(machine: &Machine, folder: &Path) -> Vec<Finding> {
    // In a container data is in Docker's volumes, on the same disk as the container itself.
    if machine.in_container() {
        return vec![on_disk(Path::new("/"))];
    }
    // Before the first `vigie up` there is no folder; what counts is the disk it will be on.
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    vec![writable(there), on_disk(there)]
}

fn on_disk(there: &Path) -> Finding {
    let shown = shown(there);
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let files = (disk.f_files > 0).then_some(disk.f_favail);
            room(&shown, Left { bytes: disk.f_bavail.saturating_mul(disk.f_frsize), files })
        }
        Err(error) => Finding::bad(
            "disk",
            format!("{shown} cannot be looked at: {error}"),
            "choose another with --data",
        ),
    }
}

fn writable(folder: &Path) -> Finding {
    let shown = shown(folder);
    let path = folder.join(format!(".vigie-doctor-{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| file.write_all(b"vigie"));
    // It may not have been created at all.
    let _ = fs::remove_file(&path);
    match written {
        Ok(()) => Finding::good("disk", format!("{shown} can be written")),
        Err(error) => Finding::bad(
            "disk",
            format!("{shown} cannot be written: {error}"),
            "give this user the right to write there, free some room, or choose another folder with --data",
        ),
    }
}

fn room(shown: &str, left: Left) -> Finding {
    let free = paint::bytes(left.bytes);
    if left.bytes < ENOUGH_ROOM {
        return Finding::bad(
            "disk",
            format!("only {free} are free on the disk of {shown}"),
            format!(
                "free at least {}; `docker system df` shows what Docker holds",
                paint::bytes(ENOUGH_ROOM)
            ),
        );
    }
    match left.files {
        Some(files) if files < ENOUGH_FILES => Finding::bad(
            "disk",
            format!("the disk of {shown} has {free} free, but room for only {files} more files"),
            "remove folders with very many small files; `df -i` shows which disk",
        ),
        _ => Finding::good("disk", format!("{free} are free on the disk of {shown}")),
    }
}

fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let findings = look(&Fake::pi().machine(), &folder.path().join("not/yet"));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let finding = writable(Path::new("/proc"));
        assert_eq!(finding.verdict, Verdict::Bad);
        assert!(finding.seen.starts_with("/proc cannot be written"), "{finding:?}");
    }

    #[test]
    fn a_disk_without_room_or_without_room_for_files_is_named() {
        let room = |bytes, files| room("data", Left { bytes, files });
        assert_eq!(room(1 << 30, Some(1 << 20)).verdict, Verdict::Good);
        assert_eq!(room(1 << 30, None).verdict, Verdict::Good);
        assert!(room(5 << 20, None).seen.starts_with("only 5.0 MiB are free"));
        assert!(room(1 << 30, Some(12)).seen.contains("room for only 12 more files"));
    }
}
