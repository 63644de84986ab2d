//! The image, of static binaries that cargo makes here.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

use super::docker::docker;
use crate::{paths, shell};

const IMAGE: &str = "vigie:trial";
/// What the services need to trust Discord and Twitch, where Debian and most others keep it.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Compiles, packs, and gives the image's name.
///
/// # Errors
/// When that fails.
pub async fn build() -> anyhow::Result<String> {
    let names = names()?;
    let said = shell::output(std::process::Command::new("rustc").arg("-vV"))?;
    let host =
        said.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let mut cargo = shell::cargo_command();
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    cargo.args(["build", "--locked", "--release", "--bins", "--target", host]);
    cargo.args(names.iter().flat_map(|name| ["--package", name]));
    shell::run(&mut cargo)?;
    let context = paths::target().join("compose");
    let dist = context.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    copy(Path::new(CERTIFICATES), &dist.join("etc/ssl/certs/ca-certificates.crt"))?;
    for name in &names {
        copy(&paths::target().join(host).join("release").join(name), &dist.join("bin").join(name))?;
    }
    let dockerfile = paths::root().join("deploy/Dockerfile");
    let (dockerfile, context) = (dockerfile.display().to_string(), context.display().to_string());
    let prebuilt = ["--build-arg", "BINARIES=prebuilt", "--file", &dockerfile, "--tag", IMAGE, &context];
    docker(&[&["build", "--quiet"], &prebuilt[..]].concat()).await?;
    Ok(IMAGE.to_owned())
}

/// Puts the files of an image where the Dockerfile expects what is built already: `dist/` in a folder.
///
/// # Errors
/// When that fails.
pub async fn unpack(image: &str, folder: &Path) -> anyhow::Result<()> {
    let container = docker(&["create", image]).await?;
    let container = container.trim();
    for path in ["bin", "etc/ssl"] {
        let to = folder.join("dist").join(path);
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        let from = format!("{container}:/{path}");
        docker(&["cp", "--quiet", &from, &to.display().to_string()]).await?;
    }
    docker(&["rm", container]).await.map(drop)
}

/// How large an image is, unpacked, in bytes.
///
/// # Errors
/// When there is none of that name.
pub async fn size(image: &str) -> anyhow::Result<u64> {
    let bytes = docker(&["image", "inspect", "--format", "{{.Size}}", image]).await?;
    bytes.trim().parse().context("expected a number of bytes")
}

/// Every crate with a `main.rs`, as in the Dockerfile; this one is none of the bot's.
fn names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(paths::root().join("crates"))? {
        let entry = entry?;
        if entry.path().join("src/main.rs").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.retain(|name| name != env!("CARGO_PKG_NAME"));
    names.sort();
    ensure!(!names.is_empty(), "expected crates with a main.rs");
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let told = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).with_context(told)?;
    fs::copy(from, to).with_context(told)?;
    Ok(())
}
