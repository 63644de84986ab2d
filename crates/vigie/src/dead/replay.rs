//! `vigie dead replay`: gives letters back to where they came from.

use std::process::ExitCode;

use anyhow::bail;
use bus::{DeadLetters, Letter, ReplayError};
use protocol::control::AuditResult;
use serde_json::json;
use service::clock;

use super::{Chosen, late::Late};
use crate::{cli, find::Which, note};

/// So many letters that were kept are told one by one; the others are only counted.
const TOLD: u64 = 20;

/// Arguments of `vigie dead replay`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// Give what comes too late the present time, so that it is done, and answered, as if asked now
    #[arg(long)]
    as_new: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Report {
    given_back: u64,
    kept: u64,
    late: bool,
}

/// Gives letters back; exit code 1 when one of them was kept or is not there.
///
/// # Errors
/// When NATS cannot be reached or refuses; what was not given back by then is still there.
pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (bus, letters) = super::open(&options.which, options.chosen.stream).await?;
    let mut report = Report::default();
    let outcome = if options.chosen.all {
        all(&letters, options.as_new, &mut report).await
    } else {
        these(&letters, options, &mut report).await
    };
    if outcome.is_ok() || report.given_back + report.kept > 0 {
        report.tell(options.json)?;
    }
    if report.given_back > 0 {
        let all = outcome.is_ok() && report.kept == 0;
        let result = if all { AuditResult::Done } else { AuditResult::Failed };
        let words = report.in_words();
        note::done(&bus, "replay", options.chosen.in_words(), result, words).await;
    }
    outcome?;
    Ok(super::done(report.kept == 0))
}

async fn all(letters: &DeadLetters, as_new: bool, report: &mut Report) -> anyhow::Result<()> {
    // What fails again meanwhile gets a higher number, and would be given back for ever.
    let last = letters.tally().await?.last;
    let mut from = 1;
    while let Some(letter) = letters.next(from).await?.filter(|letter| letter.number <= last) {
        from = letter.number + 1;
        give_back(letters, &letter, as_new, report).await?;
    }
    Ok(())
}

async fn these(letters: &DeadLetters, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    for number in &options.chosen.numbers {
        match letters.get(*number).await? {
            Some(letter) => give_back(letters, &letter, options.as_new, report).await?,
            None => report.keep(&format!("there is no dead letter {number}")),
        }
    }
    Ok(())
}

/// Gives one letter back, or says why it is kept. An error is about all letters.
async fn give_back(
    letters: &DeadLetters,
    letter: &Letter,
    as_new: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let now_us = clock::unix_us();
    let late = Late::of(letter, now_us / 1000);
    if let (Some(late), false) = (late, as_new) {
        report.late = true;
        report.keep(&format!("dead letter {} is kept: {}", letter.number, late.reason()));
        return Ok(());
    }
    let mended = late.map(|late| late.renewed(letter, now_us)).transpose()?;
    match letters.replay(letter, mended).await {
        Ok(_) => report.given_back += 1,
        Err(error) if error.is_of_the_letter() => report.keep(&error.to_string()),
        Err(error @ ReplayError::NotRemoved { .. }) => {
            report.given_back += 1;
            bail!("{:#}; drop it, or replay it within 10 minutes", anyhow::Error::from(error));
        }
        Err(error) => bail!("{:#}; replay it again when NATS takes it", anyhow::Error::from(error)),
    }
    Ok(())
}

impl Report {
    fn keep(&mut self, why: &str) {
        self.kept += 1;
        if self.kept <= TOLD {
            cli::complain(why);
        }
    }

    fn tell(&self, json: bool) -> std::io::Result<()> {
        if self.kept > TOLD {
            cli::complain(&format!("… and {} more", self.kept - TOLD));
        }
        if self.late {
            cli::complain(
                "what is late can be replayed with --as-new: it is then done and answered as if asked now",
            );
        }
        if json {
            return cli::say(&(json!({ "replayed": self.given_back, "kept": self.kept }).to_string() + "\n"));
        }
        cli::say(&match (self.given_back, self.kept) {
            (0, 0) => "no dead letters\n".to_owned(),
            _ => self.in_words() + "\n",
        })
    }

    fn in_words(&self) -> String {
        let (are, they) = if self.given_back == 1 { ("is", "it") } else { ("are", "they") };
        let kept = if self.kept > 0 { format!(", {} not", self.kept) } else { String::new() };
        format!("{} {are} back where {they} came from{kept}", super::count_of(self.given_back))
    }
}
