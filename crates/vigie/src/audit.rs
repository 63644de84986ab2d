//! `vigie audit`: what was done by those who operate the bot, and on whose behalf.

use std::process::ExitCode;

use bus::TRAIL_MAX;
use protocol::control::{Audit, AuditResult};

use crate::{
    cli,
    find::{self, Which},
    paint::{self, Paint},
};

/// What its `--help` ends with.
const EXIT_CODES: &str =
    "Exit codes: 0 answered; 1 NATS does not answer; 64 settings or arguments cannot be used";

/// Arguments of `vigie audit`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// How many of the newest entries, up to 1000
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=TRAIL_MAX))]
    lines: u64,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

/// Prints entries, the newest last, where a person looks.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let bus = find::connect(&options.which.nats_url()?).await?;
    let mut entries = bus.trail(options.lines).await?;
    entries.reverse();
    cli::say(&if options.json { cli::json_lines(&entries)? } else { table(&entries, Paint::stdout()) })?;
    Ok(ExitCode::SUCCESS)
}

const fn word(result: AuditResult) -> &'static str {
    match result {
        AuditResult::Begun => "… begun",
        AuditResult::Done => "✓ done",
        AuditResult::Failed => "✗ failed",
        AuditResult::Refused => "✗ refused",
    }
}

fn table(entries: &[Audit], paint: Paint) -> String {
    if entries.is_empty() {
        return "nothing was done in the last 90 days\n".to_owned();
    }
    let heading = ["WHEN (UTC)", "SERVICE", "WHAT", "TO WHAT", "RESULT", "ASKED BY", "IN WORDS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for one in entries {
        let texts = [&one.service, &one.verb, &one.object].map(|text| paint::harmless(text));
        let [service, verb, object] = texts;
        let (by, words) = (paint::harmless(&one.by), paint::harmless(&one.words));
        rows.push(vec![
            paint::when(one.at_ms),
            service,
            verb,
            object,
            word(one.result).to_owned(),
            by,
            words,
        ]);
    }
    let style = |row: usize, column: usize, cell: String| match (row, column) {
        (0, _) => paint.faint(&cell),
        (_, 1) => paint.strong(&cell),
        (row, 4) => match entries[row - 1].result {
            AuditResult::Begun => cell,
            AuditResult::Done => paint.good(&cell),
            AuditResult::Failed | AuditResult::Refused => paint.bad(&cell),
        },
        _ => cell,
    };
    paint::table(&rows, &[], &style)
}

#[cfg(test)]
mod tests {
    use protocol::VERSION;

    use super::*;

    #[test]
    fn what_was_done_is_a_table() {
        let entry = |verb: &str, result, words: &str| Audit {
            v: VERSION,
            at_ms: 1_700_000_000_000,
            service: "healthcheck".to_owned(),
            by: "rule:silent".to_owned(),
            verb: verb.to_owned(),
            object: "pi-twitch-gateway".to_owned(),
            result,
            words: words.to_owned(),
        };
        let entries = [
            entry("restart", AuditResult::Done, "no heartbeat for 31 s"),
            entry("restart", AuditResult::Refused, "4 times in an hour\x1b[2J"),
        ];
        insta::assert_snapshot!(table(&entries, Paint::plain()));
        assert!(table(&[], Paint::plain()).starts_with("nothing was done"));
    }
}
