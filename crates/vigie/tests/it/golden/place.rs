//! Places that `vigie` is called in.

use std::fs;

use bus::Bus;
use protocol::{
    VERSION,
    control::{
        Alert, AlertLevel, Audit, AuditResult, HealthAnswer, HealthOrder, HealthReply, HealthRequest, Silence,
    },
};
use sandbox::{Options, Sandbox};
use testkit::Nats;

use super::there::There;
use crate::{
    commit, dead, doctor,
    folder::Folder,
    here::{DOCKER, Machine, UP},
    jobs::{self, Shared},
    status::announce,
};

/// Nobody listens there.
const NOBODY: &str = "nats://127.0.0.1:9";

/// Where a verb is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The programs of Vigie and a file `token`; NATS does not answer.
    Alone,
    /// One of the programs is missing.
    Lacking,
    /// A NATS with a bot that is well, with a backup and a deployer.
    Well,
    /// The same, where all jobs fail.
    Failing,
    /// A backup that is off, and a deployer that is busy.
    Off,
    /// A NATS with nothing in it.
    Empty,
    /// A NATS with three dead letters, the first of them late.
    Dead,
    /// Docker Compose, with a bot of the demo that runs.
    Compose,
    /// Docker Compose, where Docker does not answer.
    Broken,
    /// A machine where nothing runs, and nothing is set.
    Machine,
    /// A well Raspberry Pi with a bot that is well.
    Pi,
    /// A bot's folder in git, with a change; and a deployer that finds it.
    Repository,
    /// The same, and the deployer finds nothing new.
    Outdated,
}

impl Place {
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Alone => "without NATS",
            Self::Lacking => "where a program is missing",
            Self::Well => "where all is well",
            Self::Failing => "where jobs fail",
            Self::Off => "where it is off, or refuses",
            Self::Empty => "where NATS has nothing",
            Self::Dead => "with three dead letters",
            Self::Compose => "with Docker Compose",
            Self::Broken => "with a Docker that does not answer",
            Self::Machine => "on a machine of its own",
            Self::Pi => "on a Raspberry Pi",
            Self::Repository => "in a repository with a change",
            Self::Outdated => "where the deployer finds nothing new",
        }
    }

    pub(super) async fn made(self) -> There {
        match self {
            Self::Alone | Self::Lacking => {
                let there = There::at(Folder::new());
                fs::write(there.folder.path().join("token"), "sandbox-token\n").unwrap();
                if self == Self::Lacking {
                    fs::remove_file(there.folder.path().join("healthcheck")).unwrap();
                }
                there.with("NATS_URL", NOBODY)
            }
            Self::Machine => There::at(Folder::new()),
            Self::Compose | Self::Broken => {
                let machine = Machine::with(&[("docker", DOCKER)]);
                machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
                machine.file(if self == Self::Broken { "broken" } else { "ps" }, UP);
                machine.file("up", UP);
                machine.file("code", "0");
                There::at(machine.folder)
            }
            Self::Empty => {
                let nats = Nats::start().await;
                There::at(Folder::new()).in_reach_of(nats)
            }
            Self::Dead => {
                let dead = dead::World::start().await;
                // The others are from later on, so that they are not too old, however long it takes.
                let hour_ms = 3600 * 1000;
                dead.buried(&[(7, 2 * hour_ms), (8, -hour_ms), (9, -hour_ms)]).await;
                There::at(dead.folder).in_reach_of(dead.nats)
            }
            Self::Well => {
                let backup = Shared::default();
                backup.lock().unwrap().whole = true;
                with_services(backup, Shared::default()).await
            }
            Self::Failing => {
                let world = || {
                    let world = Shared::default();
                    world.lock().unwrap().fails = Some("no room on the disk".to_owned());
                    world
                };
                with_services(world(), world()).await
            }
            Self::Off => {
                let (backup, deployer) = (Shared::default(), Shared::default());
                let off = "backups are off: expected BACKUP_REPOSITORY or BACKUP_EXPORT to be set";
                backup.lock().unwrap().refuses = Some(off.to_owned());
                deployer.lock().unwrap().refuses = Some("another deploy goes on".to_owned());
                with_services(backup, deployer).await
            }
            Self::Pi => on_a_pi().await,
            Self::Repository => in_a_repository(["0.1.0", "0.2.0"]).await,
            Self::Outdated => in_a_repository(["0.1.0", "0.1.0"]).await,
        }
    }
}

