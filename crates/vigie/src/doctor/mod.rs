//! `vigie doctor`: what is wrong, and how to mend it. It changes nothing, and shows no secret.

mod disk;
mod nats;
mod platforms;
mod settings;

use std::process::ExitCode;

use serde::Serialize;

use crate::{cli, find::Which, paint::Paint};

/// The width of the column of areas.
const AREA_WIDTH: usize = 9;

/// Arguments of `vigie doctor`.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing, not wrong.
    Note,
    /// To be mended.
    Bad,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `settings`, `discord`, `twitch`, `clock`, `nats` or `disk`.
    pub area: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// How to mend it; empty when there is nothing to mend.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl Finding {
    fn good(area: &'static str, seen: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Good, seen: seen.into(), mend: String::new() }
    }

    fn note(area: &'static str, seen: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Note, seen: seen.into(), mend: String::new() }
    }

    fn bad(area: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Bad, seen: seen.into(), mend: mend.into() }
    }
}

/// Looks at everything; exit code 1 when something is wrong.
///
/// # Errors
/// When the findings cannot be printed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut findings = settings::look().await;
    findings.extend(platforms::look().await);
    findings.extend(nats::look(&options.which).await);
    findings.extend(disk::look(&options.which.data));
    let text = if options.json { cli::json_lines(&findings)? } else { render(&findings, Paint::stdout()) };
    cli::say(&text)?;
    let well = findings.iter().all(|finding| finding.verdict != Verdict::Bad);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.verdict {
            Verdict::Good => paint.good("✓"),
            Verdict::Note => paint.faint("·"),
            Verdict::Bad => paint.bad("✗"),
        };
        text += &format!("{sign} {:<AREA_WIDTH$} {}\n", finding.area, finding.seen);
        if !finding.mend.is_empty() {
            text += &format!("  {:<AREA_WIDTH$} {}\n", "", paint.strong(&format!("→ {}", finding.mend)));
        }
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    text += &match bad {
        0 => paint.good("\nNothing is wrong.\n"),
        1 => paint.bad("\n1 thing is wrong.\n"),
        _ => paint.bad(&format!("\n{bad} things are wrong.\n")),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_was_seen_and_how_to_mend_it() {
        let findings = [
            Finding::good("settings", "14 are set, all can be used"),
            Finding::note("twitch", "off: TWITCH_OAUTH_TOKEN is not set"),
            Finding::bad("clock", "34 s behind", "switch on time synchronisation"),
        ];
        insta::assert_snapshot!(render(&findings, Paint::plain()));
    }
}
