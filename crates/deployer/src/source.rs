//! Where a new version comes from. Only from what is configured: a request carries no address, and what it says of a
//! commit is only held against what is there.

use std::{path::PathBuf, sync::Arc, time::Duration};

use minisign_verify::PublicKey;
use serde_json::Value;

use crate::{
    config::{Config, Place, SourceConfig},
    docker::{Docker, DockerError, KEPT},
    git::{Git, GitError},
    lint::{self, Allowed},
    manifest::{self, ManifestError},
    release::{Release, Role},
    stack,
};

/// How long a request for a release may take.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

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
        Ok(match &config.source {
            SourceConfig::Pull { release, key } => {
                let key = key.clone().ok_or_else(|| anyhow::anyhow!("DEPLOY_RELEASE_KEY is not set"))?;
                let client = reqwest::Client::builder().timeout(FETCH_LIMIT).build()?;
                let (release, folder) = (release.clone(), config.folder.clone());
                Self::Pull { release, key: Arc::new(key), folder, client }
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
            Self::Pull { release, key, folder, client } => {
                let text = read(release, client).await?;
                let signature = read(&beside(release), client).await?;
                let last = last.map(|last| last.name.as_str());
                let folder = folder.to_string_lossy();
                Ok(manifest::read(key, &text, &signature, platform, last, &folder)?)
            }
            Self::Build(git) => {
                let (commit, folder) = git.newest(heard).await?;
                Ok(Release {
                    name: format!("c-{}", commit.get(..12).unwrap_or(&commit)),
                    source: commit.clone(),
                    commit: Some(commit),
                    pull: String::new(),
                    image: String::new(),
                    folder: folder.to_string_lossy().into_owned(),
                })
            }
        }
    }

    /// Has the image of a version here, kept under its name.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn fetch(
        &self,
        docker: &Docker,
        allowed: &Allowed,
        mut release: Release,
    ) -> Result<Release, SourceError> {
        let name = format!("{KEPT}:{}", release.name);
        match self {
            Self::Pull { .. } => {
                docker.pull(&release.pull).await?;
                docker.tag(&release.pull, &name).await?;
            }
            Self::Build(_) => {
                // Before anything of it is run: a build runs what the compose file says.
                let stack = usable(&docker.config_to_build(&release).await?, allowed, &release)?;
                let worker = stack.services.iter().find(|it| it.role == Role::Worker);
                let Some(worker) = worker.filter(|_| stack.image == name) else {
                    // It would be given to whatever has that name on this machine.
                    let words = format!(
                        "expected the image ${{VIGIE_IMAGE}}:${{VIGIE_TAG}} for command-worker, found {}",
                        stack.image
                    );
                    return Err(SourceError::Compose { name: release.name, words });
                };
                docker.build(&release, &worker.name).await?;
            }
        }
        let image = docker.image(&name).await?.ok_or_else(|| SourceError::NoImage(release.name.clone()))?;
        release.image = image.id;
        Ok(release)
    }

    /// Removes what is of no use any more.
    pub fn prune(&self, folders: &[String]) {
        if let Self::Build(git) = self {
            git.prune(folders);
        }
    }
}

/// The services of a version, when its compose file may be used.
///
/// # Errors
/// [`SourceError::Compose`] with everything that is wrong.
pub async fn checked(
    docker: &Docker,
    allowed: &Allowed,
    release: &Release,
) -> Result<stack::Stack, SourceError> {
    usable(&docker.config(&release.folder).await?, allowed, release)
}

fn usable(config: &Value, allowed: &Allowed, release: &Release) -> Result<stack::Stack, SourceError> {
    let refused = |words: String| SourceError::Compose { name: release.name.clone(), words };
    let there = PathBuf::from(&release.folder);
    let folder = there.canonicalize().map_err(|error| refused(format!("{}: {error}", release.folder)))?;
    let problems = lint::check(config, &Allowed { folder, ..allowed.clone() });
    if !problems.is_empty() {
        return Err(refused(problems.join("\n")));
    }
    stack::read(config).map_err(refused)
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

async fn read(place: &Place, client: &reqwest::Client) -> Result<String, SourceError> {
    let shown = match place {
        Place::File(path) => path.display().to_string(),
        // A query may hold a token.
        Place::Web(url) => format!("{}{}", url.host_str().unwrap_or_default(), url.path()),
    };
    let read = match place {
        Place::File(path) => read_file(path).map_err(Into::into),
        Place::Web(url) => read_web(url, client).await,
    };
    read.map_err(|source| SourceError::Fetch { place: shown, source })
}

fn read_file(path: &std::path::Path) -> std::io::Result<String> {
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
