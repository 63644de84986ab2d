//! The tables of a bench run, as Markdown.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    Options,
    bot::Kind,
    measure::{Sample, Scenario},
};
use crate::page;

/// All tables.
pub fn tables(samples: &[Sample], options: &Options) -> String {
    let mut text = format!(
        "`cargo xtask bench --rounds {} --seconds {}`; medians of {} rounds, the range in brackets.\n\n",
        options.rounds, options.seconds, options.rounds
    );
    text += "| load | bot | CPU per event | CPU per command | latency p50 | latency p99 |\n|---|---|---|---|---|---|\n";
    for scenario in Scenario::all(options.seconds) {
        for kind in Kind::ALL {
            let of = select(samples, kind, scenario.name);
            let per = |count: fn(&Sample) -> u64| {
                median(of.iter().map(|sample| micros(sample.cpu()) / count(sample).max(1)))
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} µs | {} µs | {} µs | {} µs |",
                scenario.name,
                kind.name(),
                per(|sample| sample.events),
                per(|sample| sample.commands),
                median(of.iter().map(|sample| sample.latency_us.0)),
                median(of.iter().map(|sample| sample.latency_us.1)),
            );
        }
    }
    text +=
        "\nCPU per command divides all CPU time by the commands, chatter included where there is some.\n\n";
    text += "| load | process | resident at rest | resident after the load | CPU per event | written per 1,000 events |\n|---|---|---|---|---|---|\n";
    for scenario in Scenario::all(options.seconds) {
        for kind in Kind::ALL {
            text += &processes(&select(samples, kind, scenario.name), kind, scenario.name);
        }
    }
    text
}

fn processes(samples: &[&Sample], bot: Kind, scenario: &str) -> String {
    #[derive(Default)]
    struct Row {
        name: String,
        rest: Vec<u64>,
        after: Vec<u64>,
        cpu: Vec<u64>,
        written: Vec<u64>,
    }
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for sample in samples {
        for (place, used) in sample.processes.iter().enumerate() {
            let row = rows.entry(place).or_default();
            row.name.clone_from(&used.name);
            row.rest.push(used.rest);
            row.after.push(used.after);
            row.cpu.push(micros(used.cpu) / sample.events.max(1));
            row.written.push(used.written / 1024 * 1000 / sample.events.max(1));
        }
    }
    let mut text = String::new();
    let mut sums = (0.0, 0.0);
    let count = rows.len();
    for Row { name, rest, after, cpu, written } in rows.into_values() {
        let (rest, after) = (mib(middle(rest)), mib(middle(after)));
        let (cpu, written) = (median(cpu.into_iter()), median(written.into_iter()));
        sums = (sums.0 + rest, sums.1 + after);
        let _ = writeln!(
            text,
            "| {scenario} | {name} | {rest:.1} MiB | {after:.1} MiB | {cpu} µs | {written} KiB |"
        );
    }
    if count > 1 {
        let _ = writeln!(
            text,
            "| {scenario} | **all of {}** | **{:.1} MiB** | **{:.1} MiB** | | |",
            bot.name(),
            sums.0,
            sums.1
        );
    }
    text
}

/// Puts the tables between the markers of docs/performance.md.
pub fn write(tables: &str) -> anyhow::Result<()> {
    page::write("docs/performance.md", "bench", tables)
}

fn select<'a>(samples: &'a [Sample], kind: Kind, scenario: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.kind == kind && sample.scenario == scenario).collect()
}

fn median(values: impl Iterator<Item = u64>) -> String {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    match (values.first(), values.last()) {
        (Some(first), Some(last)) => format!("{} [{first}-{last}]", middle(values.clone())),
        _ => "-".to_owned(),
    }
}

fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
