//! Where a new version comes from. Only from what is configured: a request carries no address, and what it says of a
//! commit is only held against what is there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use minisign_verify::PublicKey;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};
use tracing::warn;

use crate::{
    archive::ARCHIVE_MAX,
    config::{Config, Place, SourceConfig},
    docker::{Docker, DockerError},
    git::{Git, GitError},
    lint::{self, Allowed},
    manifest::{self, ManifestError},
    release::{Operations, Release, Role},
    sheet::Sheet,
    shelf::{Shelf, ShelfError},
    stack,
    systemd::machine,
};

/// How long a request for a release may take.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// How long an archive may take to come here.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(1800);
/// So many looks (5 s) later a release that was just being published is there with its signature.
const PUBLISHED_AFTER: u32 = 5;

/// Where new versions come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Images of a signed release; the compose file is the operator's.
    Pull {
        /// Where it is.
        release: Place,
        /// Who signs it.
        key: Arc<PublicKey>,
        /// The folder of the compose file.
        folder: PathBuf,
        /// For the web.
        client: reqwest::Client,
        /// Before what looks forged is read once more.
        pause: Duration,
    },
    /// Programs of a signed release, for machines without Docker.
    Binaries {
        /// Where it is.
        release: Place,
        /// Who signs it.
        key: Arc<PublicKey>,
        /// For the web.
        client: reqwest::Client,
        /// Before what looks forged is read once more.
        pause: Duration,
    },
    /// A build of what was pushed, with the compose file that was pushed.
    Build(Git),
}

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The release cannot be had.
    #[error("{place} cannot be read")]
    Fetch {
        /// Where it was expected.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is not believed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Git did not give it.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Docker did not take it.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Its compose file cannot be used.
    #[error("the compose file of {name} is not used:\n{words}")]
    Compose {
        /// The version.
        name: String,
        /// What is wrong with it.
        words: String,
    },
    /// What came is not taken.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// It is not here after all.
    #[error("the image of {0} is not here, though Docker has just made it")]
    NoImage(String),
}

impl Source {
    /// The source that is configured.
    ///
    /// # Errors
    /// When there is no client for the web.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let pause = config.pace.look * PUBLISHED_AFTER;
        Ok(match &config.source {
            SourceConfig::Pull { release, key } => {
                let key = key.clone().ok_or_else(|| anyhow::anyhow!("DEPLOY_RELEASE_KEY is not set"))?;
                let client = reqwest::Client::builder().timeout(FETCH_LIMIT).build()?;
                let (release, folder) = (release.clone(), config.folder.clone());
                Self::Pull { release, key: Arc::new(key), folder, client, pause }
            }
            SourceConfig::Binaries { release, key, .. } => {
                let key = key.clone().ok_or_else(|| anyhow::anyhow!("DEPLOY_RELEASE_KEY is not set"))?;
                let client = reqwest::Client::builder().timeout(FETCH_LIMIT).build()?;
                Self::Binaries { release: release.clone(), key: Arc::new(key), client, pause }
            }
            SourceConfig::Build(remote) => Self::Build(Git {
                folder: std::path::absolute(&config.data)?,
                remote: remote.clone(),
                environment: config.environment.clone(),
                busy: Arc::default(),
            }),
        })
    }

    /// The newest version there is. `heard` is a commit that must be in it, where that can be known; `last` is the signed
    /// release that it must not be older than.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn newest(
        &self,
        heard: Option<&str>,
        platform: &str,
        last: Option<&Release>,
    ) -> Result<Release, SourceError> {
        match self {
            Self::Pull { release, key, folder, client, pause } => {
                let last = last.map(|last| last.name.as_str());
                let folder = folder.to_string_lossy();
                let check = |text: &str, sign: &str| manifest::read(key, text, sign, platform, last, &folder);
                signed(release, client, *pause, check).await
            }
            Self::Binaries { release, key, client, pause } => {
                let last = last.map(|last| last.name.as_str());
                let check = |text: &str, sign: &str| manifest::read_binaries(key, text, sign, platform, last);
                signed(release, client, *pause, check).await
            }
            Self::Build(git) => {
                let (commit, folder) = git.newest(heard).await?;
                Ok(Release {
                    name: format!("c-{}", commit.get(..12).unwrap_or(&commit)),
                    source: commit.clone(),
                    commit: Some(commit),
                    pull: String::new(),
                    image: String::new(),
                    operations: None,
                    folder: folder.to_string_lossy().into_owned(),
                })
            }
        }
    }

    /// Has the image of a version here, kept under its name; the second one too, when `operations` are wanted and there
    /// is one.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn fetch(
        &self,
        docker: &Docker,
        allowed: &Allowed,
        operations: bool,
        mut release: Release,
    ) -> Result<Release, SourceError> {
        let (name, second) = (docker.kept_as(&release.name, false), docker.kept_as(&release.name, true));
        if !operations {
            release.operations = None;
        }
        match self {
            Self::Pull { .. } => {
                pull(docker, &release.pull, &name).await?;
                if let Some(operations) = &release.operations {
                    pull(docker, &operations.pull, &second).await?;
                }
            }
            // It has no images.
            Self::Binaries { .. } => return Err(SourceError::NoImage(release.name)),
            Self::Build(_) => {
                // Before anything of it is run: a build runs what the compose file says.
                let config = docker.config_to_build(&release).await?;
                let stack = usable(&config, &given(docker, allowed, &release).await?, &release)?;
                let worker = stack.services.iter().find(|it| it.role == Role::Worker);
                let Some(worker) = worker.filter(|_| stack.image == name) else {
                    // It would be given to whatever has that name on this machine.
                    let words = format!(
                        "expected the image ${{VIGIE_IMAGE}}:${{VIGIE_TAG}} for command-worker, found {}",
                        stack.image
                    );
                    return Err(SourceError::Compose { name: release.name, words });
                };
                let mut services = vec![worker.name.as_str()];
                if let Some(builds) = stack.builds.as_deref().filter(|_| operations) {
                    services.push(builds);
                    release.operations = Some(Operations::default());
                }
                docker.build(&release, &Sheet::merged(&release.folder, &config), &services).await?;
            }
        }
        let no_image = || SourceError::NoImage(release.name.clone());
        let image = docker.image(&name).await?.ok_or_else(no_image)?.id;
        if release.operations.is_some() {
            let image = docker.image(&second).await?.ok_or_else(no_image)?.id;
            release.operations = release.operations.map(|operations| Operations { image, ..operations });
        }
        release.image = image;
        Ok(release)
    }

    /// Has the programs of a version on the shelf, when they are those that were signed for.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn fetch_binaries(&self, shelf: &Shelf, release: &Release) -> Result<(), SourceError> {
        let Self::Binaries { release: place, client, .. } = self else {
            return Err(SourceError::NoImage(release.name.clone()));
        };
        let sum = release.source.strip_prefix("sha256:").unwrap_or_default().to_owned();
        if shelf.has_this(&release.name, &sum)? {
            return Ok(());
        }
        let place = neighbour(place, &release.pull);
        let failed = |source| SourceError::Fetch { place: shown(&place), source };
        copy(&place, client, &shelf.incoming()).await.map_err(failed)?;
        let (shelf, name) = (shelf.clone(), release.name.clone());
        // The rest of this program goes on meanwhile.
        let put = tokio::task::spawn_blocking(move || shelf.put(&name, &sum, machine()));
        Ok(put.await.map_err(|error| failed(error.into()))??)
    }

    /// Removes what is of no use any more.
    pub fn prune(&self, folders: &[String]) {
        if let Self::Build(git) = self {
            git.prune(folders);
        }
    }
}

