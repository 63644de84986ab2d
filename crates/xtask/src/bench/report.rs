//! The tables of a bench run, as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    Options,
    bot::Kind,
    figures::{median, mib, micros, middle},
    measure::{Sample, Scenario},
};

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

fn select<'a>(samples: &'a [Sample], kind: Kind, scenario: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.kind == kind && sample.scenario == scenario).collect()
}
