//! What is to run, where, and with which settings. Nothing is started here.

use std::{collections::BTreeSet, env, path::PathBuf};

use anyhow::bail;
use bus::Keeping;

use super::{
    Options,
    data::Data,
    nats::{self, ExternalNats},
    part::{Part, Readiness, Stage},
    ports::{self, Claim},
};
use crate::find;

/// Where the sandbox listens when these are free: page, chat, chat over TLS, chat over WebSocket.
const SANDBOX_PORTS: [u16; 4] = [7700, 7701, 7702, 7703];
/// Where NATS listens when this is free.
const NATS_PORT: u16 = 4222;
/// Where the health check answers when this is free: a monitor must know it.
const HEALTH_PORT: u16 = 9420;
/// What goes back from a restore that did not come to its end.
const BACKUP: &str = "backup";
/// Where backups go: without one of them none are made.
const SAVES: [&str; 2] = ["BACKUP_REPOSITORY", "BACKUP_EXPORT"];
/// Where the backup works, and its file in there that tells of such a restore.
const BACKUP_DATA: &str = "BACKUP_DATA";
const UNFINISHED: &str = "restore.json";
/// What the health check tells people and the witness by. With the sandbox nobody is to be called.
const CALLS: [&str; 9] = [
    "HEALTHCHECK_URL",
    "ALERT_DISCORD_CHANNEL",
    "ALERT_DISCORD_WEBHOOK",
    "ALERT_WEBHOOK",
    "ALERT_NTFY",
    "ALERT_NTFY_TOKEN",
    "ALERT_EMAIL",
    "ALERT_EMAIL_FROM",
    "ALERT_SMTP_URL",
];

/// The processes and what they share.
pub(crate) struct Plan {
    /// In the order of starting.
    pub parts: Vec<Part>,
    /// Where NATS is or will be.
    pub nats_url: String,
    /// Somebody else's NATS, when `NATS_URL` is set.
    pub external_nats: Option<ExternalNats>,
    /// Where a person looks: the chat page; empty without the sandbox.
    pub url: String,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Keeps the ports for as long as the parts run.
    pub claims: Vec<Claim>,
    /// What is there for as long as a restore in place is neither done nor undone: the bot must not run on what is half.
    pub unfinished: Option<PathBuf>,
}

impl Plan {
    /// Decides on ports, finds the binaries and writes the configuration of NATS.
    ///
    /// # Errors
    /// When a binary is missing, or no port is free.
    pub(crate) fn make(
        options: &Options,
        data: &Data,
        keeping: Keeping,
        nats_url: Option<String>,
        nats_server: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut plan = Self {
            parts: Vec::new(),
            nats_url: String::new(),
            external_nats: None,
            url: String::new(),
            notes: Vec::new(),
            claims: Vec::new(),
            unfinished: None,
        };
        if let Some(url) = nats_url {
            plan.notes.push(format!("NATS_URL is set: using NATS at {}", bus::without_credentials(&url)));
            plan.nats_url.clone_from(&url);
            plan.external_nats = Some(ExternalNats { url, keeping });
        } else {
            let ([port], claims) = ports::claim([NATS_PORT])?;
            plan.claims.extend(claims);
            plan.nats_url = format!("nats://127.0.0.1:{port}");
            plan.parts.push(nats::part(data.root(), port, keeping, nats_server)?);
        }
        let mut variables = vec![("NATS_URL".to_owned(), plan.nats_url.clone())];
        if options.shape.sandbox {
            variables.extend(plan.add_sandbox()?);
        }
        let service = |name: &str, binary: &str, stage, platform| -> anyhow::Result<Part> {
            Ok(Part {
                name: name.to_owned(),
                stage,
                program: find::binary(binary)?,
                arguments: Vec::new(),
                variables: variables.clone(),
                platform,
                readiness: Readiness::OwnHttp,
                quiet: None,
            })
        };
        for number in 1..=options.shape.workers {
            let name = format!("command-worker-{number}");
            plan.parts.push(service(&name, "command-worker", Stage::Worker, None)?);
        }
        for (name, platform) in [("discord-gateway", "DISCORD_"), ("twitch-gateway", "TWITCH_")] {
            plan.parts.push(service(name, name, Stage::Gateway, Some(platform))?);
        }
        let mut watch = service("healthcheck", "healthcheck", Stage::Gateway, None)?;
        let ([port], claims) = ports::claim([HEALTH_PORT])?;
        plan.claims.extend(claims);
        watch.readiness = Readiness::Http { address: format!("127.0.0.1:{port}") };
        if !is_set("HEALTHCHECK_DATA") {
            watch.variables.push(("HEALTHCHECK_DATA".to_owned(), data.root().display().to_string()));
        }
        if options.shape.sandbox {
            let names = CALLS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")]);
            watch.variables.extend(names.map(|name| (name, String::new())));
        }
        plan.parts.push(watch);
        let saves = SAVES.into_iter().any(is_set);
        if !options.shape.sandbox {
            plan.add_backup(data, saves, || service(BACKUP, BACKUP, Stage::Gateway, None))?;
        } else if saves {
            plan.notes.push("nothing of the sandbox is saved: backup is left out".to_owned());
        }
        Ok(plan)
    }

