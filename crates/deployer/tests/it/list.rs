//! The attacker's list in `docs/security.md`: each entry names a test that is there.

use std::{fs, path::Path};

#[test]
fn each_entry_of_the_list_has_its_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../../docs/security.md")).unwrap();
    let (_, list) = page.split_once("## What somebody who can push would try on the deployer").unwrap();
    let list = list.split("\n##").next().unwrap();
    let mut sources = String::new();
    for folder in ["src", "src/lint", "tests/it"] {
        let files = fs::read_dir(here.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.is_file()) {
            sources += &fs::read_to_string(file).unwrap();
        }
    }
    let entries: Vec<&str> = list.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(entries.len() >= 10, "{}", entries.len());
    for entry in entries {
        let name = entry.rsplit('`').nth(1).unwrap_or_default();
        assert!(sources.contains(&format!("fn {name}(")), "no such test: {entry}");
    }
}
