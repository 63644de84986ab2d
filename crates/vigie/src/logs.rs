//! `vigie logs`: what the parts have written, whatever runs them.

use std::{io, process::ExitCode};

use tokio::signal;

use crate::{
    cli,
    here::{self, LogLine, Runs, Wanted},
    paint::{self, Paint},
};

/// Room for the names of the parts that every bot has, `command-worker-1` and `discord-gateway-1`, and the most
/// that others are aligned with.
const WIDTHS: (usize, usize) = (17, 24);

/// What its `--help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 printed, or ended by Ctrl-C; 1 nothing runs Vigie here, or its logs cannot be read;\n\
64 arguments cannot be used";

/// Arguments of `vigie logs`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Only of these parts, such as twitch-gateway
    #[arg(value_name = "PART", value_parser = here::part_name)]
    parts: Vec<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest lines: with Docker Compose of each part, else of all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=100_000))]
    lines: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "What is meant")]
    runs: Runs,
}

/// Prints lines.
///
/// # Errors
/// When they cannot be read.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let found = here::must_find(&options.runs).await?;
    cli::complain(&format!("logs of {found}"));
    let wanted = Wanted { names: options.parts.clone(), lines: options.lines, follow: options.follow };
    let mut logs = found.logs(&wanted).await?;
    let mut names = Names::default();
    let paint = Paint::stdout();
    loop {
        let line = tokio::select! {
            line = logs.next() => line?,
            stopped = signal::ctrl_c() => return Ok(stopped.map(|()| ExitCode::SUCCESS)?),
        };
        let Some(line) = line else { return Ok(ExitCode::SUCCESS) };
        let text =
            if options.json { serde_json::to_string(&line)? + "\n" } else { names.render(&line, paint) };
        match cli::say(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            said => said?,
        }
    }
}

/// Parts that were seen, each with a colour of its own.
struct Names {
    seen: Vec<String>,
    width: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { seen: Vec::new(), width: WIDTHS.0 }
    }
}

impl Names {
    fn render(&mut self, line: &LogLine, paint: Paint) -> String {
        let number = self.seen.iter().position(|name| *name == line.part).unwrap_or_else(|| {
            self.seen.push(line.part.clone());
            self.width = self.width.max(line.part.chars().count()).min(WIDTHS.1);
            self.seen.len() - 1
        });
        let part = paint::harmless(&line.part);
        let name = paint.numbered(number, &format!("{part:<width$} |", width = self.width));
        format!("{name} {}\n", paint::harmless(&line.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_behind_the_names_of_their_parts() {
        let lines = [("nats", "ready"), ("demo-command-worker", "a\x1b[2J"), ("nats", "bye")];
        let mut names = Names::default();
        let text: String = lines
            .map(|(part, line)| LogLine { part: part.to_owned(), line: line.to_owned() })
            .iter()
            .map(|line| names.render(line, Paint::plain()))
            .collect();
        let expected = "nats              | ready\n\
                        demo-command-worker | a\u{fffd}[2J\n\
                        nats                | bye\n";
        assert_eq!(text, expected);
    }
}
