//! Programs that may not be there.

use std::path::PathBuf;

/// Where it is, or `None` after saying that something is skipped for want of it.
pub fn found(name: &str, folders: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(folders.iter().map(PathBuf::from));
    let mut places = places.map(|folder| folder.join(name));
    let found = places.find(|program| program.is_file());
    if found.is_none() {
        testkit::skipped(&format!("no {name} found (looked in PATH)"));
    }
    found
}

/// Whether restic is there.
pub fn restic() -> bool {
    found("restic", &[]).is_some()
}
