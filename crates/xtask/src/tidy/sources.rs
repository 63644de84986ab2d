//! Rust files: each says what it owns, none grows without end, nothing is left for later.

use super::{SERVICES, Text};

/// A file has at most this many lines.
const MOST_LINES: usize = 500;
/// Files that may be longer, with the reason.
const LONGER: [(&str, &str); 0] = [];
/// The `main.rs` of a service is a lifecycle, at most this many lines.
const MOST_MAIN_LINES: usize = 50;

/// What is left for later, and what to do instead. Written apart so that this file does not hold it.
const FOR_LATER: [(&str, &str); 6] = [
    (concat!("TO", "DO"), "do it now, or leave it out"),
    (concat!("FIX", "ME"), "mend it now"),
    (concat!("XX", "X"), "say what it means"),
    (concat!("to", "do!("), "write it"),
    (concat!("unimple", "mented!("), "write it"),
    (concat!("#[ig", "nore"), "a test that is not run says nothing"),
];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(of_file).collect()
}

fn of_file(file: &Text) -> Vec<String> {
    let Text { path, text } = file;
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(format!("{path}: opens with //!, what it owns and what it does not"));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES && !LONGER.iter().any(|(longer, _)| longer == path) {
        problems.push(format!("{path}: {lines} lines, at most {MOST_LINES}; split it by purpose"));
    }
    let is_main = SERVICES.iter().any(|name| *path == format!("crates/{name}/src/main.rs"));
    if is_main && lines > MOST_MAIN_LINES {
        problems
            .push(format!("{path}: {lines} lines, at most {MOST_MAIN_LINES}; the work belongs in lib.rs"));
    }
    for (number, line) in text.lines().enumerate() {
        for (word, instead) in FOR_LATER.iter().filter(|(word, _)| has_word(line, word)) {
            problems.push(format!("{path}:{}: {word}: {instead}", number + 1));
        }
    }
    problems
}

/// Whether the word stands there by itself, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let ends_open = word.ends_with(|c: char| !c.is_alphanumeric());
        !joins(before) && (ends_open || !joins(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        of_file(&Text { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_file_says_what_it_owns() {
        assert_eq!(problems("a.rs", "//! Owns a.\n").len(), 0);
        assert_eq!(problems("a.rs", "use a;\n").len(), 1);
    }

    #[test]
    fn a_file_does_not_grow_without_end() {
        let long = "//! Owns a.\n".to_owned() + &"\n".repeat(MOST_LINES);
        assert_eq!(problems("a.rs", &long).len(), 1);
        let main = "//! Owns a.\n".to_owned() + &"\n".repeat(MOST_MAIN_LINES);
        assert_eq!(problems("crates/vigie/src/main.rs", &main).len(), 1);
        assert_eq!(problems("crates/xtask/src/main.rs", &main).len(), 0);
    }

    #[test]
    fn nothing_is_left_for_later() {
        let (later, skipped) = (FOR_LATER[0].0, FOR_LATER[5].0);
        assert_eq!(problems("a.rs", &format!("//! a\n// {later}: b\n")).len(), 1);
        assert_eq!(problems("a.rs", &format!("//! a\n{skipped} = \"slow\"]\n")).len(), 1);
        assert_eq!(problems("a.rs", &format!("//! a\nlet {later}S = 1;\n")).len(), 0);
    }
}
