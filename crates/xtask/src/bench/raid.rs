//! A raid: a crowd floods one channel with twenty times what all the others say. Discord has its limits, as
//! it does, and nobody has to wait between two commands: the worst that a crowd can do.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::try_join;

use super::{
    Options,
    bot::{self, Kind, Running, Setup},
    figures::{median, mib, middle, thousands},
};
use crate::{http, shell};

/// Guilds, each with a channel that talks.
const GUILDS: u32 = 40;
/// Lines a second of all channels but the raided one.
const CALM: u32 = 50;
/// Lines a second of the raided one.
const CROWD: u32 = 20 * CALM;
/// Which part of the lines are commands.
const COMMANDS: f64 = 0.05;
const WARM_UP_SECONDS: u32 = 2;

/// Whom something was measured of, and when.
const ROWS: [&str; 4] =
    ["other channels, before", "other channels, during", "other channels, after", "the raided channel"];

/// What one raid did.
struct Sample {
    /// The reports of the loads, as in [`ROWS`].
    loads: [Load; 4],
    memory: Vec<Memory>,
    /// What became of the commands in the raided channel.
    fates: BTreeMap<String, u64>,
    chatter: u64,
    chatter_seen: u64,
}

struct Load {
    lines: u64,
    commands: u64,
    answered: u64,
    p50_us: u64,
    p99_us: u64,
}

struct Memory {
    process: String,
    before: u64,
    peak: u64,
}

/// What the services have counted until now.
struct Counts {
    seen: u64,
    passed: BTreeMap<String, u64>,
    sent: u64,
    dropped: BTreeMap<String, u64>,
}

/// Measures all, and gives the tables.
pub async fn measure(options: &Options, nats_server: &Path) -> anyhow::Result<String> {
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        shell::complain(&format!("round {round} of {}: before, during and after a raid", options.rounds));
        samples.push(one(options.seconds, nats_server).await?);
    }
    Ok(tables(&samples, options))
}

async fn one(seconds: u32, nats_server: &Path) -> anyhow::Result<Sample> {
    let running = bot::start(Setup { kind: Kind::Vigie, guilds: GUILDS, limits: true }, nats_server).await?;
    let (raided, others) = channels(&running).await?;
    let calm = |seconds| plan("calm", CALM, seconds, &others);
    running.load(&calm(WARM_UP_SECONDS)).await?;
    let start = Counts::of(&running).await?;
    let before = Load::of(&running.load(&calm(seconds)).await?)?;
    let memory = running.bot.iter().map(|it| it.peak()).collect::<anyhow::Result<Vec<_>>>()?;
    let (during, crowd) = (calm(seconds), plan("crowd", CROWD, seconds, &[raided]));
    let (during, crowd) = try_join!(running.load(&during), running.load(&crowd))?;
    let (during, crowd) = (Load::of(&during)?, Load::of(&crowd)?);
    let after = Load::of(&running.load(&calm(seconds)).await?)?;
    let loads = [before, during, after, crowd];
    let end = Counts::of(&running).await?;
    let memory =
        running.bot.iter().zip(memory).map(|(process, before)| {
            Ok(Memory { process: process.name.clone(), before, peak: process.peak()? })
        });
    Ok(Sample {
        memory: memory.collect::<anyhow::Result<_>>()?,
        fates: fates(&loads, &start, &end),
        chatter: loads.iter().map(|load| load.lines - load.commands).sum(),
        chatter_seen: end.seen - start.seen,
        loads,
    })
}

/// The channel that is raided, and the first one of every other guild.
async fn channels(running: &Running) -> anyhow::Result<(String, Vec<String>)> {
    let all = http::get(&running.url, "/sandbox/channels?platform=discord", bot::ANSWER_LIMIT).await?;
    let mut first = BTreeMap::new();
    for one in all.as_array().context("expected a list of channels")? {
        let [guild, channel] = ["guild_id", "id"].map(|field| one[field].as_str().unwrap_or_default());
        first.entry(guild).or_insert_with(|| channel.to_owned());
    }
    let mut first: Vec<String> = first.into_values().collect();
    ensure!(first.len() > 1, "expected several guilds: {all}");
    Ok((first.remove(0), first))
}

