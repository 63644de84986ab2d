//! The only place that talks to Docker: the `docker` program, with a closed set of commands. It honours
//! `DOCKER_HOST`, `DOCKER_CONTEXT` and the other variables of that program.
//!
//! | command | for |
//! |---|---|
//! | `version` | whether the engine is there, and for which machine it runs containers |
//! | `compose config` | the merged compose file |
//! | `compose up --no-deps` of one service, `compose run` of `keys`, `compose build` of the worker | to make containers and images |
//! | `ps`, `inspect`, `logs` of the project's containers | to see how they are |
//! | `compose run --detach` of `deployer` with `--succeed`, by the operator's own files | to have a new deployer take the place of the old one |
//! | `stop`, `rm` of them, `compose exec` of NATS with its own signal | to end old ones, to have NATS read its users again |
//! | `pull` by digest, `tag`, `image inspect`, `image ls`, `image rm` of kept versions and of what was pulled | images |

use std::{path::PathBuf, time::Duration};

use child::{Child, ChildError, Environment, Output};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    crew::Container,
    release::{OPERATIONS, Release},
    sheet::Sheet,
    stack::DEPLOYER,
};

/// What the deployer's program is told to do the work of [`Docker::start_helper`].
pub const HELP: &str = "--succeed";
/// How long a question to the engine may take.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to begin or end containers.
const ACT_LIMIT: Duration = Duration::from_secs(180);
/// How long an image may take to come here.
const PULL_LIMIT: Duration = Duration::from_secs(1800);
/// How long a build may take: Rust on a Raspberry Pi.
const BUILD_LIMIT: Duration = Duration::from_secs(3 * 3600);
/// Looks at containers while some of them end.
const LOOKS_MAX: u32 = 5;
/// Lines of the log of what failed.
const LOG_LINES: &str = "20";
/// The longest log of what failed, in characters.
const LOG_MAX: usize = 1500;

/// Docker, for one project.
#[derive(Clone, Debug)]
pub struct Docker {
    /// The name of the project.
    pub project: String,
    /// The compose files, below the folder of a version.
    pub files: Vec<PathBuf>,
    /// The file with the settings.
    pub env_file: PathBuf,
    /// The profiles that are up.
    pub profiles: Vec<String>,
    /// Its environment.
    pub environment: Environment,
}

/// Why Docker did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The program failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It answered something else than was expected.
    #[error("`{0}` answered what was not expected")]
    Answer(&'static str, #[source] serde_json::Error),
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// `linux/arm64`
    pub platform: String,
}

impl Docker {
    /// The name under which images of versions are kept, so that a prune does not take them. Each bot of a machine has its
    /// own, or one would forget what another can go back to.
    fn keeps(&self) -> String {
        format!("{}-kept", self.project)
    }

    /// The name under which an image of a version is kept: the first or the second.
    #[must_use]
    pub fn kept_as(&self, name: &str, operations: bool) -> String {
        format!("{}:{name}{}", self.keeps(), if operations { OPERATIONS } else { "" })
    }

    fn docker(&self, limit: Duration) -> Child {
        Child::new("docker", self.environment.clone(), limit)
    }

    fn compose(&self, sheet: &Sheet, limit: Duration) -> Child {
        let folder = sheet.folder();
        let mut compose =
            self.docker(limit).args(["compose", "--ansi", "never", "--project-name", &self.project]);
        // What is included comes from this machine.
        for remote in ["COMPOSE_EXPERIMENTAL_GIT_REMOTE", "COMPOSE_EXPERIMENTAL_OCI_REMOTE"] {
            compose = compose.env(remote, "false");
        }
        compose = compose.arg("--project-directory").arg(folder);
        match sheet {
            Sheet::Own(_) => {
                for file in &self.files {
                    compose = compose.arg("--file").arg(folder.join(file));
                }
            }
            Sheet::Merged { text, .. } => compose = compose.args(["--file", "-"]).input(text.clone()),
        }
        for profile in &self.profiles {
            compose = compose.args(["--profile", profile]);
        }
        compose.arg("--env-file").arg(&self.env_file).within(folder)
    }

