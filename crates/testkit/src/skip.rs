//! Saying that something is not tried here.

use std::{env, fs::OpenOptions, io::Write as _};

/// The variable that names a file, for what is not tried.
const FILE: &str = "VIGIE_SKIPPED";

/// Says why a test, or a part of one, is left out: `no restic found`. What a test prints is shown only when it fails, so
/// that it is also added to the file that `VIGIE_SKIPPED` names, which the summary of all tests shows.
#[allow(clippy::print_stdout, reason = "whoever runs the tests must see that something was skipped")]
pub fn skipped(why: &str) {
    println!("skipped: {why}");
    let Some(path) = env::var_os(FILE) else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    // In one piece: others add to it too.
    let added = file.and_then(|mut file| file.write_all(format!("{why}\n").as_bytes()));
    added.expect("the file for what is skipped can be written");
}
