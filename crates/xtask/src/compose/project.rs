//! A Compose project of `compose.yaml`: its settings, its start and end, its containers and what happens to them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use testkit::free_port;
use tokio::process::Command;

use super::docker::{LIMIT, docker, output, output_within, with_engine};
use crate::paths;

/// What the names of all projects of this command begin with; nothing else may be called so.
const PREFIX: &str = "vigie-trial-";
/// An image with a shell, which runs anyway.
const SHELL_IMAGE: &str = "nats:2.15-alpine";

/// What the sandbox of `deploy/compose/trial.yaml` has on Twitch.
const TWITCH_CHANNELS: [&str; 8] = [
    "vigie_demo",
    "quiet_corner",
    "channel_0000",
    "channel_0001",
    "channel_0002",
    "channel_0003",
    "channel_0004",
    "channel_0005",
];

/// A project.
pub struct Project {
    name: String,
    image: String,
    settings: String,
    /// Where its compose file is.
    folder: PathBuf,
    env_file: PathBuf,
    files: Vec<PathBuf>,
    /// `http://127.0.0.1:PORT` of its sandbox.
    pub url: String,
}

/// A running container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// The service that it belongs to.
    pub service: String,
    /// `healthy`, `unhealthy` or `starting`; empty without a health check.
    pub health: String,
}

impl Project {
    /// A project with the settings of `.env.example` and free ports.
    ///
    /// # Errors
    /// When its settings cannot be written.
    pub fn new(name: &str, folder: &Path, image: &str) -> anyhow::Result<Self> {
        Self::with(name, image, paths::root(), folder.join(format!("{name}.env")))
    }

    /// A project of a checkout of its own, with its settings in the `.env` of that.
    ///
    /// # Errors
    /// As [`Project::new`].
    pub fn of_checkout(name: &str, folder: &Path, image: &str) -> anyhow::Result<Self> {
        Self::with(name, image, folder.to_owned(), folder.join(".env"))
    }

    fn with(name: &str, image: &str, folder: PathBuf, env_file: PathBuf) -> anyhow::Result<Self> {
        let (repository, tag) = image.rsplit_once(':').context("expected an image with a tag")?;
        let port = free_port();
        let mut settings = fs::read_to_string(folder.join(".env.example"))?;
        // What comes later in such a file holds.
        let _ = write!(
            settings,
            "\nVIGIE_IMAGE={repository}\nVIGIE_TAG={tag}\nSANDBOX_PORT={port}\nHEALTHCHECK_PORT=0\n"
        );
        let project = Self {
            name: format!("{PREFIX}{name}"),
            image: image.to_owned(),
            settings,
            env_file,
            files: vec![folder.join("compose.yaml")],
            folder,
            url: format!("http://127.0.0.1:{port}"),
        };
        project.save()?;
        Ok(project)
    }

