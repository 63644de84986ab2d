//! The signed list of image digests that a release comes with: `release.json` and `release.json.minisig`.

use std::collections::BTreeMap;

use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;

use crate::release::{Operations, Release, is_commit, is_digest, is_name};

/// The longest manifest, and the longest signature, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Architectures in one manifest.
const PLATFORMS_MAX: usize = 16;
/// The longest name of an image, in characters.
const IMAGE_MAX: usize = 200;

/// What is signed.
#[derive(Debug, Deserialize)]
struct Manifest {
    image: String,
    version: String,
    #[serde(default)]
    commit: Option<String>,
    platforms: BTreeMap<String, String>,
    /// The second image, under the same name. Releases of before have none.
    #[serde(default)]
    operations: Option<Second>,
    /// Archives of programs, for machines without Docker. Releases of before have none.
    #[serde(default)]
    binaries: BTreeMap<String, Archive>,
}

/// The file lies beside the manifest.
#[derive(Debug, Deserialize)]
struct Archive {
    file: String,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct Second {
    platforms: BTreeMap<String, String>,
}

/// Why a manifest is not believed, or is of no use here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Somebody else wrote it, or changed it.
    #[error("the release is not signed by the key in DEPLOY_RELEASE_KEY; nothing of it is used")]
    Signature,
    /// It is signed, and not what was expected.
    #[error("the release is signed, but {0}")]
    Shape(String),
    /// Nothing for this machine.
    #[error("{version} has no {what} for {platform}; it has: {there}")]
    Platform {
        /// Its version.
        version: String,
        /// What was looked for.
        what: &'static str,
        /// This machine.
        platform: String,
        /// What there is.
        there: String,
    },
    /// It is of before.
    #[error(
        "{version} is older than {current}, which runs: an old release is not taken for a new one; `rollback` goes back"
    )]
    Older {
        /// Its version.
        version: String,
        /// What runs.
        current: String,
    },
}

/// Reads what the key signed, for a platform such as `linux/arm64`. `current` is the version that runs.
///
/// # Errors
/// [`ManifestError`]
pub fn read(
    key: &PublicKey,
    text: &str,
    signature: &str,
    platform: &str,
    current: Option<&str>,
    folder: &str,
) -> Result<Release, ManifestError> {
    let manifest = signed(key, text, signature, current)?;
    let Manifest { image, version, commit, platforms, operations, .. } = manifest;
    if !is_image(&image) {
        return Err(shape("`image` is not the name of one"));
    }
    let second = operations.map(|operations| operations.platforms).unwrap_or_default();
    for all in [&platforms, &second] {
        if all.len() > PLATFORMS_MAX || all.values().any(|digest| !is_digest(digest)) {
            return Err(shape("`platforms` are not digests"));
        }
    }
    let digest =
        platforms.get(platform).ok_or_else(|| lacks("image", &version, platform, platforms.keys()))?;
    let operations = second.get(platform).map(|digest| format!("{image}@{digest}"));
    Ok(Release {
        pull: format!("{image}@{digest}"),
        operations: operations.map(|pull| Operations { pull, image: String::new() }),
        name: version,
        source: digest.clone(),
        commit,
        image: String::new(),
        folder: folder.to_owned(),
    })
}

/// The same where programs run without Docker: the archive for a platform, which lies beside the manifest.
///
/// # Errors
/// [`ManifestError`]
pub fn read_binaries(
    key: &PublicKey,
    text: &str,
    signature: &str,
    platform: &str,
    current: Option<&str>,
) -> Result<Release, ManifestError> {
    let Manifest { version, commit, binaries, .. } = signed(key, text, signature, current)?;
    if binaries.len() > PLATFORMS_MAX {
        return Err(shape("`binaries` are too many"));
    }
    let archive = binaries.get(platform);
    let archive = archive.ok_or_else(|| lacks("archive", &version, platform, binaries.keys()))?;
    let source = format!("sha256:{}", archive.sha256);
    if !is_name(&archive.file) || !is_digest(&source) {
        return Err(shape("`binaries` are not files with their sums"));
    }
    Ok(Release {
        name: version,
        source,
        commit,
        pull: archive.file.clone(),
        image: String::new(),
        operations: None,
        folder: String::new(),
    })
}