async fn with_services(backup: Shared, deployer: Shared) -> There {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    jobs::backup(&bus, backup).await;
    jobs::deployer(&bus, deployer).await;
    healthcheck(&bus).await;
    let done = |verb: &str, result, words: &str| Audit {
        v: VERSION,
        at_ms: 1_700_000_000_000,
        service: "backup".to_owned(),
        by: "cli".to_owned(),
        verb: verb.to_owned(),
        object: "9f3c1a".to_owned(),
        result,
        words: words.to_owned(),
    };
    bus.note(&done("create", AuditResult::Done, "12 MiB in 3 parts")).await.unwrap();
    bus.note(&done("verify", AuditResult::Failed, "one file is torn")).await.unwrap();
    let mut there = There::at(Folder::new()).in_reach_of(nats);
    there.kept.push(Box::new(announce(&bus, "").await));
    there.bus = Some(bus);
    there
}

async fn on_a_pi() -> There {
    let nats = Nats::start().await;
    nats.bus("test").await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let url = sandbox.http_url();
    let folder = Folder::new();
    doctor::pi(&folder);
    let mut there = There::at(folder)
        .in_reach_of(nats)
        .with("DISCORD_API_URL", &url)
        .with("DISCORD_TOKEN", "sandbox-token")
        .with("TWITCH_AUTH_URL", &url)
        .with("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token")
        .with("TWITCH_USERNAME", "vigie_bot");
    there.kept.push(Box::new(sandbox));
    there
}

async fn in_a_repository(versions: [&'static str; 2]) -> There {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let services = announce(&bus, "").await;
    commit::deployer(&bus, versions).await;
    let folder = commit::repository();
    fs::write(folder.path().join("command.toml"), "x = 1\n").unwrap();
    let mut there = There::at(folder).in_reach_of(nats).with("PATH", "/usr/bin:/bin");
    there.kept.push(Box::new((bus, services)));
    there
}

/// A `healthcheck` that knows of a disk that is nearly full.
async fn healthcheck(bus: &Bus) {
    let mut orders = bus.obey::<HealthRequest>("healthcheck").await.unwrap();
    bus.round_trip().await;
    let silence = |reason: &str| Silence {
        alert: "disk".to_owned(),
        level: AlertLevel::Warning,
        since_ms: 1_700_000_000_000,
        until_ms: 1_700_432_000_000,
        by: "cli".to_owned(),
        reason: reason.to_owned(),
    };
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = match &ordered.order.order {
                HealthOrder::Silence { alert, reason, .. } if alert == "disk" => {
                    HealthReply::Done { silence: silence(reason) }
                }
                HealthOrder::Unsilence { alert } if alert == "disk" => {
                    HealthReply::Done { silence: silence("later") }
                }
                HealthOrder::Silence { alert, .. } | HealthOrder::Unsilence { alert } => {
                    HealthReply::Refused { reason: format!("nothing is called {alert}") }
                }
                HealthOrder::Silences => HealthReply::Silences {
                    silences: vec![silence("later")],
                    alerts: vec![Alert {
                        alert: "disk".to_owned(),
                        level: AlertLevel::Warning,
                        // Half a minute more, so that the minutes stay the same.
                        since_ms: service::clock::unix_ms() - (90 * 60 + 30) * 1000,
                        title: "disk nearly full".to_owned(),
                        text: "87 % used, 2.1 GB left".to_owned(),
                    }],
                },
            };
            ordered.answer(&HealthAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
}
