//! `vigie silence`: of what `healthcheck` tells nobody for a while, since somebody knows of it.

use std::process::ExitCode;

use anyhow::bail;
use protocol::{
    VERSION,
    control::{
        Alert, AlertLevel, HealthAnswer, HealthOrder, HealthReply, HealthRequest, SILENCE_MAX_S,
        SILENCE_MIN_S, Silence,
    },
};
use serde::Serialize;
use service::clock;

use crate::{
    find::Which,
    jobs::{self, BY, Reply, Service, ViewOptions},
    paint::{self, Paint},
};

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 refused, or nobody answers; 64 settings or arguments cannot be used";

/// Arguments of `vigie silence`.
#[derive(clap::Args, Debug)]
#[command(after_help = jobs::VIEW_EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

impl Options {
    /// Which Vigie it is about.
    pub(crate) const fn which(&self) -> &Which {
        match &self.verb {
            Verb::List(view) => &view.which,
            Verb::Set(options) => &options.view.which,
            Verb::End(options) => &options.view.which,
        }
    }
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List what is wrong, and of what of it nobody is told
    #[command(after_help = jobs::VIEW_EXIT_CODES)]
    List(ViewOptions),
    /// Have nobody told of something that is wrong, unless it gets worse
    #[command(after_help = EXIT_CODES)]
    Set(SetOptions),
    /// Have people told of it again
    #[command(after_help = EXIT_CODES)]
    End(EndOptions),
}

#[derive(clap::Args, Debug)]
struct SetOptions {
    /// What is wrong, as `vigie silence list` calls it, such as disk or silent/backup
    #[arg(value_name = "ALERT")]
    alert: String,
    /// For how long: from 1m to 30d, such as 90m, 12h or 5d
    #[arg(long = "for", value_name = "TIME", value_parser = for_s)]
    for_s: u64,
    /// Why, in words for others
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    view: ViewOptions,
}

#[derive(clap::Args, Debug)]
struct EndOptions {
    /// What is silenced, as `vigie silence list` calls it
    #[arg(value_name = "ALERT")]
    alert: String,
    #[command(flatten)]
    view: ViewOptions,
}

/// What is silenced, and what is wrong.
#[derive(Serialize)]
struct Listed {
    silences: Vec<Silence>,
    alerts: Vec<Alert>,
}

/// Does what the arguments ask.
///
/// # Errors
/// When nobody answers, or the answer is a refusal.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let paint = Paint::stdout();
    match &options.verb {
        Verb::List(view) => match ask(view, HealthOrder::Silences).await? {
            HealthReply::Silences { silences, alerts } => {
                let listed = Listed { silences, alerts };
                view.show(&listed, || render(&listed, clock::unix_ms(), paint))
            }
            _ => odd(),
        },
        Verb::Set(SetOptions { alert, for_s, reason, view }) => {
            let (alert, reason) = (alert.clone(), reason.clone());
            let order = HealthOrder::Silence { alert, for_s: *for_s, reason };
            match ask(view, order).await? {
                HealthReply::Done { silence } => view.show(&silence, || was_set(&silence, paint)),
                _ => odd(),
            }
        }
        Verb::End(EndOptions { alert, view }) => {
            match ask(view, HealthOrder::Unsilence { alert: alert.clone() }).await? {
                HealthReply::Done { silence } => view.show(&silence, || {
                    let alert = paint::harmless(&silence.alert);
                    format!("{} {alert}: people are told of it again\n", paint.good("✓"))
                }),
                _ => odd(),
            }
        }
    }
}

fn odd() -> anyhow::Result<ExitCode> {
    bail!("healthcheck answers something that was not asked")
}

async fn ask(view: &ViewOptions, order: HealthOrder) -> anyhow::Result<HealthReply> {
    let service =
        Service::open(&view.which, "healthcheck", "healthcheck", request(HealthOrder::Silences), read)
            .await?;
    Ok(service.ask(&request(order)).await?.reply)
}

fn request(order: HealthOrder) -> HealthRequest {
    HealthRequest { v: VERSION, by: BY.to_owned(), order }
}

fn read(answer: &HealthAnswer) -> Reply {
    match &answer.reply {
        HealthReply::Refused { reason } => Reply::Refused(reason.clone()),
        HealthReply::Done { .. } | HealthReply::Silences { .. } => Reply::Odd,
    }
}

const fn word(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Warning => "warning",
        AlertLevel::Critical => "critical",
    }
}

