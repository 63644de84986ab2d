//! Holds the Fluent files against each other and against the code.

use std::{collections::BTreeSet, fs, path::Path};

use fluent_bundle::FluentResource;

use super::Language;
use crate::builtin;

/// The ids of a language with the variables that each text uses.
fn messages(language: Language) -> BTreeSet<(String, BTreeSet<String>)> {
    let mut found = BTreeSet::new();
    for source in language.sources() {
        let resource = FluentResource::try_new(source.to_owned());
        assert!(resource.is_ok(), "{language}: {:?}", resource.err().map(|(_, errors)| errors));
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            if let Some((id, text)) = line.split_once(" = ") {
                let uses = text.split("{ $").skip(1).filter_map(|rest| rest.split(' ').next());
                let new = found.insert((id.to_owned(), uses.map(str::to_owned).collect()));
                assert!(new, "{language}: {id} is there twice");
            }
        }
    }
    found
}

/// The ids that the code passes to `say` and to helpers that end there.
fn used(folder: &Path, ids: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            used(&path, ids);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for text in code.split('"').skip(1).step_by(2) {
            let prefixes = ["argument-", "command-", "job-", "unit-"];
            let of_command = |text: &str| {
                builtin::ALL.iter().any(|definition| text.starts_with(&format!("{}-", definition.name)))
            };
            if prefixes.iter().any(|prefix| text.starts_with(prefix)) || of_command(text) {
                ids.insert(text.to_owned());
            }
        }
    }
}

#[test]
fn every_text_is_in_every_language() {
    let english = messages(Language::En);
    for language in Language::ALL {
        let there = messages(language);
        let differ: Vec<_> = english.symmetric_difference(&there).collect();
        assert!(differ.is_empty(), "en and {language} differ in {differ:?}");
    }
}

#[test]
fn every_text_is_used_and_every_used_text_is_there() {
    let there: BTreeSet<String> = messages(Language::En).into_iter().map(|(id, _)| id).collect();
    let mut ids = BTreeSet::new();
    used(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut ids);
    // The name of a service, not of a text.
    ids.remove("command-worker");
    for definition in builtin::ALL {
        ids.insert(definition.description_id());
        ids.extend(definition.options.iter().map(|option| definition.option_id(option)));
    }
    let differ: Vec<_> = ids.symmetric_difference(&there).collect();
    assert!(differ.is_empty(), "used in the code or present in the files, but not both: {differ:?}");
}

#[test]
fn finds_the_language_of_a_client() {
    assert_eq!(Language::of_locale("fr"), Some(Language::Fr));
    assert_eq!(Language::of_locale("fr-CA"), Some(Language::Fr));
    assert_eq!(Language::of_locale("en-GB"), Some(Language::En));
    assert_eq!(Language::of_locale("pt-BR"), None);
    assert_eq!(Language::of_locale(""), None);
}

#[test]
fn shows_the_id_of_a_missing_text() {
    assert_eq!(Language::Fr.say("no-such-text", &[]), "no-such-text");
}
