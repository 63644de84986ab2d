//! The forge of the trials: a git server in a container that is reached by ssh, an author who pushes there, and the
//! deliveries that GitHub would send of it. What is pushed is the real tree with binaries in `dist/`, so that the
//! deployer's build packs them and compiles nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use ring::hmac;
use serde_json::{Value, json};
use tokio::{process::Command, time::sleep};

use super::super::docker::{docker, output, output_within, with_engine};
use crate::{http, paths, shell};

/// The image of the git server.
const IMAGE: &str = "vigie-trial-forge";
const DOCKERFILE: &str = include_str!("forge.Dockerfile");
/// Packages are installed into it.
const BUILD_LIMIT: Duration = Duration::from_secs(500);
/// The name of the server on the bot's network, and of its key.
const HOST: &str = "forge";
const REPOSITORY: &str = "/srv/git/bot.git";
/// What it is called in deliveries.
pub const FULL_NAME: &str = "ines/bot";
/// What of the checkout is pushed, besides `dist/`.
const PUSHED: [&str; 5] = ["compose.yaml", "nats.conf", ".env.example", ".gitignore", "deploy"];
/// How long the server may take to answer for the first time.
const START_TRIES: u32 = 100;
const POLL: Duration = Duration::from_millis(200);
/// A delivery is answered within a second; a busy machine may take longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The server and its author.
pub struct Forge {
    container: String,
    address: String,
    keys: PathBuf,
    /// The author's checkout.
    pub author: PathBuf,
}

impl Forge {
    /// Starts a server that belongs to a project, and pushes the first version: the binaries of this image.
    ///
    /// # Errors
    /// When something of that fails.
    pub async fn start(folder: &Path, project: &str, image: &str) -> anyhow::Result<Self> {
        let (keys, author) = (folder.join("keys"), folder.join("author"));
        fs::create_dir_all(&keys)?;
        fs::write(keys.join("Dockerfile"), DOCKERFILE)?;
        let context = keys.display().to_string();
        output_within(
            BUILD_LIMIT,
            with_engine(Command::new("docker")).args(["build", "--quiet", "--tag", IMAGE, &context]),
        )
        .await?;
        for name in ["host", "author", "bot"] {
            let file = keys.join(name).display().to_string();
            let mut keygen = Command::new("ssh-keygen");
            output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file])).await?;
        }
        let public = fs::read_to_string(keys.join("host.pub"))?;
        let key = public.rsplit_once(' ').map_or(public.as_str(), |(key, _)| key);
        fs::write(keys.join("known_hosts"), format!("{HOST} {key}\n"))?;
        let (label, mount) =
            (format!("com.docker.compose.project={project}"), format!("{}:/keys:ro", keys.display()));
        let run = ["run", "--detach", "--init", "--label", &label, "--volume", &mount, IMAGE];
        let container = docker(&run).await?.trim().to_owned();
        let init = ["init", "--quiet", "--bare", "--initial-branch=main", REPOSITORY];
        docker(&[&["exec", "--user", "git", &container, "git"], &init[..]].concat()).await?;
        let address = address_on(&container, "bridge").await?;
        let forge = Self { container, address, keys, author };
        forge.begin(image).await?;
        Ok(forge)
    }

    async fn begin(&self, image: &str) -> anyhow::Result<()> {
        fs::create_dir_all(&self.author)?;
        let listed = shell::output(
            std::process::Command::new("git").arg("ls-files").args(PUSHED).current_dir(paths::root()),
        )?;
        for name in listed.lines() {
            let to = self.author.join(name);
            fs::create_dir_all(to.parent().unwrap_or(&to))?;
            fs::copy(paths::root().join(name), &to).with_context(|| format!("cannot copy {name}"))?;
        }
        super::super::image::unpack(image, &self.author).await?;
        self.git(&self.author, &["init", "--quiet", "--initial-branch=main"]).await?;
        let url = self.url_from_here();
        self.git(&self.author, &["remote", "add", "origin", &url]).await?;
        let mut tries = 0;
        while let Err(error) = self.git(&self.author, &["ls-remote", "origin"]).await {
            tries += 1;
            if tries > START_TRIES {
                return Err(error.context("the forge does not answer"));
            }
            sleep(POLL).await;
        }
        self.push("the first version").await.map(drop)
    }

    /// Puts the server on a network of the bot, under its name.
    ///
    /// # Errors
    /// When there is no such network.
    pub async fn join(&self, network: &str) -> anyhow::Result<()> {
        docker(&["network", "connect", "--alias", HOST, network, &self.container]).await.map(drop)
    }

    /// Clones what was pushed, as somebody who sets up a bot does.
    ///
    /// # Errors
    /// When git fails.
    pub async fn clone_to(&self, folder: &Path) -> anyhow::Result<()> {
        let (url, to) = (self.url_from_here(), folder.display().to_string());
        self.git(&self.keys, &["clone", "--quiet", &url, &to]).await.map(drop)
    }

    /// Its address for the bot.
    pub fn url() -> String {
        format!("ssh://git@{HOST}{REPOSITORY}")
    }

    fn url_from_here(&self) -> String {
        format!("ssh://git@{}{REPOSITORY}", self.address)
    }

    /// The key by which the bot may read, and the host key that it believes.
    pub fn keys_of_bot(&self) -> [PathBuf; 2] {
        [self.keys.join("bot"), self.keys.join("known_hosts")]
    }

    /// Commits all that the author changed and pushes it; the commit.
    ///
    /// # Errors
    /// When git fails.
    pub async fn push(&self, words: &str) -> anyhow::Result<String> {
        self.git(&self.author, &["add", "--all"]).await?;
        self.git(&self.author, &["commit", "--quiet", "--message", words]).await?;
        self.git(&self.author, &["push", "--quiet", "origin", "HEAD:main"]).await?;
        self.newest().await
    }

    /// The newest commit.
    ///
    /// # Errors
    /// When git fails.
    pub async fn newest(&self) -> anyhow::Result<String> {
        Ok(self.git(&self.author, &["rev-parse", "HEAD"]).await?.trim().to_owned())
    }

    /// Brings all files of the author back to those of a commit.
    ///
    /// # Errors
    /// When git fails, as for a commit that is none.
    pub async fn restore(&self, commit: &str) -> anyhow::Result<()> {
        // What is not in it goes too.
        self.git(&self.author, &["read-tree", "--reset", "-u", commit]).await.map(drop)
    }

    async fn git(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let (key, hosts) = (self.keys.join("author"), self.keys.join("known_hosts"));
        let ssh = format!(
            "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o HostKeyAlias={HOST} -o UserKnownHostsFile={} -i {}",
            hosts.display(),
            key.display()
        );
        let mut git = with_engine(Command::new("git"));
        git.current_dir(folder).env("GIT_SSH_COMMAND", ssh);
        git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        // Binaries are large, and go nowhere far.
        git.args(["-c", "core.compression=0", "-c", "user.name=Ines", "-c", "user.email=ines@example.org"]);
        output(git.args(arguments)).await
    }
}

