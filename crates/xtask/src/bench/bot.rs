//! The two bots that are measured, and the sandbox that stands for Discord.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;
use testkit::free_port;

use crate::{
    http,
    parts::{self, READY_LIMIT, ready},
    paths,
    process::Process,
};

/// Which bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `crates/discord-gateway/examples/monolith.rs`.
    Monolith,
    /// NATS, both gateways, one worker.
    Vigie,
    /// The same with `NATS_STORAGE=memory`.
    InMemory,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Monolith, Self::Vigie, Self::InMemory];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monolith => "twilight monolith",
            Self::Vigie => "Vigie",
            Self::InMemory => "Vigie, streams in memory",
        }
    }
}

/// A running sandbox with a bot in it.
pub struct Running {
    /// The sandbox's URL.
    pub url: String,
    /// The bot's processes.
    pub bot: Vec<Process>,
    _sandbox: Process,
    _folder: tempfile::TempDir,
}

/// Starts both and waits until the bot answers.
pub async fn start(kind: Kind, guilds: u32, nats_server: &Path) -> anyhow::Result<Running> {
    let folder = tempfile::tempdir_in(paths::target())?;
    let [http_port, irc_port] = [free_port(), free_port()];
    let url = format!("http://127.0.0.1:{http_port}");
    let (http_address, irc_address) = (format!("127.0.0.1:{http_port}"), format!("127.0.0.1:{irc_port}"));
    let extra = guilds.saturating_sub(1).to_string();
    let arguments = ["--http", &http_address, "--irc", &irc_address, "--irc-tls", "127.0.0.1:0", "--irc-ws"];
    let arguments = [&arguments[..], &["127.0.0.1:0", "--extra-guilds", &extra, "--no-limits"]].concat();
    let sandbox = Process::start("sandbox", &release("sandbox"), &arguments, &[], folder.path())?;
    ready(&url).await?;
    let bot = match kind {
        Kind::Monolith => vec![monolith(&url, folder.path())?],
        Kind::Vigie => vigie(&url, &irc_address, nats_server, "file", folder.path()).await?,
        Kind::InMemory => vigie(&url, &irc_address, nats_server, "memory", folder.path()).await?,
    };
    let running = Running { url, bot, _sandbox: sandbox, _folder: folder };
    running.answers().await?;
    Ok(running)
}

impl Running {
    async fn answers(&self) -> anyhow::Result<()> {
        let question = serde_json::json!({
            "platform": "discord", "person": "ines", "text": "!ping", "within_ms": 1000,
        });
        let started = Instant::now();
        loop {
            match http::post(&self.url, "/sandbox/ask", &question, Duration::from_secs(5)).await {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > READY_LIMIT => {
                    return Err(error.context("the bot does not answer"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Runs a load to its end and gives the sandbox's report of it.
    pub async fn load(&self, plan: &Value) -> anyhow::Result<Value> {
        http::post(&self.url, "/sandbox/load", plan, Duration::from_secs(5)).await?;
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let report = http::get(&self.url, "/sandbox/load", Duration::from_secs(5)).await?;
            if report["phase"] == "done" {
                return Ok(report);
            }
        }
    }
}

fn monolith(url: &str, folder: &Path) -> anyhow::Result<Process> {
    let variables = [("DISCORD_TOKEN", "sandbox-token".to_owned()), ("DISCORD_API_URL", url.to_owned())];
    Process::start("monolith", &release("examples/monolith"), &[], &variables, folder)
}

async fn vigie(
    url: &str,
    irc: &str,
    nats_server: &Path,
    storage: &str,
    folder: &Path,
) -> anyhow::Result<Vec<Process>> {
    let port = free_port();
    let config = folder.join("nats.conf");
    std::fs::write(&config, parts::nats_config(port, folder))?;
    let config = config.to_str().context("the path is not UTF-8")?;
    let nats = Process::start(
        "nats-server",
        nats_server,
        &["--config", config],
        &[("GOMAXPROCS", "1".to_owned())],
        folder,
    )?;
    let settings = |name: &str| -> Vec<(&'static str, String)> {
        vec![
            ("NATS_URL", format!("nats://127.0.0.1:{port}")),
            ("VIGIE_HTTP_ADDR", format!("127.0.0.1:{}", free_port())),
            ("NATS_STORAGE", storage.to_owned()),
            ("LOG_LEVEL", "warn".to_owned()),
            ("COMMAND_COOLDOWN", "0".to_owned()),
            ("DISCORD_TOKEN", if name == "vigie" { String::new() } else { "sandbox-token".to_owned() }),
            ("DISCORD_API_URL", url.to_owned()),
            ("DISCORD_REQUESTS_PER_SECOND", "1000".to_owned()),
            ("TWITCH_USERNAME", "vigie_bot".to_owned()),
            ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
            ("TWITCH_CHANNELS", "vigie_demo".to_owned()),
            ("TWITCH_IRC_URL", format!("irc://{irc}")),
            ("TWITCH_API_URL", url.to_owned()),
            ("TWITCH_AUTH_URL", url.to_owned()),
        ]
    };
    let mut provision = std::process::Command::new(release("vigie"));
    provision.arg("provision").env_clear().envs(settings("vigie"));
    crate::shell::output(&mut provision)?;
    let mut processes = vec![nats];
    for name in ["discord-gateway", "twitch-gateway", "command-worker"] {
        let variables = settings(name);
        let address =
            variables.iter().find(|(name, _)| *name == "VIGIE_HTTP_ADDR").map(|(_, value)| value.clone());
        processes.push(Process::start(name, &release(name), &[], &variables, folder)?);
        let address = address.unwrap_or_default();
        ready(&format!("http://{address}")).await.with_context(|| {
            std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default()
        })?;
    }
    Ok(processes)
}

fn release(name: &str) -> std::path::PathBuf {
    paths::target().join("release").join(name)
}