fn was_set(silence: &Silence, paint: Paint) -> String {
    let (alert, until) = (paint::harmless(&silence.alert), paint::when(silence.until_ms));
    let but = match silence.level {
        AlertLevel::Warning => "; told all the same when it gets critical",
        AlertLevel::Critical => "",
    };
    format!("{} {alert}: nobody is told of it until {until} (UTC){but}\n", paint.good("✓"))
}

fn render(listed: &Listed, now_ms: u64, paint: Paint) -> String {
    let mut text = if listed.alerts.is_empty() {
        format!("{} nothing is wrong\n", paint.good("✓"))
    } else {
        let heading = ["WRONG", "HOW BAD", "FOR", "WHAT"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(listed.alerts.iter().map(|alert| {
            vec![
                paint::harmless(&alert.alert),
                word(alert.level).to_owned(),
                paint::duration(now_ms.saturating_sub(alert.since_ms) / 1000),
                paint::harmless(&format!("{}: {}", alert.title, alert.text)),
            ]
        }));
        let style = |row: usize, column: usize, cell: String| match (row, column) {
            (0, _) => paint.faint(&cell),
            (row, 1) => match listed.alerts[row - 1].level {
                AlertLevel::Warning => paint.warn(&cell),
                AlertLevel::Critical => paint.bad(&cell),
            },
            (_, 0) => paint.strong(&cell),
            _ => cell,
        };
        paint::table(&rows, &[2], &style)
    };
    text.push('\n');
    if listed.silences.is_empty() {
        return text + "nothing is silenced\n";
    }
    let heading = ["SILENCED", "UP TO", "UNTIL (UTC)", "BY", "WHY"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(listed.silences.iter().map(|silence| {
        vec![
            paint::harmless(&silence.alert),
            word(silence.level).to_owned(),
            paint::when(silence.until_ms),
            paint::harmless(&silence.by),
            paint::harmless(&silence.reason),
        ]
    }));
    let style = |row: usize, column: usize, cell: String| match (row, column) {
        (0, _) => paint.faint(&cell),
        (_, 0) => paint.strong(&cell),
        _ => cell,
    };
    text + &paint::table(&rows, &[], &style)
}

/// `90m`, `12h`, `5d` in seconds.
fn for_s(text: &str) -> Result<u64, String> {
    let expected = || "expected a time from 1m to 30d, such as 90m, 12h or 5d".to_owned();
    let (count, unit) = match text.strip_suffix('m') {
        Some(count) => (count, 60),
        None => match text.strip_suffix('h') {
            Some(count) => (count, 3600),
            None => (text.strip_suffix('d').ok_or_else(expected)?, 86_400),
        },
    };
    let count: u64 = count.parse().map_err(|_| expected())?;
    let seconds = count.checked_mul(unit).ok_or_else(expected)?;
    if (SILENCE_MIN_S..=SILENCE_MAX_S).contains(&seconds) { Ok(seconds) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(alert: &str, level: AlertLevel) -> Silence {
        let reason = "the new card comes on Saturday".to_owned();
        let (since_ms, until_ms) = (1_700_000_000_000, 1_700_432_000_000);
        Silence { alert: alert.to_owned(), level, since_ms, until_ms, by: BY.to_owned(), reason }
    }

    fn alert(alert: &str, level: AlertLevel, title: &str, text: &str) -> Alert {
        let (title, text) = (title.to_owned(), text.to_owned());
        Alert { alert: alert.to_owned(), level, since_ms: 1_700_000_000_000, title, text }
    }

    #[test]
    fn what_is_wrong_and_what_is_silenced() {
        let listed = Listed {
            silences: vec![silence("disk", AlertLevel::Warning)],
            alerts: vec![
                alert("silent/backup", AlertLevel::Critical, "backup: does not answer", "not for 41 s"),
                alert("disk", AlertLevel::Warning, "disk nearly full", "87 % used, 2.1 GB left"),
            ],
        };
        let none = Listed { silences: Vec::new(), alerts: Vec::new() };
        let now_ms = 1_700_000_300_000;
        let texts = [&listed, &none].map(|listed| render(listed, now_ms, Paint::plain()));
        let set = [AlertLevel::Warning, AlertLevel::Critical]
            .map(|level| was_set(&silence("disk", level), Paint::plain()));
        insta::assert_snapshot!([texts, set].concat().join("---\n"));
    }

    #[test]
    fn a_time_is_bounded() {
        let good = ["1m", "90m", "12h", "30d"].map(|text| for_s(text).unwrap());
        assert_eq!(good, [60, 5400, 43_200, 2_592_000]);
        for bad in ["", "m", "0m", "31d", "60", "1w", "-1d", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(for_s(bad).is_err(), "{bad}");
        }
    }
}
