//! Programs that some tests need and that are no part of the project: first target/tools, then PATH.
//! `.ci/run` fetches `prometheus` and `promtool` on Debian; the others are a person's own affair.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where it is, or `None` after saying that something is skipped for want of it.
pub fn find(name: &str) -> Option<PathBuf> {
    let tools = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools")).to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(tools).chain(std::env::split_paths(&path));
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        testkit::skipped(&format!("no {name} found (looked in target/tools and PATH)"));
    }
    found
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it; what it says is in `folder`.
    pub fn start(program: &Path, arguments: &[String], folder: &Path) -> Self {
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Self { child, log }
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
