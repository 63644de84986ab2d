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

#[test]
fn the_guide_shows_the_real_file() {
    let (file, list) = (include_str!("builtin/echo.rs"), include_str!("builtin.rs"));
    let english = include_str!("../../../docs/adding-a-command.md");
    let french = include_str!("../../../docs/fr/ajouter-une-commande.md");
    let words = [include_str!("../locales/en/commands.ftl"), include_str!("../locales/fr/commands.ftl")];
    for (guide, words) in [(english, words[0]), (french, words[1])] {
        let blocks: Vec<&str> = guide.split("```").skip(1).step_by(2).collect();
        let shown = |language: &str| {
            let block = blocks.iter().find_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
            block.unwrap_or_else(|| panic!("the guide has no block of {language}"))
        };
        assert_eq!(shown("rust"), file);
        assert!(list.contains(shown("rust,ignore")), "builtin.rs has other lines");
        assert!(words.contains(shown("ftl")), "commands.ftl has other lines");
    }
}
