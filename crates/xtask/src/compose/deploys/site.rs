//! A bot that somebody has set up for updates by the steps of `docs/deploy.md` and `docs/webhook.md`, and what can be
//! seen of it from outside.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use protocol::control::Deploy;
use serde_json::json;
use tokio::time::sleep;

use super::{
    super::{docker::docker, people::ANSWER_LIMIT, project::Project},
    forge,
};
use crate::http;

/// The user of the containers.
const USER: u32 = 65532;
/// Docker's socket, which `compose.yaml` mounts.
const SOCKET: &str = "/var/run/docker.sock";
/// What has programs of others is installed while it is built.
const BUILD_LIMIT: Duration = Duration::from_secs(560);
/// Longer than any deploy takes: it gives up by itself before.
const DEPLOY_LIMIT: Duration = Duration::from_secs(580);
const POLL: Duration = Duration::from_millis(500);
/// Not the bot's, or never replaced by the deployer.
const OTHERS: [&str; 5] = ["", "sandbox", "nats", "deployer", "keys"];

/// The bot.
pub struct Site {
    /// Its project.
    pub stack: Project,
    /// Its folder.
    pub folder: PathBuf,
    /// The label of an image by which versions are told apart.
    pub label: &'static str,
    /// The secrets of its hooks, by their names.
    secrets: BTreeMap<&'static str, String>,
}

/// What runs: the ids of its containers by their service, and what their images say of themselves.
pub type Running = BTreeMap<String, Vec<(String, String)>>;

impl Site {
    /// In a clone: writes `.env` and `hooks/`. With a sandbox in the place of the platforms.
    ///
    /// # Errors
    /// When something cannot be written, or there is no socket of Docker.
    pub fn set_up(name: &'static str, folder: PathBuf, image: &str) -> anyhow::Result<Self> {
        let mut stack = Project::of_checkout(name, &folder, image)?.without_limits(7);
        let group = fs::metadata(SOCKET).with_context(|| format!("{SOCKET} is not there"))?.gid();
        let (shown, number) = (folder.display().to_string(), group.to_string());
        let hooks = format!("{shown}/hooks");
        for (name, value) in [
            ("DOCKER_GROUP", number.as_str()),
            ("DEPLOY_FOLDER", &shown),
            ("DEPLOY_PROFILES", "deploy"),
            ("DEPLOY_BACKUP", "off"),
            ("WEBHOOK_HOOKS", &hooks),
            ("DEPLOY_BINDS", &hooks),
        ] {
            stack.set(name, value)?;
        }
        let label = "org.opencontainers.image.revision";
        let mut site = Self { stack, folder, label, secrets: BTreeMap::new() };
        hand_over(&site.folder.join(".env"), 0o660)?;
        let push = format!("forge = \"github\"\nrepository = \"{}\"\nbranch = \"main\"\n", forge::FULL_NAME);
        site.hooks(&[("push", &push), ("ci", "forge = \"ci\"\n")])?;
        Ok(site)
    }