    /// What the parts are called, in the order of starting.
    pub(crate) fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.name.clone()).collect()
    }

    /// The names of the parts that write what a backup holds.
    pub(crate) fn bot(&self) -> BTreeSet<String> {
        let bot = self.parts.iter().filter(|part| part.is_of_the_bot());
        bot.map(|part| part.name.clone()).collect()
    }

    /// Adds the backup where there is one.
    fn add_backup(
        &mut self,
        data: &Data,
        saves: bool,
        part: impl FnOnce() -> anyhow::Result<Part>,
    ) -> anyhow::Result<()> {
        let set = env::var_os(BACKUP_DATA).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let folder = set.unwrap_or_else(|| data.root().join(BACKUP));
        let unfinished = folder.join(UNFINISHED);
        if saves {
            let mut backup = part()?;
            if !is_set(BACKUP_DATA) {
                backup.variables.push((BACKUP_DATA.to_owned(), folder.display().to_string()));
            }
            self.parts.push(backup);
            self.unfinished = Some(unfinished);
        } else if unfinished.exists() {
            bail!(
                "a restore did not come to its end, and only backup can go back from it: expected {} to be set as \
                 before; without {} the bot runs on what is half",
                SAVES.join(" or "),
                unfinished.display()
            );
        }
        Ok(())
    }

    /// Adds the sandbox, and gives the variables that turn the gateways to it.
    fn add_sandbox(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let ([http, irc, irc_tls, irc_ws], claims) = ports::claim(SANDBOX_PORTS)?;
        self.claims.extend(claims);
        let flags = [("--http", http), ("--irc", irc), ("--irc-tls", irc_tls), ("--irc-ws", irc_ws)];
        let arguments =
            flags.iter().flat_map(|(flag, port)| [(*flag).into(), format!("127.0.0.1:{port}").into()]);
        self.parts.push(Part {
            name: "sandbox".to_owned(),
            stage: Stage::Sandbox,
            program: find::binary("sandbox")?,
            arguments: arguments.collect(),
            variables: Vec::new(),
            platform: None,
            readiness: Readiness::Http { address: format!("127.0.0.1:{http}") },
            quiet: None,
        });
        self.url = format!("http://127.0.0.1:{http}/");
        let mut variables = Vec::new();
        for (name, value) in sandbox_settings(http, irc) {
            if is_set(name) {
                self.notes.push(format!("{name} is set: using it instead of the sandbox's own"));
            } else {
                variables.push((name.to_owned(), value));
            }
        }
        Ok(variables)
    }
}

/// The accounts that the sandbox has from the start, and where it is.
fn sandbox_settings(http: u16, irc: u16) -> [(&'static str, String); 11] {
    let base = format!("http://127.0.0.1:{http}");
    [
        ("DISCORD_API_URL", base.clone()),
        ("DISCORD_GATEWAY_URL", format!("ws://127.0.0.1:{http}/gateway")),
        ("DISCORD_TOKEN", "sandbox-token".to_owned()),
        ("TWITCH_API_URL", base.clone()),
        ("TWITCH_AUTH_URL", base),
        ("TWITCH_IRC_URL", format!("irc://127.0.0.1:{irc}")),
        ("TWITCH_USERNAME", "vigie_bot".to_owned()),
        ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
        ("TWITCH_CLIENT_ID", "sandbox-client".to_owned()),
        ("TWITCH_CLIENT_SECRET", "sandbox-secret".to_owned()),
        ("TWITCH_CHANNELS", "vigie_demo,quiet_corner".to_owned()),
    ]
}

fn is_set(name: &str) -> bool {
    let filled = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    filled(name) || filled(&format!("{name}_FILE"))
}
