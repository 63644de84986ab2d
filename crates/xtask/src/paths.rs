//! Where things are in the checkout.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The binaries that a running Vigie consists of, as packages.
pub const BINARIES: [&str; 6] =
    ["vigie", "sandbox", "discord-gateway", "twitch-gateway", "command-worker", "healthcheck"];

/// The others: they save and update a bot that is installed.
pub const OTHER_BINARIES: [&str; 3] = ["backup", "webhook-deploy", "deployer"];

/// The top of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo builds, which is ignored by git.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A binary of the development build.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A path as a person in the checkout would write it.
#[must_use]
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