    /// Gives the bot a file that only its containers may read; its full path.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn give(&self, from: &Path) -> anyhow::Result<String> {
        let to = self.folder.join("secrets").join(from.file_name().context("expected a file")?);
        fs::create_dir_all(self.folder.join("secrets"))?;
        fs::copy(from, &to)?;
        // ssh refuses a key of its own user's that others may read.
        hand_over(&to, 0o600)?;
        Ok(to.display().to_string())
    }

    fn hooks(&mut self, hooks: &[(&'static str, &str)]) -> anyhow::Result<()> {
        let folder = self.folder.join("hooks");
        fs::create_dir_all(&folder)?;
        let mut text = String::new();
        for (name, settings) in hooks {
            let secret = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
            fs::write(folder.join(format!("{name}.secret")), &secret)?;
            text += &format!("[{name}]\n{settings}secret_file = \"{name}.secret\"\n\n");
            self.secrets.insert(*name, secret);
        }
        fs::write(folder.join("hooks.toml"), text)?;
        Ok(())
    }

    /// Builds the images of the folder, the deployer's too.
    ///
    /// # Errors
    /// When a build fails.
    pub async fn build(&self) -> anyhow::Result<()> {
        self.stack.compose_within(BUILD_LIMIT, &["--profile", "deploy", "build", "--quiet"]).await.map(drop)
    }

    /// The secret of a hook.
    pub fn secret(&self, hook: &str) -> &str {
        self.secrets.get(hook).map(String::as_str).unwrap_or_default()
    }

    /// Where deliveries are taken: what the proxy is told.
    ///
    /// # Errors
    /// When webhook-deploy does not run.
    pub async fn door(&self) -> anyhow::Result<String> {
        let containers = self.stack.of("webhook-deploy").await?;
        let container = containers.first().context("webhook-deploy does not run")?;
        let network = format!("{}_ops", self.stack.name());
        Ok(format!("http://{}:9480", forge::address_on(&container.id, &network).await?))
    }

    /// `vigie` with these arguments, where NATS is in reach.
    ///
    /// # Errors
    /// When it fails.
    pub async fn vigie(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let run = ["run", "--rm", "--no-deps", "-T", "status", "vigie"];
        self.stack.compose_within(DEPLOY_LIMIT, &[&run[..], arguments].concat()).await
    }

    /// All deploys, the last first.
    ///
    /// # Errors
    /// When the deployer does not answer.
    pub async fn history(&self) -> anyhow::Result<Vec<Deploy>> {
        let lines = self.vigie(&["deploy", "history", "--json"]).await?;
        lines.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }

    /// Waits for a deploy that was not there yet.
    ///
    /// # Errors
    /// When none ends in time.
    pub async fn next_deploy(&self, before: usize) -> anyhow::Result<Deploy> {
        let began = Instant::now();
        let mut last = None;
        loop {
            match self.history().await {
                Ok(all) if all.len() > before => {
                    return all.into_iter().next().context("expected a deploy");
                }
                Ok(_) => {}
                // The deployer may just be dead.
                Err(error) => last = Some(error),
            }
            ensure!(began.elapsed() < DEPLOY_LIMIT, "no deploy ended in time; {last:?}");
            sleep(POLL).await;
        }
    }

    /// What runs of the bot and is replaced by deploys.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn running(&self) -> anyhow::Result<Running> {
        let label = format!("label=com.docker.compose.project={}", self.stack.name());
        let format = format!(
            "{{{{.ID}}}}|{{{{.Label \"com.docker.compose.service\"}}}}|\
             {{{{.Label \"com.docker.compose.oneoff\"}}}}|{{{{.Label {:?}}}}}",
            self.label
        );
        let told = docker(&["ps", "--filter", &label, "--format", &format]).await?;
        let mut running = Running::new();
        for line in told.lines() {
            let words: Vec<&str> = line.split('|').collect();
            let [id, service, oneoff, version] = words[..] else { continue };
            if oneoff == "False" && !OTHERS.contains(&service) {
                running.entry(service.to_owned()).or_default().push((id.to_owned(), version.to_owned()));
            }
        }
        Ok(running)
    }

    /// What the image of the deployer says of itself.
    ///
    /// # Errors
    /// When there is not one that runs.
    pub async fn deployer(&self) -> anyhow::Result<String> {
        let containers = self.stack.of("deployer").await?;
        let [container] = &containers[..] else { bail!("expected one deployer, found {}", containers.len()) };
        let format = format!("{{{{index .Config.Labels {:?}}}}}", self.label);
        Ok(docker(&["inspect", "--format", &format, &container.id]).await?.trim().to_owned())
    }

    /// Waits until these words are said of the deployer itself in the last deploy. It must be of this version then.
    ///
    /// # Errors
    /// When they are not said in time, or it is not.
    pub async fn deployer_becomes(&self, version: &str, words: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            // While it changes, nobody may answer.
            let said = match self.history().await {
                Ok(all) => all.into_iter().next().map_or_else(String::new, |deploy| deploy.words),
                Err(error) => format!("{error:#}"),
            };
            if said.contains(words) {
                let found = self.deployer().await?;
                ensure!(found == version, "the deployer is of {found:?}, expected {version}");
                return Ok(());
            }
            ensure!(began.elapsed() < DEPLOY_LIMIT, "expected {words:?} of the deployer, found {said:?}");
            sleep(POLL).await;
        }
    }

    /// What somebody on Twitch is answered to a command.
    ///
    /// # Errors
    /// When nothing is answered.
    pub async fn ask(&self, text: &str) -> anyhow::Result<String> {
        let question = json!({ "platform": "twitch", "text": text, "within_ms": 4000 });
        Ok(http::post(&self.stack.url, "/sandbox/ask", &question, ANSWER_LIMIT).await?.to_string())
    }
}

/// As the docs say: for the user of the containers.
fn hand_over(file: &Path, mode: u32) -> anyhow::Result<()> {
    chown(file, Some(USER), None).with_context(|| format!("chown {USER} {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
    Ok(())
}