/// What the key signed, when it is not of before.
fn signed(
    key: &PublicKey,
    text: &str,
    signature: &str,
    current: Option<&str>,
) -> Result<Manifest, ManifestError> {
    let signature = Signature::decode(signature).map_err(|_| ManifestError::Signature)?;
    key.verify(text.as_bytes(), &signature, false).map_err(|_| ManifestError::Signature)?;
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| shape(&error.to_string()))?;
    if !is_name(&manifest.version) {
        return Err(shape("`version` is not one"));
    }
    if manifest.commit.as_deref().is_some_and(|commit| !is_commit(commit)) {
        return Err(shape("`commit` is not one"));
    }
    match current.filter(|current| order(current) > order(&manifest.version)) {
        Some(current) => Err(ManifestError::Older { version: manifest.version, current: current.to_owned() }),
        None => Ok(manifest),
    }
}

fn shape(words: &str) -> ManifestError {
    ManifestError::Shape(words.to_owned())
}

fn lacks<'a>(
    what: &'static str,
    version: &str,
    platform: &str,
    there: impl Iterator<Item = &'a String>,
) -> ManifestError {
    let there = there.cloned().collect::<Vec<_>>().join(", ");
    ManifestError::Platform { version: version.to_owned(), what, platform: platform.to_owned(), there }
}

/// Whether a text is the name of an image without tag and digest: `host:port/path/name`.
fn is_image(text: &str) -> bool {
    let sign = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':')
    };
    let last = text.rsplit('/').next().unwrap_or_default();
    (1..=IMAGE_MAX).contains(&text.len())
        && text.bytes().all(sign)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !last.is_empty()
        && !last.contains(':')
}

