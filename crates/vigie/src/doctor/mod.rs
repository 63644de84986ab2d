//! `vigie doctor`: what is wrong, and how to mend it. It changes nothing, and shows no secret.

mod card;
mod clock;
mod disk;
mod docker;
#[cfg(test)]
mod fake;
mod files;
mod machine;
mod memory;
mod names;
mod nats;
mod platforms;
mod ports;
mod power;
mod settings;

use std::{
    path::{Path, PathBuf, absolute},
    process::ExitCode,
};

use serde::Serialize;

use self::machine::Machine;
use crate::{
    cli, env_file,
    find::Which,
    paint::{self, Paint},
};

/// The width of the column of areas.
const AREA_WIDTH: usize = 9;

/// What its `--help` ends with.
const EXIT_CODES: &str =
    "Exit codes: 0 nothing is wrong; 1 something is; 64 settings or arguments cannot be used";

/// Arguments of `vigie doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Where the machine's own / is, when that is mounted elsewhere, as into a container
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    which: Which,
}

/// Arguments of `vigie check`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CheckOptions {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// The data folder of a `vigie up`
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing, not wrong.
    Note,
    /// Works, and should be mended before it does not.
    Warn,
    /// To be mended.
    Bad,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it is about: `settings`, `files`, `discord`, `twitch`, `clock`, `nats`, `ports`, `disk`, `card`,
    /// `machine`, `memory`, `power`, `heat` or `docker`.
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

    fn warn(area: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Warn, seen: seen.into(), mend: mend.into() }
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
    tell(&look(options).await, options.json)
}

/// Looks at what can be seen without asking anybody; exit code 1 when something could not start so.
///
/// # Errors
/// As [`run`].
pub(crate) async fn check(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    tell(&look_here(&options.data).await, options.json)
}

/// The same for another command: says only what is wrong, where `aside` on standard error, and whether nothing is.
///
/// # Errors
/// As [`run`].
pub(crate) async fn can_start(data: &Path, aside: bool) -> anyhow::Result<bool> {
    let mut findings = look_here(data).await;
    findings.retain(|finding| finding.verdict == Verdict::Bad);
    if !findings.is_empty() {
        let text = render(&findings, Paint::stdout(), paint::width());
        if aside {
            cli::complain(text.trim_end());
        } else {
            cli::say(&text)?;
        }
    }
    Ok(findings.is_empty())
}

async fn look_here(data: &Path) -> Vec<Finding> {
    let (machine, here) = (Machine::at(Path::new("/")), Path::new("."));
    let file = env_file::read(&here.join(env_file::NAME)).unwrap_or_default();
    let names = names::Names::gather();
    let mut findings = settings::look(&names, &file).await;
    if !machine.in_container() {
        findings.extend(files::look(here, &names.secret));
    }
    findings.extend(disk::look(&machine, data));
    findings.extend(machine::look(&machine));
    let docker = docker::is_there();
    findings.extend(memory::look(&machine, docker || machine.in_container()));
    if docker && here.join(docker::COMPOSE_FILE).is_file() {
        findings.push(docker::look_at_file().await);
    }
    findings
}

fn tell(findings: &[Finding], json: bool) -> anyhow::Result<ExitCode> {
    let text =
        if json { cli::json_lines(findings)? } else { render(findings, Paint::stdout(), paint::width()) };
    cli::say(&text)?;
    let well = findings.iter().all(|finding| finding.verdict != Verdict::Bad);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(options: &Options) -> Vec<Finding> {
    let machine = Machine::at(&options.root);
    let here = Path::new(".");
    // One that cannot be read has stopped this program already.
    let file = env_file::read(&here.join(env_file::NAME)).unwrap_or_default();
    let names = names::Names::gather();
    let (mut findings, (accounts, skew_ms)) = tokio::join!(settings::look(&names, &file), platforms::look());
    // Inside a container only its own user is left.
    if !machine.in_container() {
        findings.extend(files::look(here, &names.secret));
    }
    findings.extend(accounts);
    findings.extend(clock::look(&machine, skew_ms));
    let nats = nats::look(&options.which).await;
    let runs = nats.iter().any(|finding| finding.verdict == Verdict::Good);
    findings.extend(nats);
    if !runs {
        findings.extend(ports::look(&machine, &file));
    }
    let data = &options.which.data;
    findings.extend(disk::look(&machine, data));
    findings.extend(card::look(&machine, &absolute(data).unwrap_or_else(|_| data.clone())));
    findings.extend(machine::look(&machine));
    let docker = docker::is_there();
    findings.extend(memory::look(&machine, docker || machine.in_container()));
    findings.extend(power::look(&machine));
    if docker {
        findings.extend(docker::look().await);
    }
    findings
}

/// `width`: of the terminal, in columns; without one a line is as long as it likes.
fn render(findings: &[Finding], paint: Paint, width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX);
    // The sign, the area, and the arrow.
    let (indent, deeper) = (AREA_WIDTH + 3, AREA_WIDTH + 5);
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.verdict {
            Verdict::Good => paint.good("✓"),
            Verdict::Note => paint.faint("·"),
            Verdict::Warn => paint.warn("!"),
            Verdict::Bad => paint.bad("✗"),
        };
        text +=
            &format!("{sign} {:<AREA_WIDTH$} {}\n", finding.area, paint::wrap(&finding.seen, width, indent));
        if !finding.mend.is_empty() {
            text += &format!(
                "  {:<AREA_WIDTH$} {}\n",
                "",
                paint.strong(&format!("→ {}", paint::wrap(&finding.mend, width, deeper)))
            );
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    text += &match count(Verdict::Bad) {
        0 => paint.good("\nNothing is wrong."),
        1 => paint.bad("\n1 thing is wrong."),
        bad => paint.bad(&format!("\n{bad} things are wrong.")),
    };
    text += &match count(Verdict::Warn) {
        0 => "\n".to_owned(),
        1 => paint.warn(" 1 should be mended some day.\n"),
        some => paint.warn(&format!(" {some} should be mended some day.\n")),
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
            Finding::warn("power", "too little voltage at least once", "use the Pi's own power supply"),
            Finding::bad(
                "clock",
                "34 s behind",
                "switch on time synchronisation, such as `sudo timedatectl set-ntp true`",
            ),
        ];
        insta::assert_snapshot!(render(&findings, Paint::plain(), Some(60)));
    }
}
