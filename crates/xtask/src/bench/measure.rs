//! One measurement: memory at rest, then CPU time and latency under a load.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::bot::{self, Kind, Setup};
use crate::process::Process;

/// How long a bot rests before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// Warms caches, connections and learned limits before the load that counts.
const WARM_UP_SECONDS: u32 = 2;

/// What is loaded onto the bot.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name in tables.
    pub name: &'static str,
    /// Guilds the bot is in.
    pub guilds: u32,
    /// Lines per second.
    pub rate: u32,
    /// Which part of them are commands.
    pub command_share: f64,
    /// For how long.
    pub seconds: u32,
}

impl Scenario {
    /// Every one.
    pub fn all(seconds: u32) -> [Self; 3] {
        [
            Self {
                name: "1 guild, 500 events/s, 5 % commands",
                guilds: 1,
                rate: 500,
                command_share: 0.05,
                seconds,
            },
            Self {
                name: "1,000 guilds, 500 events/s, 5 % commands",
                guilds: 1000,
                rate: 500,
                command_share: 0.05,
                seconds,
            },
            Self {
                name: "1,000 guilds, 100 commands/s",
                guilds: 1000,
                rate: 100,
                command_share: 1.0,
                seconds,
            },
        ]
    }

    fn plan(&self, seconds: u32) -> Value {
        json!({
            "platform": "discord",
            "rate": self.rate,
            "seconds": seconds,
            "command_share": self.command_share,
        })
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which bot.
    pub kind: Kind,
    /// Under which load.
    pub scenario: &'static str,
    /// Lines sent in all.
    pub events: u64,
    /// Commands among them.
    pub commands: u64,
    /// Latency at p50 and p99, in microseconds.
    pub latency_us: (u64, u64),
    /// What each process used.
    pub processes: Vec<Used>,
}

/// What a process used.
#[derive(Clone, Debug)]
pub struct Used {
    /// Which process.
    pub name: String,
    /// Resident bytes before the load.
    pub rest: u64,
    /// Resident bytes after it.
    pub after: u64,
    /// CPU time under the load.
    pub cpu: Duration,
    /// Bytes written to storage under the load.
    pub written: u64,
}

impl Sample {
    /// CPU time of all processes.
    pub fn cpu(&self) -> Duration {
        self.processes.iter().map(|used| used.cpu).sum()
    }
}

/// Measures a fresh bot once.
pub async fn one(kind: Kind, scenario: &Scenario, nats_server: &Path) -> anyhow::Result<Sample> {
    let setup = Setup { kind, guilds: scenario.guilds, limits: false };
    let running = bot::start(setup, nats_server).await?;
    tokio::time::sleep(REST).await;
    let rest = running.bot.iter().map(|process| process.resident()).collect::<anyhow::Result<Vec<_>>>()?;
    running.load(&scenario.plan(WARM_UP_SECONDS)).await?;
    let spent = |process: &Process| anyhow::Ok((process.cpu()?, process.written()?));
    let before = running.bot.iter().map(spent).collect::<anyhow::Result<Vec<_>>>()?;
    let report = running.load(&scenario.plan(scenario.seconds)).await?;
    let number = |name: &str| {
        report[name].as_u64().with_context(|| format!("the load report has no {name}: {report}"))
    };
    let (events, commands, answered) = (number("sent")?, number("commands")?, number("answered")?);
    ensure!(answered == commands, "{answered} of {commands} commands were answered: {report}");
    let mut processes = Vec::new();
    for ((process, rest), (cpu, written)) in running.bot.iter().zip(rest).zip(before) {
        let now = spent(process)?;
        processes.push(Used {
            name: process.name.clone(),
            rest,
            after: process.resident()?,
            cpu: now.0.saturating_sub(cpu),
            written: now.1.saturating_sub(written),
        });
    }
    Ok(Sample {
        kind,
        scenario: scenario.name,
        events,
        commands,
        latency_us: (number("p50_us")?, number("p99_us")?),
        processes,
    })
}
