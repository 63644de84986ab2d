//! The corpus of the fuzz target, and what is near to it.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::Index};

#[path = "../../../../fuzz/reading.rs"]
mod reading;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/deliveries");
    let files = fs::read_dir(folder).unwrap();
    let mut all: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    all.sort();
    all
}

#[test]
fn the_corpus_is_read() {
    let all = corpus();
    assert!(all.len() >= 8, "{}", all.len());
    for input in all {
        reading::read(&input);
    }
}

proptest! {
    #[test]
    fn what_is_near_to_the_corpus_is_read(
        input in prop::sample::select(corpus()),
        splices in vec((any::<Index>(), 0..8_usize, vec(any::<u8>(), 0..8)), 1..6),
    ) {
        let mut input = input;
        for (at, gone, new) in splices {
            let at = at.index(input.len() + 1);
            let end = (at + gone).min(input.len());
            input.splice(at..end, new);
        }
        reading::read(&input);
    }
}
