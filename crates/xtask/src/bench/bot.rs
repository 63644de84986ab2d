//! The two bots that are measured, and the sandbox that stands for Discord.

use std::{
    collections::BTreeMap,
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

/// How long the sandbox and the services may take to answer a question.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);

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

/// Which bot, and where it lives.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which bot.
    pub kind: Kind,
    /// Guilds the bot is in.
    pub guilds: u32,
    /// Whether Discord limits what a bot sends, as it does.
    pub limits: bool,
}

/// A running sandbox with a bot in it.
pub struct Running {
    /// The sandbox's URL.
    pub url: String,
    /// The bot's processes.
    pub bot: Vec<Process>,
    /// Where its services tell their numbers, by name.
    services: BTreeMap<&'static str, String>,
    _sandbox: Process,
    folder: tempfile::TempDir,
}

/// Starts both and waits until the bot answers.
pub async fn start(setup: Setup, nats_server: &Path) -> anyhow::Result<Running> {
    let folder = tempfile::tempdir_in(paths::target())?;
    let [http_port, irc_port] = [free_port(), free_port()];
    let url = format!("http://127.0.0.1:{http_port}");
    let (http_address, irc_address) = (format!("127.0.0.1:{http_port}"), format!("127.0.0.1:{irc_port}"));
    let extra = setup.guilds.saturating_sub(1).to_string();
    let mut arguments = vec!["--http", &http_address, "--irc", &irc_address, "--irc-tls", "127.0.0.1:0"];
    arguments.extend(["--irc-ws", "127.0.0.1:0", "--extra-guilds", &extra]);
    if !setup.limits {
        arguments.push("--no-limits");
    }
    let sandbox = Process::start("sandbox", &release("sandbox"), &arguments, &[], folder.path())?;
    ready(&url).await?;
    let mut running = Running { url, bot: Vec::new(), services: BTreeMap::new(), _sandbox: sandbox, folder };
    match setup.kind {
        Kind::Monolith => running.add_monolith()?,
        Kind::Vigie | Kind::InMemory => running.add_vigie(setup, &irc_address, nats_server).await?,
    }
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
            match http::post(&self.url, "/sandbox/ask", &question, ANSWER_LIMIT).await {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > READY_LIMIT => {
                    return Err(error.context("the bot does not answer"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Runs a load to its end and gives the sandbox's report of it. Loads of different names may run at once.
    pub async fn load(&self, plan: &Value) -> anyhow::Result<Value> {
        http::post(&self.url, "/sandbox/load", plan, ANSWER_LIMIT).await?;
        let path = format!("/sandbox/load?name={}", plan["name"].as_str().unwrap_or_default());
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let report = http::get(&self.url, &path, ANSWER_LIMIT).await?;
            if report["phase"] == "done" {
                return Ok(report);
            }
        }
    }

    /// What a service counts under the name of a metric, by label; one without labels under an empty one.
    pub async fn counted(&self, service: &str, metric: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let url = self.services.get(service).with_context(|| format!("{service} does not run"))?;
        let text = http::get(url, "/metrics", ANSWER_LIMIT).await?;
        Ok(counts(text.as_str().unwrap_or_default(), metric))
    }

    fn add_monolith(&mut self) -> anyhow::Result<()> {
        let variables =
            [("DISCORD_TOKEN", "sandbox-token".to_owned()), ("DISCORD_API_URL", self.url.clone())];
        let program = release("examples/monolith");
        self.bot.push(Process::start("monolith", &program, &[], &variables, self.folder.path())?);
        Ok(())
    }

    async fn add_vigie(&mut self, setup: Setup, irc: &str, nats_server: &Path) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let (nats, port) = parts::nats(nats_server, folder)?;
        self.bot.push(nats);
        let storage = if setup.kind == Kind::InMemory { "memory" } else { "file" };
        let requests = if setup.limits { 50 } else { 1000 };
        let settings = |address: &str, token: &str| -> Vec<(&'static str, String)> {
            vec![
                ("NATS_URL", format!("nats://127.0.0.1:{port}")),
                ("VIGIE_HTTP_ADDR", address.to_owned()),
                ("NATS_STORAGE", storage.to_owned()),
                ("LOG_LEVEL", "warn".to_owned()),
                ("COMMAND_COOLDOWN", "0".to_owned()),
                ("DISCORD_TOKEN", token.to_owned()),
                ("DISCORD_API_URL", self.url.clone()),
                ("DISCORD_REQUESTS_PER_SECOND", requests.to_string()),
                ("TWITCH_USERNAME", "vigie_bot".to_owned()),
                ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
                ("TWITCH_CHANNELS", "vigie_demo".to_owned()),
                ("TWITCH_IRC_URL", format!("irc://{irc}")),
                ("TWITCH_API_URL", self.url.clone()),
                ("TWITCH_AUTH_URL", self.url.clone()),
            ]
        };
        let mut provision = std::process::Command::new(release("vigie"));
        provision.arg("provision").env_clear().envs(settings("", ""));
        crate::shell::output(&mut provision)?;
        for name in ["discord-gateway", "twitch-gateway", "command-worker"] {
            let address = format!("127.0.0.1:{}", free_port());
            let variables = settings(&address, "sandbox-token");
            self.bot.push(Process::start(name, &release(name), &[], &variables, folder)?);
            let url = format!("http://{address}");
            ready(&url).await.with_context(|| {
                std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default()
            })?;
            self.services.insert(name, url);
        }
        Ok(())
    }
}

/// Reads the Prometheus text.
fn counts(text: &str, metric: &str) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let (name, count) = line.strip_prefix("vigie_")?.strip_prefix(metric)?.rsplit_once(' ')?;
        let label = match name.strip_prefix("_total")? {
            "" => "",
            labels => labels.split('"').nth(1)?,
        };
        Some((label.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(count).collect()
}

fn release(name: &str) -> std::path::PathBuf {
    paths::target().join("release").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_read_by_its_label() {
        let text = "# TYPE vigie_drops counter\nvigie_drops_total{reason=\"expired\"} 3\n\
                    vigie_drops_other_total 7\nvigie_events_total 5\n";
        assert_eq!(counts(text, "drops"), [("expired".to_owned(), 3)].into());
        assert_eq!(counts(text, "events"), [(String::new(), 5)].into());
    }
}
