//! All parts of a run, each behind its own proxies: how they are started, and how they end.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};
use testkit::{Proxy, free_port};
use tokio::time::{Instant, sleep, timeout};

use super::{
    kinds::{Platform, Role},
    ledger::Place,
    part::{Links, Part, Recipe},
};
use crate::{http, parts, paths, process::Process};

/// Quiet guilds beside the demo one: Discord keeps more events for a resume the more guilds there are.
const EXTRA_GUILDS: &str = "20";
/// Channels of each platform in which people talk. So many that what is said in one during a fault is
/// less than the 16 replies that may wait in a channel: what is shed by that rule is no matter of faults.
const CHANNELS: usize = 8;
/// So often that a gateway notices during a fault that nobody acknowledges its heartbeats, and so seldom
/// that Discord does not end the session of one that is frozen for 8 s: it waits for twice that time.
const HEARTBEAT_MS: &str = "12000";
/// How long the sandbox may take to answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the parts.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// How long all parts may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The bot's account on Twitch.
const TWITCH_BOT: &str = "vigie_bot";

/// How large the whole is, and which build.
#[derive(Clone, Debug)]
pub struct Size {
    /// Gateways of each platform.
    pub gateways: usize,
    /// Workers.
    pub workers: usize,
    /// Where the binaries are.
    pub binaries: PathBuf,
    /// nats-server.
    pub nats_server: PathBuf,
    /// Where logs and data are.
    pub folder: PathBuf,
}

/// What runs.
pub struct Stack {
    /// The sandbox's URL.
    pub url: String,
    /// Where NATS is, without a proxy.
    pub nats_url: String,
    /// Where people talk.
    pub places: Vec<Place>,
    /// Every part, NATS and the sandbox first.
    pub parts: Vec<Part>,
    /// Ends with this.
    _provision: Process,
    began: Instant,
    incidents: Mutex<Vec<(Duration, String)>>,
}

impl Stack {
    /// Starts everything.
    ///
    /// # Errors
    /// When a part cannot be started or is not ready in time.
    pub async fn start(size: &Size) -> anyhow::Result<Self> {
        let binaries = keep_binaries(size)?;
        let [nats_port, http, irc] = [free_port(), free_port(), free_port()];
        let url = format!("http://127.0.0.1:{http}");
        let began = Instant::now();
        let mut parts = vec![nats(size, nats_port)?, sandbox(size, &binaries, http, irc)?];
        parts::ready(&url).await.context("the sandbox")?;
        let places = places(&url).await?;
        let site = Site { size, binaries: &binaries, nats_port, http, irc, twitch: logins(&places) };
        let provision = site.provision()?;
        for (role, count) in [
            (Role::DiscordGateway, size.gateways),
            (Role::TwitchGateway, size.gateways),
            (Role::Worker, size.workers),
        ] {
            for number in 1..=count {
                parts.push(site.service(role, number).await?);
            }
        }
        let nats_url = format!("nats://127.0.0.1:{nats_port}");
        Ok(Self { url, nats_url, places, parts, _provision: provision, began, incidents: Mutex::default() })
    }

    /// Time since the beginning of the run.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// One of the parts of a role.
    pub fn pick(&self, role: Role, which: usize) -> Option<&Part> {
        let of_role: Vec<&Part> = self.parts.iter().filter(|part| part.role == role).collect();
        of_role.get(which % of_role.len().max(1)).copied()
    }

    /// The channels of a platform, or all.
    pub fn places_of(&self, platform: Option<Platform>) -> Vec<Place> {
        let hit = |place: &&Place| platform.is_none_or(|platform| place.platform == platform);
        self.places.iter().filter(hit).cloned().collect()
    }

    /// Looks after the parts for ever.
    ///
    /// # Errors
    /// When one cannot be started again.
    pub async fn tend(&self) -> anyhow::Result<()> {
        loop {
            for part in &self.parts {
                if let Some(news) = part.tend()? {
                    self.incidents().push((self.now(), news));
                }
            }
            sleep(TEND_EVERY).await;
        }
    }

