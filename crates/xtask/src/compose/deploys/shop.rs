//! Releases as the CI of this project makes them, with its own scripts of `deploy/ci`: a registry on this machine, images
//! pushed to it, `release.json` signed by minisign and told to the bot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use testkit::free_port;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use super::{
    super::docker::{output, output_within, with_engine},
    site::Site,
};
use crate::shell;

/// Programs that the scripts and the registry need, besides Docker and git.
const PROGRAMS: [&str; 6] = ["bash", "curl", "docker-registry", "jq", "minisign", "python3"];
/// Two images are made, one of them with programs that are installed.
const SCRIPT_LIMIT: Duration = Duration::from_secs(560);
const START_TRIES: u32 = 100;
const POLL: Duration = Duration::from_millis(100);

/// The registry, and who publishes there.
pub struct Shop {
    _registry: Child,
    /// The name of the image, without a version.
    pub image: String,
    tree: PathBuf,
    secret: String,
    /// The second line of `vigie.pub`.
    pub public: String,
}

/// What is not installed here; `None` when all is.
#[must_use]
pub fn missing() -> Option<String> {
    let names: Vec<&str> = PROGRAMS.into_iter().filter(|name| shell::find(name).is_none()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

impl Shop {
    /// Opens one that publishes what is in a checkout.
    ///
    /// # Errors
    /// When the registry does not start, or no key can be made.
    pub async fn open(folder: &Path, tree: &Path) -> anyhow::Result<Self> {
        let (port, config) = (free_port(), folder.join("registry.yml"));
        let storage = folder.join("registry").display().to_string();
        let settings = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {storage:?} }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n"
        );
        fs::write(&config, settings)?;
        let mut registry = with_engine(Command::new("docker-registry"));
        registry.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = registry.spawn().context("cannot start docker-registry")?;
        let mut tries = 0;
        while let Err(error) = TcpStream::connect(("127.0.0.1", port)).await {
            tries += 1;
            ensure!(tries < START_TRIES, "the registry does not answer: {error}");
            sleep(POLL).await;
        }
        let (public, secret) = (folder.join("vigie.pub"), folder.join("vigie.key"));
        output(Command::new("minisign").args(["-G", "-W", "-p"]).arg(&public).arg("-s").arg(&secret)).await?;
        let public = fs::read_to_string(&public)?;
        let public = public.lines().nth(1).context("expected a key in the second line")?.to_owned();
        let secret = fs::read_to_string(&secret)?;
        let image = format!("127.0.0.1:{port}/ines/vigie");
        Ok(Self { _registry: registry, image, tree: tree.to_owned(), secret, public })
    }

    /// Makes the images of what is in `dist/` of the checkout, and pushes them.
    ///
    /// # Errors
    /// When a script fails.
    pub async fn publish(&self, version: &str, is_signed: bool) -> anyhow::Result<()> {
        let made = self.tree.join("target/ci").join(architecture());
        if made.exists() {
            fs::remove_dir_all(&made)?;
        }
        fs::create_dir_all(made.parent().unwrap_or(&made))?;
        fs::rename(self.tree.join("dist"), &made)?;
        let image = [("IMAGE", self.image.as_str()), ("VERSION", version)];
        self.script("image.sh", &image).await?;
        let key = if is_signed { self.secret.as_str() } else { "" };
        self.script("sign.sh", &[("MINISIGN_KEY", key)]).await.map(drop)
    }

    /// Puts the release where a bot looks for it. What is not signed lies beside the signature of the one before.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn hand_out(&self, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        for name in ["release.json.minisig", "release.json"] {
            let from = self.tree.join("target/ci").join(name);
            if from.exists() {
                fs::copy(from, to.join(name))?;
            }
        }
        Ok(())
    }

    /// Tells the bot, as the last step of a CI.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn tell(&self, site: &Site) -> anyhow::Result<()> {
        let url = format!("{}/hooks/ci", site.door().await?);
        let settings = [("DEPLOY_WEBHOOK_URL", url.as_str()), ("DEPLOY_WEBHOOK_SECRET", site.secret("ci"))];
        let said = self.script("deploy.sh", &settings).await?;
        ensure!(said.contains("accepted"), "the delivery was answered {said:?}");
        Ok(())
    }

    async fn script(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut script = with_engine(Command::new("bash"));
        script.arg(self.tree.join("deploy/ci").join(name)).current_dir(&self.tree);
        script.envs(settings.iter().copied());
        output_within(SCRIPT_LIMIT, &mut script).await
    }
}

/// This machine's, as Docker calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