/// The services of a version, when its compose file may be used, and what Compose is given to run of it.
///
/// # Errors
/// [`SourceError::Compose`] with everything that is wrong.
pub async fn checked(
    docker: &Docker,
    allowed: &Allowed,
    release: &Release,
) -> Result<(stack::Stack, Sheet), SourceError> {
    let with = given(docker, allowed, release).await?;
    let config = docker.config(&release.folder).await?;
    let stack = usable(&config, &with, release)?;
    if is_own(allowed, release) {
        return Ok((stack, Sheet::Own(release.folder.clone())));
    }
    Ok((stack, Sheet::merged(&release.folder, &config)))
}

/// Whether the compose file of a version is the operator's.
#[must_use]
pub fn is_own(allowed: &Allowed, release: &Release) -> bool {
    allowed.home == Path::new(&release.folder)
}

/// Pulls an image, to be kept by this name and no other: by the registry's own it would stay when that is forgotten.
async fn pull(docker: &Docker, image: &str, name: &str) -> Result<(), DockerError> {
    docker.pull(image).await?;
    docker.tag(image, name).await?;
    if let Err(error) = docker.untag(image).await {
        warn!(image, error = service::chain(&error), "it keeps the name of its registry, and so its place");
    }
    Ok(())
}

/// What may be in its compose file because it is in the operator's, when it is not that one.
async fn given(docker: &Docker, allowed: &Allowed, release: &Release) -> Result<Allowed, DockerError> {
    if is_own(allowed, release) {
        return Ok(allowed.clone());
    }
    let own = docker.config(&allowed.home.to_string_lossy()).await?;
    Ok(Allowed { given: Some(lint::given(&own)), ..allowed.clone() })
}

fn usable(config: &Value, allowed: &Allowed, release: &Release) -> Result<stack::Stack, SourceError> {
    let refused = |words: String| SourceError::Compose { name: release.name.clone(), words };
    let there = PathBuf::from(&release.folder);
    let folder = there.canonicalize().map_err(|error| refused(format!("{}: {error}", release.folder)))?;
    let problems = lint::check(config, &Allowed { folder, ..allowed.clone() });
    if !problems.is_empty() {
        return Err(refused(problems.join("\n")));
    }
    let stack = stack::read(config).map_err(refused)?;
    let unseen = lint::unseen(config, stack.services.iter().map(|it| it.name.as_str()), allowed);
    if unseen.is_empty() { Ok(stack) } else { Err(refused(unseen.join("\n"))) }
}

