//! The data folder: writable, with room.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::Finding;
use crate::{paint, up};

/// With less room a bot that runs for months gets into trouble, in bytes.
const ENOUGH_ROOM: u64 = 256 << 20;

pub(crate) fn look(folder: &Path) -> Vec<Finding> {
    // Before the first `vigie up` there is no folder; what counts is the disk it will be on.
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    vec![writable(there), room(there)]
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

fn room(folder: &Path) -> Finding {
    let shown = shown(folder);
    match up::free_bytes(folder) {
        Ok(free) if free >= ENOUGH_ROOM => {
            Finding::good("disk", format!("{} are free on the disk of {shown}", paint::bytes(free)))
        }
        Ok(free) => Finding::bad(
            "disk",
            format!("only {} are free on the disk of {shown}", paint::bytes(free)),
            format!("free at least {}", paint::bytes(ENOUGH_ROOM)),
        ),
        Err(error) => Finding::bad(
            "disk",
            format!("{shown} cannot be looked at: {error}"),
            "choose another with --data",
        ),
    }
}

fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let findings = look(&folder.path().join("not/yet"));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let finding = writable(Path::new("/proc"));
        assert_eq!(finding.verdict, Verdict::Bad);
        assert!(finding.seen.starts_with("/proc cannot be written"), "{finding:?}");
    }
}
