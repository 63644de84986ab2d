//! The attacker's list in `docs/security.md`: each entry names a test that is there.

use std::{fs, path::Path};

#[test]
fn each_entry_of_the_list_has_its_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../../docs/security.md")).unwrap();
    let (_, list) = page.split_once("## What an attacker would try on the webhook").unwrap();
    let list = list.split("\n## ").next().unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests/it"] {
        for entry in fs::read_dir(here.join(folder)).unwrap() {
            sources += &fs::read_to_string(entry.unwrap().path()).unwrap();
        }
    }
    let entries: Vec<&str> = list.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(entries.len() >= 25, "{}", entries.len());
    for entry in entries {
        let name = entry.rsplit('`').nth(1).unwrap_or_default();
        assert!(sources.contains(&format!("fn {name}(")), "no such test: {entry}");
    }
}