/// Reads a release and its signature, which are two files: between them another one may have been published.
async fn signed(
    place: &Place,
    client: &reqwest::Client,
    pause: Duration,
    mut check: impl FnMut(&str, &str) -> Result<Release, ManifestError> + Send,
) -> Result<Release, SourceError> {
    let mut again = true;
    loop {
        let text = read(place, client).await?;
        let signature = read(&beside(place), client).await?;
        match check(&text, &signature) {
            Err(ManifestError::Signature) if again => sleep(pause).await,
            checked => return Ok(checked?),
        }
        again = false;
    }
}

/// The signature lies beside what it signs.
fn beside(place: &Place) -> Place {
    match place {
        Place::File(path) => {
            let mut path = path.clone().into_os_string();
            path.push(".minisig");
            Place::File(path.into())
        }
        Place::Web(url) => {
            let mut url = url.clone();
            let path = format!("{}.minisig", url.path());
            url.set_path(&path);
            Place::Web(url)
        }
    }
}

/// A file of this name in the same place.
fn neighbour(place: &Place, name: &str) -> Place {
    match place {
        Place::File(path) => Place::File(path.with_file_name(name)),
        Place::Web(url) => {
            let mut url = url.clone();
            let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            url.set_path(&format!("{folder}/{name}"));
            Place::Web(url)
        }
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::File(path) => path.display().to_string(),
        // A query may hold a token.
        Place::Web(url) => format!("{}{}", url.host_str().unwrap_or_default(), url.path()),
    }
}

/// Copies a file to this machine; one that is larger than archives are not to its end.
async fn copy(
    place: &Place,
    client: &reqwest::Client,
    to: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let large = || format!("it has more than {} MB", ARCHIVE_MAX >> 20);
    let mut file = tokio::fs::File::create(to).await?;
    let mut left = ARCHIVE_MAX;
    match place {
        Place::File(path) => {
            let from = tokio::fs::File::open(path).await?;
            if from.metadata().await?.len() > ARCHIVE_MAX {
                return Err(large().into());
            }
            let copied = tokio::io::copy(&mut from.take(ARCHIVE_MAX + 1), &mut file).await?;
            if copied > ARCHIVE_MAX {
                return Err(large().into());
            }
        }
        Place::Web(url) => {
            let answer = client.get(url.clone()).timeout(ARCHIVE_LIMIT).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            let mut answer = answer.map_err(reqwest::Error::without_url)?;
            if answer.content_length().is_some_and(|length| length > ARCHIVE_MAX) {
                return Err(large().into());
            }
            while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
                left = left.checked_sub(chunk.len() as u64).ok_or_else(large)?;
                file.write_all(&chunk).await?;
            }
        }
    }
    file.flush().await?;
    Ok(())
}

async fn read(place: &Place, client: &reqwest::Client) -> Result<String, SourceError> {
    let shown = shown(place);
    let read = match place {
        Place::File(path) => read_file(path).map_err(Into::into),
        Place::Web(url) => read_web(url, client).await,
    };
    read.map_err(|source| SourceError::Fetch { place: shown, source })
}

fn read_file(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > manifest::MAX_BYTES as u64 {
        return Err(std::io::Error::other(format!("it has more than {} bytes", manifest::MAX_BYTES)));
    }
    std::fs::read_to_string(path)
}

async fn read_web(
    url: &reqwest::Url,
    client: &reqwest::Client,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let answer = client.get(url.clone()).send().await.map_err(reqwest::Error::without_url)?;
    let mut answer = answer.error_for_status().map_err(reqwest::Error::without_url)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > manifest::MAX_BYTES {
            return Err(format!("it has more than {} bytes", manifest::MAX_BYTES).into());
        }
    }
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_release_that_is_being_published_is_read_once_more() {
        service::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.json");
        let signature = folder.path().join("release.json.minisig");
        fs::write(&path, "new").unwrap();
        let release = Release {
            name: "1.2.3".to_owned(),
            source: String::new(),
            commit: None,
            pull: String::new(),
            image: String::new(),
            operations: None,
            folder: String::new(),
        };
        for published in [true, false] {
            fs::write(&signature, "old").unwrap();
            let mut looks = 0;
            let check = |text: &str, sign: &str| {
                looks += 1;
                if text == sign {
                    return Ok(release.clone());
                }
                if published {
                    fs::write(&signature, "new").unwrap();
                }
                Err(ManifestError::Signature)
            };
            let client = reqwest::Client::new();
            let found = signed(&Place::File(path.clone()), &client, Duration::from_millis(1), check).await;
            assert_eq!((found.is_ok(), looks), (published, 2));
        }
    }
}
