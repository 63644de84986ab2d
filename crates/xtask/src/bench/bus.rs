//! The bus alone: what it costs that no message is lost, and that none is taken twice.
//!
//! `crates/bus/examples/chain.rs` stands for a gateway and a worker. The server is fresh for each measurement,
//! with the settings that Vigie ships.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use bus::{Bus, Storage};
use serde_json::Value;

use super::{
    Options,
    figures::{median, micros, middle, thousands},
};
use crate::{
    parts, paths,
    process::{Process, Talk},
    shell,
};

/// Commands a second of a bot at work.
const CALM: u32 = 5;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Stored(Storage),
    /// The client library alone.
    Bare,
    /// Publish and subscribe.
    Told,
}

impl Way {
    const ALL: [Self; 4] =
        [Self::Stored(Storage::File), Self::Stored(Storage::Memory), Self::Bare, Self::Told];

    /// As `chain` calls it.
    const fn argument(self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Bare => "bare",
            Self::Told => "told",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Stored(Storage::File) => "stored on disk",
            Self::Stored(Storage::Memory) => "stored in memory",
            Self::Bare => "stored on disk by the client library alone",
            Self::Told => "neither stored nor acknowledged",
        }
    }
}

/// Commands per second; 0 is as many as go.
const RATES: [u32; 3] = [CALM, 1000, 0];

/// What one run cost.
struct Sample {
    way: Way,
    rate: u32,
    commands: u64,
    per_second: u64,
    p50_us: u64,
    p99_us: u64,
    services: Duration,
    server: Duration,
    written: u64,
}

/// Measures all, and gives the tables.
pub async fn measure(options: &Options, nats_server: &Path) -> anyhow::Result<String> {
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for rate in RATES {
            for way in Way::ALL {
                let load = load(rate);
                shell::complain(&format!("round {round} of {}: {load}, {}", options.rounds, way.name()));
                samples.push(one(way, rate, options.seconds, nats_server).await?);
            }
        }
    }
    Ok(tables(&samples, options))
}

async fn one(way: Way, rate: u32, seconds: u32, nats_server: &Path) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir_in(paths::target())?;
    let (server, port) = parts::nats(nats_server, folder.path())?;
    let url = format!("nats://127.0.0.1:{port}");
    let bus = Bus::connect(bus::Options { url: url.clone(), name: "bench".to_owned() }).await?;
    if let Way::Stored(storage) = way {
        bus::provision(&bus, storage).await?;
    }
    bus.drain().await;
    let chain = paths::target().join("release/examples/chain");
    let arguments = [&url, way.argument(), &rate.to_string(), &seconds.to_string()];
    let (services, mut talk) = Process::talk("chain", &chain, &arguments, folder.path())?;
    run(way, rate, &server, &services, &mut talk).with_context(|| {
        // Without a log there is nothing to add.
        std::fs::read_to_string(folder.path().join("chain.log")).unwrap_or_default()
    })
}

fn run(way: Way, rate: u32, server: &Process, services: &Process, talk: &mut Talk) -> anyhow::Result<Sample> {
    ensure!(talk.hear()?.trim() == "ready", "expected the chain to be ready");
    let before = (services.cpu()?, server.cpu()?, server.written()?);
    talk.go_on()?;
    let report: Value = serde_json::from_str(&talk.hear()?)?;
    let after = (services.cpu()?, server.cpu()?, server.written()?);
    let number = |name: &str| report[name].as_u64().with_context(|| format!("no {name} in {report}"));
    let (sent, commands) = (number("sent")?, number("answered")?);
    ensure!(sent == commands && commands > 0, "not each command was answered once: {report}");
    let took_us = number("took_us")?.max(1);
    Ok(Sample {
        way,
        rate,
        commands,
        per_second: commands * 1_000_000 / took_us,
        p50_us: number("p50_us")?,
        p99_us: number("p99_us")?,
        services: after.0.saturating_sub(before.0),
        server: after.1.saturating_sub(before.1),
        written: after.2.saturating_sub(before.2),
    })
}

fn load(rate: u32) -> String {
    match rate {
        0 => "as many as go".to_owned(),
        _ => format!("{}/s", thousands(rate.into())),
    }
}

fn tables(samples: &[Sample], options: &Options) -> String {
    let Options { rounds, seconds, .. } = options;
    let mut text = format!(
        "`cargo xtask bench --bus --rounds {rounds} --seconds {seconds}`; medians of {rounds} rounds, the range \
         in brackets.\n\n| commands | how they travel | latency p50 | latency p99 | CPU of the services, per \
         command | CPU of nats-server, per command | written per 1,000 commands |\n|---|---|---|---|---|---|---|\n"
    );
    for rate in RATES {
        for way in Way::ALL {
            let of = select(samples, way, rate);
            let each = |figure: fn(&Sample) -> u64| median(of.iter().map(|sample| figure(sample)));
            let (commands, p50, p99) = match rate {
                // There it only says how long the queue is.
                0 => (format!("{}/s", each(|it| it.per_second)), "-".to_owned(), "-".to_owned()),
                _ => (load(rate), each(|it| it.p50_us) + " µs", each(|it| it.p99_us) + " µs"),
            };
            let _ = writeln!(
                text,
                "| {commands} | {} | {p50} | {p99} | {} µs | {} µs | {} KiB |",
                way.name(),
                each(|it| micros(it.services) / it.commands),
                each(|it| micros(it.server) / it.commands),
                each(|it| it.written / 1024 * 1000 / it.commands),
            );
        }
    }
    let calm = select(samples, Way::Stored(Storage::File), CALM);
    let per_day = |it: &&Sample| it.written * u64::from(CALM) * DAY_SECONDS / it.commands;
    let per_day = middle(calm.iter().map(per_day).collect());
    let _ = writeln!(
        text,
        "\nAt {CALM} commands a second that is {} MiB written a day.",
        thousands(per_day >> 20)
    );
    text
}

fn select(samples: &[Sample], way: Way, rate: u32) -> Vec<&Sample> {
    samples.iter().filter(|sample| sample.way == way && sample.rate == rate).collect()
}