fn plan(name: &str, rate: u32, seconds: u32, channels: &[String]) -> Value {
    json!({
        "name": name,
        "platform": "discord",
        "rate": rate,
        "seconds": seconds,
        "command_share": COMMANDS,
        "channels": channels,
    })
}

impl Load {
    fn of(report: &Value) -> anyhow::Result<Self> {
        let number = |name: &str| {
            report[name].as_u64().with_context(|| format!("the load report has no {name}: {report}"))
        };
        ensure!(report["missed"] == 0, "the sandbox was too slow to see every answer: {report}");
        Ok(Self {
            lines: number("sent")?,
            commands: number("commands")?,
            answered: number("answered")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
        })
    }
}

impl Counts {
    async fn of(running: &Running) -> anyhow::Result<Self> {
        let (worker, gateway) = ("command-worker", "discord-gateway");
        let outcomes = running.counted(gateway, "outcomes").await?;
        Ok(Self {
            seen: running.counted(worker, "messages").await?.values().sum(),
            passed: running.counted(worker, "commands_passed").await?,
            sent: outcomes.get("sent").copied().unwrap_or_default(),
            dropped: running.counted(gateway, "actions_dropped").await?,
        })
    }
}

/// What became of the raided channel's commands, told from what all services counted meanwhile.
fn fates(loads: &[Load; 4], start: &Counts, end: &Counts) -> BTreeMap<String, u64> {
    let [before, during, after, crowd] = loads;
    let elsewhere = before.answered + during.answered + after.answered;
    let mut fates = BTreeMap::new();
    fates.insert("answered".to_owned(), (end.sent - start.sent).saturating_sub(elsewhere));
    for (who, start, end) in
        [("a worker", &start.passed, &end.passed), ("a gateway", &start.dropped, &end.dropped)]
    {
        for (reason, count) in end {
            let count = count - start.get(reason).copied().unwrap_or_default();
            if count > 0 {
                fates.insert(format!("dropped by {who} as `{reason}`"), count);
            }
        }
    }
    let known: u64 = fates.values().sum();
    fates.insert("still waiting, or unknown".to_owned(), crowd.commands.saturating_sub(known));
    fates
}

fn tables(samples: &[Sample], options: &Options) -> String {
    let Options { rounds, seconds, .. } = options;
    let mut text = format!(
        "`cargo xtask bench --raid --rounds {rounds} --seconds {seconds}`; medians of {rounds} rounds, the range \
         in brackets. {CALM} lines/s in {} channels for {seconds} s, then {} lines/s more in another one for \
         {seconds} s, then as before; 5 % are commands.\n\n",
        GUILDS - 1,
        thousands(CROWD.into())
    );
    text += "| where | commands | answered within 3 s of the end | latency p50 | latency p99 |\n|---|---|---|---|---|\n";
    for (row, name) in ROWS.iter().enumerate() {
        let each = |figure: fn(&Load) -> u64| median(samples.iter().map(|it| figure(&it.loads[row])));
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} µs | {} µs |",
            each(|it| it.commands),
            each(|it| it.answered),
            each(|it| it.p50_us),
            each(|it| it.p99_us)
        );
    }
    text += "\n| commands in the raided channel | |\n|---|---|\n";
    let names: std::collections::BTreeSet<&String> = samples.iter().flat_map(|it| it.fates.keys()).collect();
    for name in names {
        let count = |it: &Sample| it.fates.get(name).copied().unwrap_or_default();
        let _ = writeln!(text, "| {name} | {} |", median(samples.iter().map(count)));
    }
    let lost = |it: &Sample| it.chatter.saturating_sub(it.chatter_seen);
    let _ = writeln!(
        text,
        "\nLines of chatter: {}; shed of them: {}.\n\n| process | most memory before the raid | until the end |\n\
         |---|---|---|",
        median(samples.iter().map(|it| it.chatter)),
        median(samples.iter().map(lost))
    );
    for (place, memory) in samples.first().map_or(&[][..], |it| &it.memory).iter().enumerate() {
        let most = |figure: fn(&Memory) -> u64| {
            mib(middle(samples.iter().filter_map(|it| it.memory.get(place)).map(figure).collect()))
        };
        let (before, peak) = (most(|it| it.before), most(|it| it.peak));
        let _ = writeln!(text, "| {} | {before:.1} MiB | {peak:.1} MiB |", memory.process);
    }
    text
}
