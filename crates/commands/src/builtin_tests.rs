//! Holds the list of commands against the files in `builtin/`.

use std::{collections::BTreeSet, fs, path::Path};

use super::ALL;

#[test]
fn every_file_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/builtin");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<String> = ALL.iter().map(|definition| definition.name.replace('-', "_")).collect();
    assert_eq!(files, listed, "a command's file has its name, and builtin.rs lists it");
}