    /// What happened that nobody had asked for.
    pub fn incidents(&self) -> std::sync::MutexGuard<'_, Vec<(Duration, String)>> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything: those who use NATS and the sandbox first. What does not end in time is killed.
    pub async fn end(self) {
        let (servers, services): (Vec<&Part>, Vec<&Part>) =
            self.parts.iter().partition(|part| matches!(part.role, Role::Nats | Role::Sandbox));
        for group in [services, servers] {
            group.iter().for_each(|part| part.leave());
            let gone = async {
                while !group.iter().all(|part| part.is_gone()) {
                    sleep(TEND_EVERY).await;
                }
            };
            // Dropping the parts kills what is left.
            let _ = timeout(END_LIMIT, gone).await;
        }
    }
}

/// Whoever builds meanwhile must not change what is being tried: the binaries are copied.
fn keep_binaries(size: &Size) -> anyhow::Result<PathBuf> {
    let folder = size.folder.join("bin");
    std::fs::create_dir_all(&folder)?;
    for name in paths::BINARIES {
        let from = size.binaries.join(name);
        std::fs::copy(&from, folder.join(name))
            .with_context(|| format!("cannot copy {}; is it built?", paths::shown(&from)))?;
    }
    Ok(folder)
}

fn nats(size: &Size, port: u16) -> anyhow::Result<Part> {
    let config = size.folder.join("nats.conf");
    std::fs::write(&config, parts::nats_config(port, &size.folder))?;
    let recipe = Recipe {
        program: size.nats_server.clone(),
        arguments: vec!["--config".to_owned(), config.display().to_string()],
        variables: vec![("GOMAXPROCS", "1".to_owned())],
        folder: size.folder.clone(),
    };
    Part::start("nats-server".to_owned(), Role::Nats, recipe, Links::default())
}

fn sandbox(size: &Size, binaries: &Path, http: u16, irc: u16) -> anyhow::Result<Part> {
    let (http, irc, shards) =
        (format!("127.0.0.1:{http}"), format!("127.0.0.1:{irc}"), size.gateways.to_string());
    let extra_channels = CHANNELS.to_string();
    let arguments = [
        ("--http", http.as_str()),
        ("--irc", &irc),
        ("--irc-tls", "127.0.0.1:0"),
        ("--irc-ws", "127.0.0.1:0"),
        ("--extra-guilds", EXTRA_GUILDS),
        ("--extra-channels", &extra_channels),
        ("--shards", &shards),
        ("--heartbeat-ms", HEARTBEAT_MS),
    ];
    let arguments = arguments.iter().flat_map(|(name, value)| [*name, *value]).chain(["--no-limits"]);
    let recipe = Recipe {
        program: binaries.join("sandbox"),
        arguments: arguments.map(str::to_owned).collect(),
        variables: vec![],
        folder: size.folder.clone(),
    };
    Part::start("sandbox".to_owned(), Role::Sandbox, recipe, Links::default())
}

/// Where people talk: on Discord the first channels that the bot sees and may write in; on Twitch the
/// first there are, in all of which the bot becomes moderator, for it may not say much elsewhere.
async fn places(url: &str) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for (platform, key) in [(Platform::Discord, "id"), (Platform::Twitch, "login")] {
        let path = format!("/sandbox/channels?platform={}", platform.name());
        let listed = http::get(url, &path, ANSWER_LIMIT).await?;
        let silent = |one: &&Value| one["name"] != "announcements" && one["name"] != "staff";
        let usable = listed.as_array().into_iter().flatten().filter(silent);
        let ids = usable.filter_map(|one| one[key].as_str()).take(CHANNELS);
        places.extend(ids.map(|id| Place { platform, channel: id.to_owned() }));
    }
    for place in places.iter().filter(|place| place.platform == Platform::Twitch) {
        let body = json!({ "channel": place.channel, "login": TWITCH_BOT, "standing": "moderator" });
        http::post(url, "/sandbox/twitch/standing", &body, ANSWER_LIMIT).await?;
    }
    Ok(places)
}

fn logins(places: &[Place]) -> String {
    let twitch = places.iter().filter(|place| place.platform == Platform::Twitch);
    twitch.map(|place| place.channel.as_str()).collect::<Vec<_>>().join(",")
}