    /// With one more setting.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let _ = writeln!(self.settings, "{name}={value}");
        self.save()
    }

    /// With a sandbox that is no part of the demo: the services are told of it as of the real platforms.
    /// Nothing limits the bot, so that nothing but Vigie decides what is answered.
    #[must_use]
    pub fn without_limits(mut self, guilds: u32) -> Self {
        let _ = write!(
            self.settings,
            "TRIAL_GUILDS={guilds}\nCOMMAND_COOLDOWN=0\nDISCORD_TOKEN=sandbox-token\n\
             DISCORD_API_URL=http://sandbox:7700\nDISCORD_REQUESTS_PER_SECOND=1000\n\
             TWITCH_USERNAME=vigie_bot\nTWITCH_OAUTH_TOKEN=oauth:sandbox-token\nTWITCH_CLIENT_ID=sandbox-client\n\
             TWITCH_CLIENT_SECRET=sandbox-secret\nTWITCH_CHANNELS={}\n\
             TWITCH_IRC_URL=irc://sandbox:7701\nTWITCH_API_URL=http://sandbox:7700\n\
             TWITCH_AUTH_URL=http://sandbox:7700\nTWITCH_MESSAGES_PER_30S=7500\n",
            TWITCH_CHANNELS.join(",")
        );
        self.files.push(self.folder.join("deploy/compose/trial.yaml"));
        self
    }

    /// With a small disk for NATS, which a trial can fill.
    #[must_use]
    pub fn on_a_small_disk(mut self) -> Self {
        self.files.push(self.folder.join("deploy/compose/small-disk.yaml"));
        self
    }

    fn save(&self) -> anyhow::Result<()> {
        fs::write(&self.env_file, &self.settings)
            .with_context(|| format!("cannot write {}", self.env_file.display()))
    }

    /// A program that works on this project, by the variables that Compose knows.
    fn command(&self, program: &str) -> Command {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let mut command = with_engine(Command::new(program));
        command.current_dir(&self.folder);
        command.env("COMPOSE_PROJECT_NAME", &self.name).env("COMPOSE_ENV_FILES", &self.env_file);
        command.env("COMPOSE_FILE", files.join(":"));
        command
    }

    /// `docker compose` with these arguments.
    ///
    /// # Errors
    /// When it fails.
    pub async fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.compose_within(LIMIT, arguments).await
    }

    /// The same, in another time.
    ///
    /// # Errors
    /// When it fails.
    pub async fn compose_within(&self, limit: Duration, arguments: &[&str]) -> anyhow::Result<String> {
        self.save()?;
        output_within(limit, self.command("docker").arg("compose").args(arguments)).await
    }

    /// `docker compose [PROFILE] up --detach --wait ARGUMENTS`; how long it took.
    ///
    /// # Errors
    /// When something does not get healthy; the message says what it logged.
    pub async fn up(&self, before: &[&str], arguments: &[&str]) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let up = self.compose(&[before, &["up", "--detach", "--wait"], arguments].concat()).await;
        if let Err(error) = up {
            let said = self.compose(&[before, &["logs", "--tail", "5", "--no-color"]].concat()).await;
            return Err(
                error.context(format!("it does not come up; its last words:\n{}", said.unwrap_or_default()))
            );
        }
        Ok(began.elapsed())
    }

    /// Replaces a service as `deploy/compose/roll.sh` does for everybody.
    ///
    /// # Errors
    /// When the new one does not get healthy.
    pub async fn roll(&self, service: &str) -> anyhow::Result<()> {
        output(self.command("deploy/compose/roll.sh").arg(service)).await.map(drop)
    }

    /// Ends it and forgets all it kept.
    ///
    /// # Errors
    /// When that fails.
    pub async fn down(&self) -> anyhow::Result<()> {
        end(&self.name).await
    }

    /// Its running containers.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self) -> anyhow::Result<Vec<Container>> {
        let wanted = "{{.ID}}|{{.Label \"com.docker.compose.service\"}}|{{.Status}}";
        let told = docker(&["ps", "--filter", &label(&self.name), "--format", wanted]).await?;
        Ok(told.lines().filter_map(read).collect())
    }

    /// The running containers of a service.
    ///
    /// # Errors
    /// When there is none.
    pub async fn of(&self, service: &str) -> anyhow::Result<Vec<Container>> {
        let mut all = self.containers().await?;
        all.retain(|container| container.service == service);
        ensure!(!all.is_empty(), "{service} does not run");
        Ok(all)
    }

    /// Kills what runs in a container with -9, as a crash would end it. `docker kill` would not do: it counts as
    /// a stop that somebody asked for, after which nothing is started again.
    ///
    /// # Errors
    /// When nothing was killed.
    pub async fn crash(&self, container: &Container) -> anyhow::Result<()> {
        let process = docker(&["inspect", "--format", "{{.State.Pid}}", &container.id]).await?;
        // Nothing inside a container may kill its first process: it is done from the machine's side.
        let mut arguments = vec!["run", "--rm", "--network", "none", "--pid", "host", "--user", "0"];
        arguments.extend([
            "--cap-drop",
            "ALL",
            "--cap-add",
            "KILL",
            "--entrypoint",
            "kill",
            SHELL_IMAGE,
            "-9",
        ]);
        arguments.push(process.trim());
        docker(&arguments).await.map(drop)
    }

    /// Takes a container off a network, or puts it back under its name.
    ///
    /// # Errors
    /// When that fails.
    pub async fn plug(&self, container: &Container, network: &str, is_in: bool) -> anyhow::Result<()> {
        let network = format!("{}_{network}", self.name);
        let arguments = if is_in {
            vec!["network", "connect", "--alias", &container.service, &network, &container.id]
        } else {
            vec!["network", "disconnect", &network, &container.id]
        };
        docker(&arguments).await.map(drop)
    }

    /// Runs a shell on the volume of NATS, beside NATS.
    ///
    /// # Errors
    /// When the shell fails.
    pub async fn on_volume(&self, script: &str) -> anyhow::Result<String> {
        let volume = format!("{}_nats-data:/data", self.name);
        docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--volume",
            &volume,
            "--entrypoint",
            "sh",
            SHELL_IMAGE,
            "-c",
            script,
        ])
        .await
    }

    /// Keeps the volume of NATS mounted when NATS itself is away: a disk in memory would be gone then.
    ///
    /// # Errors
    /// When that fails.
    pub async fn hold_volume(&self) -> anyhow::Result<()> {
        let (volume, label) =
            (format!("{}_nats-data:/data", self.name), format!("com.docker.compose.project={}", self.name));
        let mut arguments =
            vec!["run", "--detach", "--network", "none", "--volume", &volume, "--label", &label];
        arguments.extend(["--init", "--entrypoint", "sleep", SHELL_IMAGE, "86400"]);
        docker(&arguments).await.map(drop)
    }

    /// The name by which Docker knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image of the services.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }
}

