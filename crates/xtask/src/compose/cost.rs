//! Memory of the default stack, at rest and under load, with many guilds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    docker::docker,
    people::{ANSWER_LIMIT, first_reply},
    project::{Container, Project},
    report::{Cost, Load, by_service},
};
use crate::{chaos::kinds::Platform, http, shell};

/// What `--only` calls this.
pub const NAME: &str = "memory";
/// Guilds besides the first one.
pub const GUILDS: u32 = 999;
/// Events a second, of which 5 % are commands.
const RATE: u32 = 100;
const SECONDS: u32 = 60;
/// How long the stack rests before its memory is read.
const REST: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);

/// Measures a fresh stack.
///
/// # Errors
/// When it does not start, or leaves commands unanswered.
pub async fn measure(stack: Project) -> anyhow::Result<(Load, Vec<Cost>)> {
    shell::complain("starting a stack to measure its memory");
    stack.up(&[], &["sandbox"]).await?;
    stack.up(&[], &[]).await?;
    first_reply(&stack.url, Platform::Discord).await?;
    first_reply(&stack.url, Platform::Twitch).await?;
    sleep(REST).await;
    let mut ours = stack.containers().await?;
    // It stands for the platforms.
    ours.retain(|container| container.service != "sandbox");
    let rest = resident(&ours).await?;
    let plan = json!({ "platform": "discord", "rate": RATE, "seconds": SECONDS, "command_share": 0.05 });
    http::post(&stack.url, "/sandbox/load", &plan, ANSWER_LIMIT).await?;
    sleep(Duration::from_secs(u64::from(SECONDS) * 3 / 4)).await;
    let (load, counted) = (resident(&ours).await?, counted(&ours).await?);
    let reached = loop {
        let report = http::get(&stack.url, "/sandbox/load", ANSWER_LIMIT).await?;
        if report["phase"] == "done" {
            break Load::read(&report)?;
        }
        sleep(POLL).await;
    };
    let limits = limits(&ours).await?;
    stack.down().await?;
    let of = |sums: &BTreeMap<String, u64>, service: &str| sums.get(service).copied().unwrap_or_default();
    let cost = |(service, rest): (String, u64)| Cost {
        rest,
        load: of(&load, &service),
        counted: of(&counted, &service),
        limit: of(&limits, &service),
        service,
    };
    Ok((reached, rest.into_iter().map(cost).collect()))
}

impl Load {
    /// What the sandbox reports at the end.
    fn read(report: &Value) -> anyhow::Result<Self> {
        let number = |name: &str| report[name].as_u64().with_context(|| format!("no {name}: {report}"));
        let load = Self {
            guilds: GUILDS + 1,
            events_per_second: report["rate"].as_f64().with_context(|| format!("no rate: {report}"))?,
            commands: number("commands")?,
        };
        ensure!(
            load.events_per_second > 0.98 * f64::from(RATE),
            "the sandbox did not keep the rate: {report}"
        );
        ensure!(load.commands > 0 && load.commands == number("answered")?, "not all was answered: {report}");
        Ok(load)
    }
}

/// The resident memory of all processes of each service.
async fn resident(containers: &[Container]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = Vec::new();
    for container in containers {
        let table = docker(&["top", &container.id, "-eo", "pid,rss"]).await?;
        let kib =
            table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        all.push((container.service.clone(), kib.sum::<u64>() * 1024));
    }
    Ok(by_service(all))
}

/// What the engine counts for the containers, which is what the limits are about.
async fn counted(containers: &[Container]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = Vec::new();
    for container in containers {
        let line = docker(&["stats", "--no-stream", "--format", "{{json .}}", &container.id]).await?;
        let line: Value = serde_json::from_str(line.trim()).context("docker stats did not write JSON")?;
        let usage = line["MemUsage"].as_str().unwrap_or_default();
        all.push((
            container.service.clone(),
            bytes(usage).with_context(|| format!("not understood: {usage}"))?,
        ));
    }
    Ok(by_service(all))
}

async fn limits(containers: &[Container]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = Vec::new();
    for container in containers {
        let limit = docker(&["inspect", "--format", "{{.HostConfig.Memory}}", &container.id]).await?;
        all.push((container.service.clone(), limit.trim().parse().context("expected a number of bytes")?));
    }
    Ok(by_service(all))
}

/// The first of `12.5MiB / 96MiB`.
fn bytes(usage: &str) -> Option<u64> {
    let first = usage.split('/').next()?.trim();
    let unit = first.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = first[..unit].parse().ok()?;
    let factor = match &first[unit..] {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_was_not_reached_or_not_answered_is_no_measure() {
        let read = |rate: f64, answered: u64| {
            Load::read(&json!({ "rate": rate, "commands": 300, "answered": answered })).is_ok()
        };
        assert!(read(99.9, 300));
        assert!(!read(90.0, 300));
        assert!(!read(99.9, 299));
        assert!(Load::read(&json!({})).is_err());
    }

    #[test]
    fn what_the_engine_writes_is_read() {
        assert_eq!(bytes("12.5MiB / 96MiB"), Some(13_107_200));
        assert_eq!(bytes("512B / 1GiB"), Some(512));
        assert_eq!(bytes("-- / --"), None);
    }
}