/// Versions in their order: numbers as numbers, and `1.2.0-rc.1` before `1.2.0`. What is no number at all has none.
fn order(version: &str) -> Option<(Vec<u64>, bool, Vec<u64>)> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (main, before) = version.split_once('-').map_or((version, None), |(main, rest)| (main, Some(rest)));
    let main: Option<Vec<u64>> = main.split('.').map(|part| part.parse().ok()).collect();
    let numbers =
        before.unwrap_or_default().split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    Some((main?, before.is_none(), numbers.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(pair: &minisign::KeyPair, text: &str) -> String {
        minisign::sign(None, &pair.sk, text.as_bytes(), None, None).unwrap().to_string()
    }

    fn key(pair: &minisign::KeyPair) -> PublicKey {
        PublicKey::from_base64(&pair.pk.to_base64()).unwrap()
    }

    fn text(version: &str) -> String {
        let digest = format!("sha256:{}", "ab".repeat(32));
        format!(
            r#"{{"image": "registry.example.org/you/vigie", "version": "{version}", "digest": "{digest}",
                "commit": "{}", "platforms": {{"linux/arm64": "{digest}"}}}}"#,
            "0a".repeat(20)
        )
    }

    fn read_it(
        pair: &minisign::KeyPair,
        text: &str,
        current: Option<&str>,
    ) -> Result<Release, ManifestError> {
        read(&key(pair), text, &sign(pair, text), "linux/arm64", current, "/srv/vigie")
    }

    #[test]
    fn what_the_key_signed_is_asked_for_by_its_digest() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let release = read_it(&pair, &text("1.2.3"), Some("1.2.3")).unwrap();
        assert_eq!(release.name, "1.2.3");
        assert_eq!(release.pull, format!("registry.example.org/you/vigie@sha256:{}", "ab".repeat(32)));
    }

    #[test]
    fn the_second_image_is_asked_for_by_its_digest_too() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let with = |second: &str| {
            let text = text("1.2.3");
            format!("{}, \"operations\": {second}}}", text.trim_end_matches('}').to_owned() + "}")
        };
        let digest = format!("sha256:{}", "cd".repeat(32));
        let second = format!(r#"{{"digest": "{digest}", "platforms": {{"linux/arm64": "{digest}"}}}}"#);
        let operations = |text: &str| read_it(&pair, text, None).map(|release| release.operations);
        let expected = format!("registry.example.org/you/vigie@{digest}");
        assert_eq!(operations(&with(&second)).unwrap().unwrap().pull, expected);
        assert_eq!(operations(&with(&second.replace("arm64", "amd64"))), Ok(None));
        assert_eq!(operations(&text("1.2.3")), Ok(None));
        assert!(matches!(operations(&with(&second.replace("sha256:", ""))), Err(ManifestError::Shape(_))));
    }

    #[test]
    fn nothing_else_is_believed() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let other = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let text = text("1.2.3");
        let signature = sign(&pair, &text);
        for (key, text, signature) in [
            (key(&other), text.clone(), signature.clone()),
            (key(&pair), text.replace("1.2.3", "1.2.4"), signature.clone()),
            (key(&pair), text.clone(), String::new()),
            (key(&pair), text, signature.replace("RU", "RW")),
        ] {
            let read = read(&key, &text, &signature, "linux/arm64", None, "");
            assert!(matches!(read, Err(ManifestError::Signature)), "{signature}");
        }
    }

    #[test]
    fn a_release_of_before_is_not_taken_for_a_new_one() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        for (version, current) in
            [("1.2.3", "1.2.4"), ("1.9.0", "1.10.0"), ("2.0.0-rc.1", "2.0.0"), ("2.0.0-rc.1", "2.0.0-rc.2")]
        {
            let read = read_it(&pair, &text(version), Some(current));
            assert!(matches!(read, Err(ManifestError::Older { .. })), "{version} after {current}");
            assert!(read_it(&pair, &text(current), Some(version)).is_ok(), "{current} after {version}");
        }
        // What was built here has no number.
        assert!(read_it(&pair, &text("1.2.3"), Some("c-0123abc")).is_ok());
    }

    #[test]
    fn what_would_be_another_argument_or_another_place_is_refused() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let good = text("1.2.3");
        for bad in [
            good.replace("1.2.3", "--privileged"),
            good.replace("registry.example.org/you/vigie", "--help"),
            good.replace("registry.example.org/you/vigie", "vigie:latest"),
            good.replace("registry.example.org/you/vigie", "a b"),
            good.replace("sha256:", "latest"),
            good.replace(&"0a".repeat(20), "HEAD"),
        ] {
            assert!(matches!(read_it(&pair, &bad, None), Err(ManifestError::Shape(_))), "{bad}");
        }
        let other = good.replace("arm64", "riscv64");
        assert!(matches!(read_it(&pair, &other, None), Err(ManifestError::Platform { .. })));
    }

    #[test]
    fn an_archive_is_a_plain_file_beside_the_manifest_with_its_sum() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let sum = "ef".repeat(32);
        let good = format!(
            r#"{{"image": "", "version": "1.2.3", "platforms": {{}},
                "binaries": {{"linux/arm64": {{"file": "vigie-1.2.3-arm64.tar.gz", "sha256": "{sum}"}}}}}}"#
        );
        let read = |text: &str, platform| {
            read_binaries(&key(&pair), text, &sign(&pair, text), platform, Some("1.2.2"))
        };
        let release = read(&good, "linux/arm64").unwrap();
        assert_eq!((release.pull.as_str(), release.name.as_str()), ("vigie-1.2.3-arm64.tar.gz", "1.2.3"));
        assert_eq!(release.source, format!("sha256:{sum}"));
        let lacks = read(&good, "linux/amd64").unwrap_err().to_string();
        assert_eq!(lacks, "1.2.3 has no archive for linux/amd64; it has: linux/arm64");
        for (what, bad) in [
            ("vigie-1.2.3-arm64.tar.gz", "../vigie.tar.gz"),
            ("vigie-1.2.3-arm64.tar.gz", "https://example.org/vigie.tar.gz"),
            ("vigie-1.2.3-arm64.tar.gz", "-o"),
            (&sum, "latest"),
            ("1.2.3\"", "../1.2.3\""),
        ] {
            let read = read(&good.replace(what, bad), "linux/arm64");
            assert!(matches!(read, Err(ManifestError::Shape(_))), "{bad}: {read:?}");
        }
        let older = read(&good.replace("\"1.2.3\"", "\"1.2.1\""), "linux/arm64");
        assert!(matches!(older, Err(ManifestError::Older { .. })));
        let forged = read_binaries(&key(&pair), &good, &sign(&pair, "{}"), "linux/arm64", None);
        assert_eq!(forged, Err(ManifestError::Signature));
    }
}
