//! What `vigie up` tells: reports about its parts, and the parts' own log lines under their names.
//!
//! For a person both go to standard output. For a program (`--json`) reports are JSON lines on
//! standard output, and log lines go to standard error.

use std::{io, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    log::Log,
    writer::{Writer, write_line},
};
use crate::paint::Paint;

/// What a part is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is going to be started.
    Planned,
    /// Its process runs.
    Starting,
    /// It does not work yet, or not at the moment.
    Waiting,
    /// It works.
    Ready,
    /// Its process ended unasked; it is started again.
    Ended,
    /// It cannot be started; nobody tries again.
    Failed,
    /// It ended because it was asked to.
    Stopped,
}

/// What happened to one part, or to `vigie`, the whole.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Its name.
    pub part: String,
    /// What it is now.
    pub state: State,
    /// Why, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Milliseconds since its start; for `stopped`, since it was asked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u128>,
    /// Its process, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Where it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Report {
    /// A report without details.
    pub(crate) fn new(part: &str, state: State) -> Self {
        Self { part: part.to_owned(), state, detail: String::new(), after_ms: None, pid: None, url: None }
    }

    /// Adds the reason.
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds the time.
    pub(crate) fn after(mut self, time: Duration) -> Self {
        self.after_ms = Some(time.as_millis());
        self
    }
}

/// Where reports and log lines go; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reporter(Arc<Inner>);

struct Inner {
    /// Standard output.
    out: Writer,
    /// Standard error, which has the log lines when reports are for a program.
    log: Option<Writer>,
    /// What `vigie logs` reads.
    kept: Writer,
    names: Vec<String>,
    width: usize,
    paint: Paint,
}

impl Reporter {
    /// For parts with these names, which are reported as planned. Everything is written to `kept` as well.
    ///
    /// # Errors
    /// When the operating system gives no thread to write on.
    pub(crate) fn new(json: bool, names: &[String], kept: Log) -> io::Result<Self> {
        let width = names.iter().map(String::len).max().unwrap_or(0).max("vigie".len());
        let (out, log) = if json {
            let log = Writer::start(io::stderr(), |out, lost| write_line(out, &gap(lost)))?;
            let told = log.clone();
            (Writer::start(io::stdout(), move |_, lost| told.push(gap(lost)))?, Some(log))
        } else {
            (Writer::start(io::stdout(), |out, lost| write_line(out, &gap(lost)))?, None)
        };
        let kept = Writer::start(kept, |out, lost| write_line(out, &gap(lost)))?;
        let inner = Inner { out, log, kept, names: names.to_vec(), width, paint: Paint::stdout() };
        let reporter = Self(Arc::new(inner));
        if json {
            names.iter().for_each(|name| reporter.report(&Report::new(name, State::Planned)));
        }
        Ok(reporter)
    }

    /// Reports.
    pub(crate) fn report(&self, report: &Report) {
        if self.0.log.is_some() {
            // A report is plain data, so that this cannot fail.
            let line = serde_json::to_string(report).unwrap_or_default();
            self.0.out.push(line);
            if let Some(text) = sentence(report) {
                self.0.kept.push(format!("vigie | {text}"));
            }
        } else if let Some(text) = sentence(report) {
            self.note(&text);
        }
    }

    /// Tells a person something.
    pub(crate) fn note(&self, text: &str) {
        self.line("vigie", text);
    }

    /// Passes a line of a part's log on.
    pub(crate) fn line(&self, part: &str, text: &str) {
        let Inner { out, log, kept, names, width, paint } = &*self.0;
        kept.push(format!("{part} | {text}"));
        let name = format!("{part:<width$} |");
        if let Some(log) = log {
            log.push(format!("{name} {text}"));
            return;
        }
        let name = match names.iter().position(|known| known == part) {
            Some(number) => paint.numbered(number, &name),
            None => paint.strong(&name),
        };
        out.push(format!("{name} {text}"));
    }

    /// Waits, not for long, until the last line is written.
    pub(crate) async fn finish(&self) {
        let log = async {
            if let Some(log) = &self.0.log {
                log.finish().await;
            }
        };
        tokio::join!(self.0.out.finish(), log, self.0.kept.finish());
    }
}

/// What is said in the place of lines that nobody read in time.
fn gap(lost: u64) -> String {
    let lines = if lost == 1 { "1 line is".to_owned() } else { format!("{lost} lines are") };
    format!("vigie | {lines} missing near here, since nobody took them in time")
}

/// What a person is told; nothing of what is merely on its way.
fn sentence(report: &Report) -> Option<String> {
    let Report { part, detail, url, .. } = report;
    let after = match report.after_ms {
        None => String::new(),
        Some(ms @ 0..1000) => format!(" after {ms} ms"),
        Some(ms) => format!(" after {}.{} s", ms / 1000, ms % 1000 / 100),
    };
    let whole = part == "vigie";
    Some(match report.state {
        State::Planned | State::Starting => return None,
        State::Waiting => format!("{part} is not ready: {detail}"),
        State::Ready if whole => match url.as_deref() {
            Some("") | None => format!("everything is ready{after}"),
            Some(url) => format!("everything is ready{after}: {url}"),
        },
        State::Ready => {
            let note = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            let at = url.as_ref().map(|url| format!(", {url}")).unwrap_or_default();
            format!("{part} is ready{after}{note}{at}")
        }
        State::Ended => format!("{part} ended: {detail}"),
        State::Failed => format!("{part} cannot start: {detail}"),
        State::Stopped if whole => format!("everything has ended{after}"),
        State::Stopped => format!("{part} has ended{after}"),
    })
}
