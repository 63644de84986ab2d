//! `cargo xtask operations`: how the services that look after a bot do their work, with real processes.
//!
//! | file | what is measured |
//! |---|---|
//! | `notice` | from a fault until it is known, and until it is known to be over |
//! | `saving` | how long a backup, a drill and a restore take, and in how much memory |
//! | `rest` | the memory of services that have nothing to do |
//!
//! `site` starts and ends the processes, `watch` is who is told by the health check, `late` a bad link.

mod late;
mod notice;
mod rest;
mod saving;
mod site;
mod watch;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::{notice::Faults, site::Site};
use crate::{nats, page, paths, shell};

/// The page that holds the tables.
const PAGE: &str = "docs/operations.md";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// How long it takes until a fault is known: 12 minutes
    Notice,
    /// Backups and restores: 3 minutes
    Saving,
    /// Memory at rest: half a minute
    Rest,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Saving => "saving",
            Self::Rest => "rest",
        }
    }
}

/// Arguments of `cargo xtask operations`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Measure this alone; may be given more than once
    #[arg(long, value_enum)]
    pub only: Vec<Part>,
    /// Measure the binaries of this folder and build nothing
    #[arg(long, value_name = "FOLDER")]
    pub binaries: Option<PathBuf>,
    /// Make these faults alone; may be given more than once
    #[arg(long, value_enum, conflicts_with = "write")]
    pub faults: Vec<Faults>,
    /// Write the tables into docs/operations.md
    #[arg(long)]
    pub write: bool,
}

/// Builds what is measured, measures, prints the tables.
///
/// # Errors
/// When something cannot be built or started, or does not do what it is measured at.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let nats_server = nats::find_or_fetch()?;
    let binaries = match &options.binaries {
        Some(folder) => std::path::absolute(folder)?,
        None => {
            shell::cargo(&["build", "--release", "--workspace", "--bins"])?;
            paths::target().join("release")
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for part in [Part::Rest, Part::Saving, Part::Notice] {
        if !options.only.is_empty() && !options.only.contains(&part) {
            continue;
        }
        let text = runtime.block_on(async {
            let site = |name| Site::start(name, &binaries, &nats_server);
            match part {
                Part::Notice => {
                    notice::measure([site("notice")?, site("notice-more")?], &options.faults).await
                }
                Part::Saving => saving::measure(site(part.name())?).await,
                Part::Rest => rest::measure(site(part.name())?).await,
            }
        })?;
        println!("\n{text}");
        if options.write {
            page::write(PAGE, part.name(), &text)?;
        }
    }
    Ok(())
}