    /// The platform that the engine runs, such as `linux/arm64`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn platform(&self) -> Result<String, DockerError> {
        let format = "{{.Server.Os}}/{{.Server.Arch}}";
        let answer = self.docker(ASK_LIMIT).args(["version", "--format", format]).text().await?;
        Ok(answer.text.trim().to_owned())
    }

    /// The merged compose file of a version.
    ///
    /// # Errors
    /// When Compose refuses it.
    pub async fn config(&self, folder: &str) -> Result<Value, DockerError> {
        merged(self.compose(&Sheet::Own(folder.to_owned()), ASK_LIMIT)).await
    }

    /// Whether Compose reads a merged file as it wrote it.
    ///
    /// # Errors
    /// When it refuses it.
    pub async fn is_settled(&self, sheet: &Sheet) -> Result<bool, DockerError> {
        let Sheet::Merged { folder, text } = sheet else { return Ok(true) };
        let read = merged(self.compose(sheet, ASK_LIMIT)).await?;
        let Sheet::Merged { text: again, .. } = Sheet::merged(folder, &read) else { return Ok(false) };
        Ok(again.expose_secret() == text.expose_secret())
    }

    /// The merged compose file by which [`Docker::build`] builds: variables have other values then.
    ///
    /// # Errors
    /// When Compose refuses it.
    pub async fn config_to_build(&self, release: &Release) -> Result<Value, DockerError> {
        merged(self.to_build(release, &Sheet::Own(release.folder.clone()), ASK_LIMIT)).await
    }

    /// All containers of the project that are not for one command only.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self) -> Result<Vec<Container>, DockerError> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let filters = ["--filter", &project, "--filter", "label=com.docker.compose.oneoff=False"];
        let mut looks = 0;
        loop {
            looks += 1;
            let list = self.docker(ASK_LIMIT).args(["ps", "--all", "--quiet", "--no-trunc"]).args(filters);
            let listed = list.text().await?;
            let ids: Vec<&str> = listed.text.split_whitespace().collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let inspect = self.docker(ASK_LIMIT).args(["inspect", "--type", "container"]).args(&ids);
            let found = match inspect.text().await {
                Ok(found) => found.text,
                // One that was there a moment ago. What is left must not look like all there is.
                Err(error) if is_missing(&error) && looks < LOOKS_MAX => continue,
                Err(error) => return Err(error.into()),
            };
            return read(&found);
        }
    }

    /// One container by its name or id; `None` when there is none.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn container(&self, name: &str) -> Result<Option<Container>, DockerError> {
        let inspect = self.docker(ASK_LIMIT).args(["inspect", "--type", "container", "--", name]);
        match inspect.text().await {
            Ok(found) => Ok(read(&found.text)?.into_iter().next()),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Has `count` containers of a service, and touches none that is there.
    ///
    /// # Errors
    /// When Compose fails.
    pub async fn grow(&self, sheet: &Sheet, service: &str, count: u32) -> Result<Output, DockerError> {
        self.up(sheet, service, count, "--no-recreate").await
    }

    /// Makes all containers of a service anew.
    ///
    /// # Errors
    /// When Compose fails.
    pub async fn renew(&self, sheet: &Sheet, service: &str, count: u32) -> Result<Output, DockerError> {
        self.up(sheet, service, count, "--force-recreate").await
    }

    async fn up(&self, sheet: &Sheet, service: &str, count: u32, how: &str) -> Result<Output, DockerError> {
        let scale = format!("{service}={count}");
        let fixed =
            ["up", "--detach", "--no-deps", "--no-build", "--pull", "never", how, "--scale", &scale, "--"];
        Ok(self.compose(sheet, ACT_LIMIT).args(fixed).arg(service).text().await?)
    }

    /// Runs the service that makes keys, until it ends.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run_once(&self, sheet: &Sheet, service: &str) -> Result<Output, DockerError> {
        let run = ["run", "--rm", "--no-deps", "-T", "--"];
        Ok(self.compose(sheet, ACT_LIMIT).args(run).arg(service).text().await?)
    }

    /// The name of the container that [`Docker::start_helper`] makes, of which there is one.
    #[must_use]
    pub fn helper(&self) -> String {
        format!("{}-{DEPLOYER}-successor", self.project)
    }

    /// Starts a container beside the deployer, as the compose file in `folder` has it, that does one thing and ends.
    ///
    /// # Errors
    /// When Compose fails, also when there is one.
    pub async fn start_helper(&self, folder: &str) -> Result<Output, DockerError> {
        let run = ["run", "--detach", "--no-deps", "-T", "--name", &self.helper(), "--"];
        let run = self.compose(&Sheet::Own(folder.to_owned()), ACT_LIMIT).args(run);
        Ok(run.args([DEPLOYER, DEPLOYER, HELP]).text().await?)
    }

    /// Has NATS read its users again. Not by `docker kill`: what was killed like that is not started again after a
    /// crash.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn reload_nats(&self, sheet: &Sheet, service: &str) -> Result<Output, DockerError> {
        let exec = ["exec", "-T", "--", service, "nats-server", "--signal", "reload=1"];
        Ok(self.compose(sheet, ASK_LIMIT).args(exec).text().await?)
    }

    /// Builds the images of these services of a version, as `repository:tag` of its name.
    ///
    /// # Errors
    /// When the build fails.
    pub async fn build(
        &self,
        release: &Release,
        sheet: &Sheet,
        services: &[&str],
    ) -> Result<Output, DockerError> {
        let build =
            self.to_build(release, sheet, BUILD_LIMIT).args(["build", "--quiet", "--"]).args(services);
        Ok(build.text().await?)
    }

    fn to_build(&self, release: &Release, sheet: &Sheet, limit: Duration) -> Child {
        let commit = release.commit.as_deref().unwrap_or_default();
        let compose = self.compose(sheet, limit);
        compose.env("VIGIE_IMAGE", self.keeps()).env("VIGIE_TAG", &release.name).env("VIGIE_COMMIT", commit)
    }

    /// Fetches an image by its digest.
    ///
    /// # Errors
    /// When the registry does not give it.
    pub async fn pull(&self, image: &str) -> Result<Output, DockerError> {
        Ok(self.docker(PULL_LIMIT).args(["pull", "--quiet", "--", image]).text().await?)
    }

    /// An image, by its name or id; `None` when it is not here.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        let inspected = self.docker(ASK_LIMIT).args(["image", "inspect", "--", name]).text().await;
        let text = match inspected {
            Ok(output) => output.text,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let raw: Vec<RawImage> = serde_json::from_str(&text)
            .map_err(|error| DockerError::Answer("docker image inspect", error))?;
        Ok(raw
            .into_iter()
            .next()
            .map(|image| Image { platform: format!("{}/{}", image.os, image.architecture), id: image.id }))
    }

    /// Gives an image another name, which may have been another's.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn tag(&self, image: &str, name: &str) -> Result<Output, DockerError> {
        Ok(self.docker(ASK_LIMIT).args(["tag", "--", image, name]).text().await?)
    }

    /// The names of the versions whose images are kept, with those of their second images.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn kept(&self) -> Result<Vec<String>, DockerError> {
        let listed = self
            .docker(ASK_LIMIT)
            .args(["image", "ls", "--format", "{{.Tag}}", &self.keeps()])
            .text()
            .await?;
        Ok(listed.text.split_whitespace().map(str::to_owned).collect())
    }

    /// Forgets a kept version. Its image goes when nothing runs from it.
    ///
    /// # Errors
    /// When the engine does not.
    pub async fn forget(&self, name: &str) -> Result<Output, DockerError> {
        self.untag(&self.kept_as(name, false)).await
    }

    /// Takes a name from an image, which goes with its last one.
    ///
    /// # Errors
    /// When there is none, or it is the last one of an image that a container has.
    pub async fn untag(&self, name: &str) -> Result<Output, DockerError> {
        Ok(self.docker(ASK_LIMIT).args(["image", "rm", "--", name]).text().await?)
    }

    /// Asks containers to end, waits as long as each has, and removes them.
    ///
    /// # Errors
    /// When the engine does not.
    pub async fn end(&self, ids: &[String]) -> Result<(), DockerError> {
        for command in [["stop", "--"], ["rm", "--"]] {
            match self.docker(ACT_LIMIT).args(command).args(ids).text().await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The last words of a container.
    pub async fn last_words(&self, id: &str) -> String {
        let logs = self.docker(ASK_LIMIT).args(["logs", "--tail", LOG_LINES, "--", id]).text().await;
        let said = match logs {
            // A service writes its log to standard output or error.
            Ok(Output { text, complaint }) => format!("{text}{complaint}"),
            Err(error) => format!("its log cannot be read: {error}"),
        };
        let start = said.char_indices().rev().nth(LOG_MAX).map_or(0, |(at, _)| at);
        said.get(start..).unwrap_or_default().trim().to_owned()
    }
}

fn read(inspected: &str) -> Result<Vec<Container>, DockerError> {
    let raw: Vec<RawContainer> =
        serde_json::from_str(inspected).map_err(|error| DockerError::Answer("docker inspect", error))?;
    Ok(raw.into_iter().map(RawContainer::read).collect())
}

async fn merged(compose: Child) -> Result<Value, DockerError> {
    let output = compose.args(["config", "--format", "json"]).text().await?;
    serde_json::from_str(&output.text).map_err(|error| DockerError::Answer("docker compose config", error))
}

/// Whether the engine says that there is no such thing. One that is away is reached by no such file or host.
fn is_missing(error: &ChildError) -> bool {
    let ChildError::Failed { complaint, .. } = error else { return false };
    let complaint = complaint.to_lowercase();
    ["no such container", "no such image", "no such object"].iter().any(|words| complaint.contains(words))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawImage {
    id: String,
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    id: String,
    created: String,
    image: String,
    #[serde(default)]
    restart_count: u64,
    state: RawState,
    config: RawConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    status: String,
    health: Option<RawHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawHealth {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

impl RawContainer {
    fn read(mut self) -> Container {
        let health = self.state.health.map(|health| health.status).filter(|status| status != "none");
        // An instance is called after its host, and a container's host name is the beginning of its id.
        let instance = self.id.get(..12).map(|host| format!("{host}-")).unwrap_or_default();
        Container {
            service: self.config.labels.remove("com.docker.compose.service").unwrap_or_default(),
            folder: self.config.labels.remove("com.docker.compose.project.working_dir").unwrap_or_default(),
            id: self.id,
            image: self.image,
            created: self.created,
            state: self.state.status,
            health: health.unwrap_or_default(),
            restarts: self.restart_count,
            instance,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::*;

    /// An engine that was away looked like one without containers, and a succession was given up.
    #[test]
    fn what_an_engine_does_not_have_is_told_from_an_engine_that_is_away() {
        let is_missing = |complaint: &str| {
            let (shown, complaint) = ("docker inspect".to_owned(), complaint.to_owned());
            is_missing(&ChildError::Failed { shown, status: ExitStatus::from_raw(256), complaint })
        };
        for missing in [
            "Error: No such container: vigie-deployer-successor",
            "Error response from daemon: No such image: vigie:local",
            "error: no such object: vigie:local",
        ] {
            assert!(is_missing(missing), "{missing}");
        }
        for away in [
            "dial unix /var/run/docker.sock: connect: no such file or directory",
            "dial tcp: lookup engine.example.org: no such host",
        ] {
            assert!(!is_missing(away), "{away}");
        }
    }
}
