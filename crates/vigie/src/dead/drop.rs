//! `vigie dead drop`: drops letters for good, after asking.

use std::{io, process::ExitCode};

use bus::{Bus, DeadLetters, Stream};
use protocol::control::AuditResult;
use serde_json::json;
use service::clock;

use super::Chosen;
use crate::{
    ask::{can_ask, confirmed},
    cli,
    find::Which,
    note, paint,
};

/// Arguments of `vigie dead drop`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// With --all: only those that were buried longer ago, such as 90m, 12h or 3d
    #[arg(long, value_name = "AGE", requires = "all", conflicts_with = "numbers", value_parser = age_s)]
    older_than: Option<u64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

/// Drops letters; exit code 1 when one of them is not there, or when the answer was no.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !can_ask(options.yes) {
        return Ok(cli::refuse("dropping is for good, and there is no terminal to ask on: add --yes"));
    }
    let (bus, letters) = super::open(&options.which, options.chosen.stream).await?;
    if options.chosen.all { all(&bus, &letters, options).await } else { these(&bus, &letters, options).await }
}

async fn these(bus: &Bus, letters: &DeadLetters, options: &Options) -> anyhow::Result<ExitCode> {
    let numbers = &options.chosen.numbers;
    let named: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let what = if numbers.len() == 1 { "dead letter" } else { "dead letters" };
    if !options.yes && !confirmed(format!("drop {what} {} for good?", named.join(", "))).await? {
        return Ok(declined());
    }
    let mut dropped = 0;
    let mut outcome = Ok(());
    for number in numbers {
        match letters.remove(*number).await {
            Ok(true) => dropped += 1,
            Ok(false) => cli::complain(&format!("there is no dead letter {number}")),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    // What was dropped before NATS went away is gone all the same.
    remember(bus, dropped, options).await;
    outcome?;
    tell(dropped, options)?;
    Ok(super::done(usize::try_from(dropped).is_ok_and(|dropped| dropped == numbers.len())))
}

async fn all(bus: &Bus, letters: &DeadLetters, options: &Options) -> anyhow::Result<ExitCode> {
    let tally = letters.tally().await?;
    // What is buried while a person thinks about the answer was not asked about.
    let through = match options.older_than {
        None => tally.last,
        Some(age_s) => {
            letters.last_before(clock::unix_ms().saturating_sub(age_s.saturating_mul(1000))).await?
        }
    };
    let any = letters.next(1).await?.is_some_and(|letter| letter.number <= through);
    if !any {
        cli::say(&if options.json {
            json!({ "dropped": 0 }).to_string() + "\n"
        } else {
            "no dead letters\n".to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !options.yes && !confirmed(question(tally.count, options)).await? {
        return Ok(declined());
    }
    let dropped = letters.remove_through(through).await?;
    remember(bus, dropped, options).await;
    tell(dropped, options)?;
    Ok(ExitCode::SUCCESS)
}

/// What was dropped, for the audit trail.
async fn remember(bus: &Bus, dropped: u64, options: &Options) {
    if dropped > 0 {
        let words = format!("dropped {}", super::count_of(dropped));
        note::done(bus, "drop", options.chosen.in_words(), AuditResult::Done, words).await;
    }
}

fn question(count: u64, options: &Options) -> String {
    let of = options.chosen.stream.map(|stream: Stream| format!(" of {}", stream.name())).unwrap_or_default();
    match options.older_than {
        None => format!("drop {}{of} for good?", super::count_of(count)),
        Some(age_s) => {
            let age = paint::duration(age_s);
            format!("of {}{of}, drop for good those older than {age}?", super::count_of(count))
        }
    }
}

fn declined() -> ExitCode {
    cli::complain("nothing was dropped");
    ExitCode::FAILURE
}

fn tell(dropped: u64, options: &Options) -> io::Result<()> {
    cli::say(&match dropped {
        _ if options.json => json!({ "dropped": dropped }).to_string() + "\n",
        0 => "nothing was dropped\n".to_owned(),
        _ => format!("dropped {}\n", super::count_of(dropped)),
    })
}

/// `90s`, `90m`, `12h`, `3d` in seconds.
fn age_s(text: &str) -> Result<u64, String> {
    let expected = || "expected an age such as 90m, 12h or 3d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(expected()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    count.checked_mul(unit).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(["90s", "90m", "12h", "3d"].map(age_s), [90, 5400, 43_200, 259_200].map(Ok));
        for text in ["", "d", "3", "3w", "-1d", "1.5h", "3é", "99999999999999999999d"] {
            assert!(age_s(text).is_err(), "{text}");
        }
    }
}