/// Ends every project of this command, also those that another run has left.
///
/// # Errors
/// When that fails.
pub async fn end_all() -> anyhow::Result<()> {
    let all = docker(&["ps", "--all", "--format", "{{.Label \"com.docker.compose.project\"}}"]).await?;
    let mut names: Vec<&str> = all.lines().filter(|name| name.starts_with(PREFIX)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        end(name).await?;
    }
    Ok(())
}

/// By label, so that what no profile names, and what was started beside it, goes too.
async fn end(name: &str) -> anyhow::Result<()> {
    for (list, remove) in [
        (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls", "--quiet"], &["network", "rm"]),
        (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
    ] {
        let label = label(name);
        let found = docker(&[list, &["--filter", &label]].concat()).await?;
        let found: Vec<&str> = found.split_whitespace().collect();
        if !found.is_empty() {
            docker(&[remove, &found[..]].concat()).await?;
        }
    }
    Ok(())
}

/// `ID|SERVICE|Up 5 seconds (healthy)`; `None` for what is no service of the project.
fn read(line: &str) -> Option<Container> {
    let mut words = line.split('|');
    let (id, service, status) = (words.next()?, words.next()?, words.next()?);
    let health = status.rsplit_once('(').and_then(|(_, end)| end.strip_suffix(')'));
    (!service.is_empty()).then(|| Container {
        id: id.to_owned(),
        service: service.to_owned(),
        health: health.unwrap_or_default().trim_start_matches("health: ").to_owned(),
    })
}

fn label(name: &str) -> String {
    format!("label=com.docker.compose.project={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_from_the_status() {
        let health = |line: &str| read(line).map(|container| container.health);
        assert_eq!(health("1|nats|Up 5 seconds (healthy)").as_deref(), Some("healthy"));
        assert_eq!(health("1|nats|Up 5 seconds (health: starting)").as_deref(), Some("starting"));
        assert_eq!(health("1|keys|Up 5 seconds").as_deref(), Some(""));
        assert_eq!(health("1||Up 5 seconds"), None);
    }
}
