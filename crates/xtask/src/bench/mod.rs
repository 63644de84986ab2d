//! `cargo xtask bench`: what Vigie costs, in one run on one machine.
//!
//! | with | measured |
//! |---|---|
//! | nothing | all of Vigie beside a bot of one process |
//! | `--bus` | the bus alone, with and without what makes it lose nothing |
//! | `--raid` | whom it hurts when one channel is flooded |
//!
//! What is compared alternates within each round, so that whatever else the machine does falls on all. CPU
//! time, memory and written bytes of every process are read from the kernel; the sandbox is not counted: it
//! stands for the platforms.

mod bot;
mod bus;
mod figures;
mod measure;
mod raid;
mod report;

use anyhow::Context;
use clap::Args;

use crate::{nats, page, shell};

use self::{
    bot::Kind,
    measure::{Sample, Scenario},
};

/// What, how long, and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Measure the bus alone, with and without what makes it lose nothing.
    #[arg(long, conflicts_with = "raid")]
    pub bus: bool,
    /// Flood one channel, and see whom it hurts.
    #[arg(long)]
    pub raid: bool,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// How long each load runs, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=600))]
    pub seconds: u32,
    /// Measure what is built already.
    #[arg(long)]
    pub no_build: bool,
    /// Write the tables into the documentation.
    #[arg(long)]
    pub write: bool,
}

/// Builds what is measured, measures, prints the tables.
///
/// # Errors
/// When something cannot be built or started, or commands are not answered.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let nats_server = nats::find_or_fetch()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (text, page, marker) = if options.bus {
        build(options, &["--package", "bus", "--example", "chain"])?;
        let text = runtime.block_on(bus::measure(options, &nats_server))?;
        (text, "docs/reliability.md", "guarantees")
    } else if options.raid {
        build(options, &["--workspace", "--bins"])?;
        (runtime.block_on(raid::measure(options, &nats_server))?, "docs/performance.md", "raid")
    } else {
        build(options, &["--workspace", "--bins"])?;
        build(options, &["--package", "discord-gateway", "--example", "monolith"])?;
        let samples = runtime.block_on(measure_all(options, &nats_server))?;
        (report::tables(&samples, options), "docs/performance.md", "bench")
    };
    println!("\n{text}");
    if options.write {
        page::write(page, marker, &text).with_context(|| format!("{page} was not changed"))?;
    }
    Ok(())
}

fn build(options: &Options, what: &[&str]) -> anyhow::Result<()> {
    if options.no_build {
        return Ok(());
    }
    shell::cargo(&[&["build", "--release"], what].concat())
}

async fn measure_all(options: &Options, nats_server: &std::path::Path) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for scenario in Scenario::all(options.seconds) {
            for kind in Kind::ALL {
                shell::complain(&format!(
                    "round {round} of {}: {}, {}",
                    options.rounds,
                    scenario.name,
                    kind.name()
                ));
                samples.push(measure::one(kind, &scenario, nats_server).await?);
            }
        }
    }
    Ok(samples)
}
