//! `cargo xtask bench`: what Vigie costs, beside a bot of one process, in one run on one machine.
//!
//! Each round starts a fresh sandbox and one of the bots, loads the local Discord, and reads CPU time,
//! memory and written bytes of every process from the kernel. The bots alternate, so that whatever else
//! the machine does falls on all. The sandbox is not counted: it stands for Discord. Vigie is measured a
//! second time with its streams in memory, which shows what the disk costs.

mod bot;
mod measure;
mod report;

use anyhow::Context;
use clap::Args;

use crate::{nats, shell};

use self::{
    bot::Kind,
    measure::{Sample, Scenario},
};

/// How long, and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each bot is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// How long each load runs, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=600))]
    pub seconds: u32,
    /// Measure what is built already.
    #[arg(long)]
    pub no_build: bool,
    /// Write the table into docs/performance.md.
    #[arg(long)]
    pub write: bool,
}

/// Builds what is measured, measures, prints the tables.
///
/// # Errors
/// When something cannot be built or started, or a bot does not answer.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let nats_server = nats::find_or_fetch()?;
    if !options.no_build {
        shell::cargo(&["build", "--release", "--workspace", "--bins"])?;
        shell::cargo(&["build", "--release", "--package", "discord-gateway", "--example", "monolith"])?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let samples = runtime.block_on(measure_all(options, &nats_server))?;
    let text = report::tables(&samples, options);
    println!("\n{text}");
    if options.write {
        report::write(&text).context("docs/performance.md was not changed")?;
    }
    Ok(())
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
