//! The nats-server that `vigie up` runs: found, new enough, and set up for one machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, anyhow, bail};
use bus::Keeping;

use super::{
    data,
    part::{Part, Readiness, Stage},
    ports,
};
use crate::{find, provision::Upkeep};

/// The oldest server that keeps the promises Vigie relies on.
const OLDEST: (u32, u32) = (2, 14);

/// A NATS server that somebody else runs.
pub(crate) struct ExternalNats {
    /// Where it is.
    pub url: String,
    /// How its streams are kept.
    pub keeping: Keeping,
}

impl ExternalNats {
    /// Creates what the services need, once.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub(crate) async fn provision(&self) -> anyhow::Result<()> {
        self.open().await?.end().await;
        Ok(())
    }

    /// Creates what the services need, and stays connected for doing it again.
    ///
    /// # Errors
    /// As [`Self::provision`].
    pub(crate) async fn open(&self) -> anyhow::Result<Upkeep> {
        Upkeep::begin(find::connect(&self.url).await?, self.keeping).await
    }
}

/// NATS as a part, on a port of loopback, with its files under `root`.
///
/// # Errors
/// When there is no server, or its configuration cannot be written.
pub(crate) fn part(root: &Path, port: u16, keeping: Keeping, server: Option<&str>) -> anyhow::Result<Part> {
    let program = server_path(server)?;
    let path = root.join("nats.conf");
    let monitor = ports::free_address()?;
    fs::write(&path, configuration(port, &monitor, &root.join("nats")))
        .map_err(|error| data::advice(error, &path))?;
    Ok(Part {
        name: "nats".to_owned(),
        stage: Stage::Nats,
        program,
        arguments: vec!["--config".into(), path.into()],
        variables: vec![("GOMAXPROCS".to_owned(), threads())],
        platform: None,
        readiness: Readiness::Nats { url: format!("nats://127.0.0.1:{port}"), monitor, keeping },
        quiet: Some("[INF]"),
    })
}

/// On one core the server spends a third less on each message: nobody is woken to look for work that
/// is not there. A bot does not reach a hundredth of what one core carries; whoever does says more.
fn threads() -> String {
    env::var("GOMAXPROCS").unwrap_or_else(|_| "1".to_owned())
}

/// The defaults of the limits would be three quarters of the memory and of the disk. Either store holds
/// all streams at their declared size; nothing is reserved before it is used.
fn configuration(port: u16, monitor: &str, store: &Path) -> String {
    format!(
        "# Written by `vigie up` at every start: changes here are lost. For a server of your own, set NATS_URL.\n\
         server_name: vigie\n\
         listen: \"127.0.0.1:{port}\"\n\
         http: \"{monitor}\"\n\
         max_connections: 256\n\
         max_payload: 256KB\n\
         max_pending: 16MB\n\
         ping_interval: \"20s\"\n\
         jetstream {{\n  \
           store_dir: {store:?}\n  \
           max_memory_store: 320MB\n  \
           max_file_store: 1GB\n  \
           sync_interval: \"10s\"\n\
         }}\n"
    )
}

/// `NATS_SERVER`, else the first on PATH, beside this program, or in the tools of a checkout that is new enough.
fn server_path(chosen: Option<&str>) -> anyhow::Result<PathBuf> {
    let (major, minor) = OLDEST;
    if let Some(path) = chosen {
        return check(Path::new(path))
            .map(|()| PathBuf::from(path))
            .with_context(|| format!("NATS_SERVER must name a nats-server {major}.{minor} or newer"));
    }
    let mut reasons = String::new();
    for path in candidates().into_iter().filter(|path| path.is_file()) {
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(reason) => reasons += &format!(" ({reason:#})"),
        }
    }
    Err(anyhow!(
        "no nats-server {major}.{minor} or newer is here{reasons}: install one and put it on PATH, set NATS_SERVER \
         to its path, or set NATS_URL to a server that runs elsewhere (in a checkout, `cargo xtask nats` fetches one)"
    ))
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(here) = find::folder_of_binaries() {
        folders.push(here.join("../tools"));
        folders.push(here);
    }
    folders.into_iter().map(|folder| folder.join("nats-server")).collect()
}

/// Looks at the one line that `nats-server --version` prints, `nats-server: v2.15.1`.
fn check(path: &Path) -> anyhow::Result<()> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} cannot be run", path.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.trim().rsplit(['v', ' ']).next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found == (0, 0) {
        bail!("{} does not say its version", path.display());
    }
    if found < OLDEST {
        bail!("{} has version {version}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_configuration_has_limits_and_stays_on_loopback() {
        insta::assert_snapshot!(configuration(4222, "127.0.0.1:8222", Path::new("/data/it's/nats")));
    }

    #[test]
    fn a_server_that_is_too_old_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats-server");
        fs::write(&path, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = format!("{:#}", server_path(path.to_str()).unwrap_err());
        assert!(error.starts_with("NATS_SERVER must name a nats-server 2.14 or newer"), "{error}");
        assert!(error.ends_with("has version 2.9.10"), "{error}");
    }
}
