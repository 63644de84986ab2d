//! `cargo xtask tidy`: holds the shape of the project. Each check names the place and what to do.

mod compose;
mod crates;
mod docs;
mod logged;
mod machine;
mod settings;
mod sources;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::{paths, shell};

/// A tracked, or not yet tracked, file of the checkout.
pub(crate) struct Text {
    /// Its path from the top of the checkout.
    pub path: String,
    /// What it holds; empty when that is no text.
    pub text: String,
}

/// The crates that are programs of the bot: none of them knows another, and their `main.rs` is a lifecycle.
const SERVICES: [&str; 8] = [
    "discord-gateway",
    "twitch-gateway",
    "command-worker",
    "healthcheck",
    "backup",
    "webhook-deploy",
    "deployer",
    "vigie",
];

type Check = (&'static str, fn(&[Text]) -> anyhow::Result<Vec<String>>);

const CHECKS: [Check; 7] = [
    ("crate table", |_| crates::check()),
    ("crates that are logged", |files| Ok(logged::check(files))),
    ("sources", |files| Ok(sources::check(files))),
    ("settings", settings::check),
    ("settings of containers", compose::check),
    ("documents", |files| Ok(docs::check(files))),
    ("nothing of this machine", |files| Ok(machine::check(files))),
];

/// Runs every check.
///
/// # Errors
/// When something is out of shape; all of it is printed first.
pub fn run() -> anyhow::Result<()> {
    let files = files()?;
    let mut count = 0;
    for (name, check) in CHECKS {
        let problems = check(&files).with_context(|| format!("cannot check: {name}"))?;
        let sign = if problems.is_empty() { "ok" } else { "out of shape" };
        println!("{name}: {sign}");
        for problem in &problems {
            println!("  {problem}");
        }
        count += problems.len();
    }
    if count > 0 {
        bail!("{count} things are out of shape");
    }
    Ok(())
}

/// Every file that git tracks or would track.
fn files() -> anyhow::Result<Vec<Text>> {
    let root = paths::root();
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&root);
    let listed = shell::output(&mut git).context("tidy looks at the files of a git checkout")?;
    let mut found = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let full: PathBuf = root.join(path);
        // A file that was deleted but not committed is still listed.
        let Ok(bytes) = fs::read(&full) else { continue };
        // A picture can be linked to, and holds nothing to be read here.
        let text = String::from_utf8(bytes).unwrap_or_default();
        found.push(Text { path: path.to_owned(), text });
    }
    Ok(found)
}