/// What the services are told of the place they run in.
struct Site<'a> {
    size: &'a Size,
    binaries: &'a Path,
    nats_port: u16,
    http: u16,
    irc: u16,
    twitch: String,
}

impl Site<'_> {
    /// Creates what is needed, and stays to do so again whenever NATS comes back, as under Compose.
    fn provision(&self) -> anyhow::Result<Process> {
        let program = self.binaries.join("vigie");
        let nats = format!("nats://127.0.0.1:{}", self.nats_port);
        let mut once = std::process::Command::new(&program);
        once.arg("provision").env_clear().env("NATS_URL", &nats);
        crate::shell::output(&mut once)?;
        Process::start(
            "provision",
            &program,
            &["provision", "--stay"],
            &[("NATS_URL", nats)],
            &self.size.folder,
        )
    }

    async fn service(&self, role: Role, number: usize) -> anyhow::Result<Part> {
        let name = match role {
            Role::DiscordGateway => "discord-gateway",
            Role::TwitchGateway => "twitch-gateway",
            _ => "command-worker",
        };
        let proxy = async |port: u16| Proxy::start(format!("127.0.0.1:{port}")).await;
        let nats = proxy(self.nats_port).await;
        let mut variables = self.settings(&nats, &format!("{name}-{number}"));
        let mut links = Links { nats: Some(nats), ..Links::default() };
        match role {
            Role::DiscordGateway => {
                let (chat, api) = (proxy(self.http).await, proxy(self.http).await);
                variables.extend(discord(&chat, &api));
                (links.chat, links.api) = (Some(chat), Some(api));
            }
            Role::TwitchGateway => {
                let (chat, api) = (proxy(self.irc).await, proxy(self.http).await);
                variables.extend(twitch(&chat, &api, &self.twitch));
                (links.chat, links.api) = (Some(chat), Some(api));
            }
            _ => {}
        }
        let address = variables.iter().find(|(name, _)| *name == "VIGIE_HTTP_ADDR");
        let probe = format!("http://{}", address.map(|(_, address)| address.as_str()).unwrap_or_default());
        let recipe = Recipe {
            program: self.binaries.join(name),
            arguments: vec![],
            variables,
            folder: self.size.folder.clone(),
        };
        let part = Part::start(format!("{name}-{number}"), role, recipe, links)?;
        parts::ready(&probe).await.with_context(|| part.name.clone())?;
        Ok(part)
    }

    fn settings(&self, nats: &Proxy, instance: &str) -> Vec<(&'static str, String)> {
        let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
        vec![
            ("NATS_URL", format!("nats://{}", nats.address())),
            ("VIGIE_HTTP_ADDR", format!("127.0.0.1:{}", free_port())),
            ("VIGIE_INSTANCE", instance.to_owned()),
            ("LOG_LEVEL", level),
            ("COMMAND_COOLDOWN", "0".to_owned()),
        ]
    }
}

fn discord(chat: &Proxy, api: &Proxy) -> Vec<(&'static str, String)> {
    vec![
        ("DISCORD_TOKEN", "sandbox-token".to_owned()),
        ("DISCORD_API_URL", format!("http://{}", api.address())),
        ("DISCORD_GATEWAY_URL", format!("ws://{}/gateway", chat.address())),
        ("DISCORD_REQUESTS_PER_SECOND", "1000".to_owned()),
    ]
}

/// Replies go by the API in the demo channel, where the application was let in, and by IRC elsewhere.
fn twitch(chat: &Proxy, api: &Proxy, channels: &str) -> Vec<(&'static str, String)> {
    let api = format!("http://{}", api.address());
    vec![
        ("TWITCH_USERNAME", TWITCH_BOT.to_owned()),
        ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
        ("TWITCH_CLIENT_ID", "sandbox-client".to_owned()),
        ("TWITCH_CLIENT_SECRET", "sandbox-secret".to_owned()),
        ("TWITCH_CHANNELS", channels.to_owned()),
        ("TWITCH_IRC_URL", format!("irc://{}", chat.address())),
        ("TWITCH_API_URL", api.clone()),
        ("TWITCH_AUTH_URL", api),
        ("TWITCH_MESSAGES_PER_30S", "7500".to_owned()),
    ]
}