/// Delivers a push of `main` to a hook, as GitHub does and as a proxy hands it on; what was answered.
///
/// # Errors
/// When it is not accepted.
pub async fn deliver(base: &str, hook: &str, secret: &str, commit: &str) -> anyhow::Result<Value> {
    let body = json!({
        "ref": "refs/heads/main",
        "before": "0".repeat(40),
        "after": commit,
        "created": false,
        "deleted": false,
        "forced": false,
        "repository": { "full_name": FULL_NAME, "private": true },
        "head_commit": { "id": commit, "distinct": true },
        "pusher": { "name": "ines" },
    });
    post(base, hook, secret, "push", &body.to_string()).await
}

/// Posts a body with its proof.
///
/// # Errors
/// When it is not accepted.
pub async fn post(base: &str, hook: &str, secret: &str, event: &str, body: &str) -> anyhow::Result<Value> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let proof = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let id = format!("{:032x}", fastrand::u128(..));
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "GitHub-Hookshot/trial"),
        ("X-GitHub-Event", event),
        ("X-GitHub-Delivery", &id),
        ("X-Hub-Signature-256", &format!("sha256={proof}")),
        ("X-Forwarded-For", "192.0.2.7"),
    ];
    http::post_with(base, &format!("/hooks/{hook}"), &headers, body, ANSWER_LIMIT).await
}

/// Where a container is on a network, for this machine.
///
/// # Errors
/// When it is not on it.
pub async fn address_on(container: &str, network: &str) -> anyhow::Result<String> {
    let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
    let address = docker(&["inspect", "--format", &format, container]).await?;
    let address = address.trim();
    ensure!(!address.is_empty(), "the container has no address on {network}");
    Ok(address.to_owned())
}
