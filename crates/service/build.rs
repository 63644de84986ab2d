//! Tells the code which commit it is built from, for `--version`, `about` and `/metrics`.
//!
//! `VIGIE_COMMIT` wins, for builds without a `.git` folder (a container). A debug build does not
//! follow each new commit, which would rebuild every service; a release build does.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=VIGIE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release {
        println!("cargo::rerun-if-changed=../../.git/HEAD");
        println!("cargo::rerun-if-changed=../../.git/refs/heads");
    }
    let commit = std::env::var("VIGIE_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(asked_of_git);
    println!("cargo::rustc-env=VIGIE_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown commit"));
}

fn asked_of_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
