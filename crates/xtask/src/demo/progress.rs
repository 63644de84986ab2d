//! The list of parts that a person watches while they start: redrawn in place on a terminal, one
//! line per part that is ready elsewhere.

use std::{collections::BTreeSet, io::Write};

use super::stack::{Report, State};
use crate::shell::Paint;

/// Frames of the sign that something is going on.
const FRAMES: [&str; 4] = ["◐", "◓", "◑", "◒"];
/// The terminal must not wrap a long line, which would spoil the redrawing.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// The width of the column of names.
const NAME_WIDTH: usize = 18;

/// One part.
struct Row {
    name: String,
    state: State,
    detail: String,
    after_ms: Option<u64>,
}

/// The list.
pub struct Progress {
    rows: Vec<Row>,
    /// Parts that ended and are not ready again.
    away: BTreeSet<String>,
    paint: Paint,
    frame: usize,
    drawn: usize,
}

impl Progress {
    /// An empty list.
    pub fn new() -> Self {
        let paint = Paint::stdout();
        println!("{}", paint.strong("Starting Vigie"));
        Self { rows: Vec::new(), away: BTreeSet::new(), paint, frame: 0, drawn: 0 }
    }

    /// Takes what is reported of one part while everything starts.
    pub fn take(&mut self, report: &Report) {
        if report.part == "vigie" {
            return;
        }
        let row = row(report);
        if !self.paint.live() && matches!(row.state, State::Ready | State::Ended | State::Failed) {
            println!("{}", line(&row, self.paint, FRAMES[0]));
        }
        match self.rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
        self.draw();
    }

    /// Moves the sign that something is going on.
    pub fn tick(&mut self) {
        self.frame += 1;
        self.draw();
    }

    /// Draws the list for the last time, as it is now.
    pub fn settle(&mut self) {
        self.draw();
        self.drawn = 0;
    }

    /// Tells below the list what happens to a part later on. What a part goes through while it comes
    /// back is no news.
    pub fn tell(&mut self, report: &Report) {
        if report.part == "vigie" {
            if report.state == State::Stopped {
                println!("Everything has ended{}.", after(report.after_ms));
            }
            return;
        }
        let news = match report.state {
            State::Planned | State::Starting => false,
            State::Waiting => !self.away.contains(&report.part),
            State::Ended => {
                self.away.insert(report.part.clone());
                true
            }
            State::Ready | State::Failed | State::Stopped => {
                self.away.remove(&report.part);
                true
            }
        };
        if news {
            println!("{}", line(&row(report), self.paint, FRAMES[0]));
        }
    }

    fn draw(&mut self) {
        if !self.paint.live() {
            return;
        }
        let mut text = String::from(NO_WRAP);
        if self.drawn > 0 {
            text += &format!("\x1b[{}A", self.drawn);
        }
        for row in &self.rows {
            text += &format!("\x1b[2K{}\n", line(row, self.paint, FRAMES[self.frame % FRAMES.len()]));
        }
        text += WRAP;
        self.drawn = self.rows.len();
        let mut out = std::io::stdout();
        // A terminal that went away is noticed by whoever holds it, not here.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn row(report: &Report) -> Row {
    Row {
        name: report.part.clone(),
        state: report.state,
        detail: report.detail.clone(),
        after_ms: report.after_ms,
    }
}

fn line(row: &Row, paint: Paint, frame: &str) -> String {
    let name = format!("{:<NAME_WIDTH$}", row.name);
    let because = |word: &str| match row.detail.as_str() {
        "" => word.to_owned(),
        detail => format!("{word}: {detail}"),
    };
    match row.state {
        State::Planned => paint.faint(&format!("  · {name}")),
        State::Starting => format!("  {frame} {name} {}", paint.faint("starting")),
        State::Waiting => format!("  {frame} {name} {}", paint.faint(&because("waiting"))),
        State::Ready => {
            let ready = format!("ready{}", after(row.after_ms));
            let note = if row.detail.is_empty() { String::new() } else { format!(" ({})", row.detail) };
            format!("  {} {name} {}", paint.good("✓"), paint.faint(&(ready + &note)))
        }
        State::Ended => format!("  {} {name} {}", paint.bad("!"), because("ended")),
        State::Failed => format!("  {} {name} {}", paint.bad("✗"), because("cannot start")),
        State::Stopped => {
            format!("  {} {name} {}", paint.faint("·"), paint.faint(&format!("ended{}", after(row.after_ms))))
        }
    }
}

/// ` after 40 ms`, ` after 1.2 s`.
fn after(ms: Option<u64>) -> String {
    match ms {
        None => String::new(),
        Some(ms @ 0..1000) => format!(" after {ms} ms"),
        Some(ms) => format!(" after {}.{} s", ms / 1000, ms % 1000 / 100),
    }
}
