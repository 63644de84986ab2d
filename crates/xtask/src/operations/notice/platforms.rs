//! What gateways and streams have: a channel that is closed to the bot, platforms that are away, a NATS that has
//! forgotten everything; and a service that ends again and again.

use std::{path::Path, time::Duration};

use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;
use testkit::free_port;
use tokio::time::{Instant, sleep};

use super::{Row, Trial};
use crate::{http, operations::site::Site, parts, process::Process};

/// The service that ends; without a token it does nothing else.
const WEAK: &str = "discord-gateway";
/// Long enough between two starts that the watch has heard each.
const BETWEEN_STARTS: Duration = Duration::from_secs(12);
/// How long the sandbox may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The bot's account on Twitch.
const BOT: &str = "vigie_bot";

/// A local Discord and a local Twitch.
struct Platforms {
    process: Process,
    arguments: [String; 8],
    url: String,
    irc: String,
}

impl Platforms {
    async fn start(site: &Site) -> anyhow::Result<Self> {
        let [http, irc] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let (any, url) = ("127.0.0.1:0", format!("http://{http}"));
        let arguments = ["--http", &http, "--irc", &irc, "--irc-tls", any, "--irc-ws", any];
        let arguments = arguments.map(str::to_owned);
        let process = run(&site.binary("sandbox"), &arguments, &site.folder)?;
        parts::ready(&url).await.context("the sandbox")?;
        Ok(Self { process, arguments, url, irc })
    }

    async fn happens(&self, what: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        http::post(&self.url, &format!("/sandbox/twitch/{what}"), body, ANSWER_LIMIT).await.map(drop)
    }
}

fn run(program: &Path, arguments: &[String], folder: &Path) -> anyhow::Result<Process> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start("sandbox", program, &arguments, &[], folder)
}

impl Trial {
    /// A channel is closed to the bot; then both platforms are away.
    pub(super) async fn platforms(&mut self) -> anyhow::Result<Vec<Row>> {
        let mut platforms = Platforms::start(&self.site).await?;
        let listed = http::get(&platforms.url, "/sandbox/channels?platform=twitch", ANSWER_LIMIT).await?;
        let channel = listed[0]["login"].as_str().context("the sandbox has no channel")?.to_owned();
        let discord = [
            ("DISCORD_TOKEN", "sandbox-token".to_owned()),
            ("DISCORD_API_URL", platforms.url.clone()),
            ("DISCORD_GATEWAY_URL", format!("{}/gateway", platforms.url.replace("http", "ws"))),
        ];
        let twitch = [
            ("TWITCH_USERNAME", BOT.to_owned()),
            ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
            ("TWITCH_CHANNELS", channel.clone()),
            ("TWITCH_IRC_URL", format!("irc://{}", platforms.irc)),
            ("TWITCH_API_URL", platforms.url.clone()),
            ("TWITCH_AUTH_URL", platforms.url.clone()),
        ];
        for (name, settings) in [("discord-gateway", &discord[..]), ("twitch-gateway", &twitch)] {
            self.kept.retain(|service| service.process.name != name);
            let gateway = self.site.service(name, settings)?;
            parts::ready(&gateway.url).await.context(name)?;
            self.kept.push(gateway);
        }
        self.watch.works().await?;
        let at = Instant::now();
        platforms.happens("suspend", &json!({ "channel": channel, "suspended": true })).await?;
        platforms.happens("drop", &json!({})).await?;
        let told = Some(self.watch.told(at, "channels", "warning").await?);
        let mut refused = Row { fault: "Twitch does not let the bot into a channel", told, ..Row::default() };
        let at = Instant::now();
        platforms.happens("suspend", &json!({ "channel": channel, "suspended": false })).await?;
        refused.over = Some(self.watch.over(at, "channels").await?);

        let at = Instant::now();
        platforms.process.signal(Signal::KILL)?;
        let mut unready =
            self.noticed("Discord and Twitch are away: gateways are not ready", "unready", at).await?;
        let told = Some(self.watch.told(at, "shards", "warning").await?);
        let mut shards = Row { fault: "the same: shards without a session", told, ..Row::default() };
        let at = Instant::now();
        platforms.process = run(&self.site.binary("sandbox"), &platforms.arguments, &self.site.folder)?;
        self.mended(&mut unready, "unready", at).await?;
        shards.over = Some(self.watch.over(at, "shards").await?);
        self.held.push(Box::new(platforms));
        Ok(vec![refused, unready, shards])
    }

    /// Killed three times, and started at once, as by a supervisor.
    pub(super) async fn again_and_again(&mut self) -> anyhow::Result<Vec<Row>> {
        let mut service = self.site.service(WEAK, &[])?;
        let mut killed = Vec::new();
        for _ in 0..3 {
            parts::ready(&service.url).await.context(WEAK)?;
            sleep(BETWEEN_STARTS).await;
            service.process.signal(Signal::KILL)?;
            killed.push(Instant::now());
            service = self.site.service(WEAK, &[])?;
        }
        let mut rows = Vec::new();
        for (fault, rule, at) in [
            ("a service ends by itself for the second time within an hour", "failures", killed[1]),
            ("and for the third time within ten minutes", "restarts", killed[2]),
        ] {
            rows.push(Row {
                fault,
                told: Some(self.watch.told(at, rule, "warning").await?),
                ..Row::default()
            });
        }
        self.kept.push(service);
        Ok(rows)
    }

    /// NATS comes back at once, with an empty disk, and nobody makes its streams until somebody is told.
    pub(super) async fn streams(&mut self) -> anyhow::Result<Row> {
        let at = Instant::now();
        self.site.empty_nats()?;
        let mut row = self.noticed("NATS has lost its streams", "streams", at).await?;
        let at = Instant::now();
        self.site.provision()?;
        row.over = Some(self.watch.over(at, "streams").await?);
        Ok(row)
    }
}
