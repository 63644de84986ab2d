//! `vigie dead list`: a page of them, one line each.

use std::process::ExitCode;

use bus::{Letter, Stream, Tally};
use serde_json::json;

use crate::{
    cli,
    find::Which,
    paint::{self, Paint},
};

/// How wide a line may be where there is no terminal, in columns.
const WIDTH: usize = 160;
/// No reason is cut shorter than this, however narrow the terminal is.
const MIN_REASON: usize = 20;
/// A subject is cut to this length, in characters.
const MAX_SUBJECT: usize = 60;
/// A reason is not kept longer than this, in characters.
const MAX_REASON: usize = 400;

/// Arguments of `vigie dead list`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Only those of this stream, such as EVENTS
    #[arg(long, value_parser = super::stream)]
    stream: Option<Stream>,
    /// Begin with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// So many at most, up to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

/// What a person sees of a letter. The letter itself may be large, and is let go.
type Row = [String; 6];

/// Prints a page.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (_, letters) = super::open(&options.which, options.stream).await?;
    let tally = letters.tally().await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut from = options.from;
    for _ in 0..options.limit {
        let Some(letter) = letters.next(from).await? else { break };
        from = letter.number + 1;
        if options.json {
            cli::say(&(line(&letter).to_string() + "\n"))?;
        } else {
            rows.push(row(&letter));
        }
    }
    if !options.json {
        let more = letters.next(from).await?.map(|letter| letter.number);
        cli::say(&render(&rows, tally, more, paint::width().unwrap_or(WIDTH), Paint::stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// For a program: everything but the payload.
pub(super) fn line(letter: &Letter) -> serde_json::Value {
    json!({
        "number": letter.number,
        "at_ms": letter.at_ms(),
        "stream": letter.stream,
        "subject": letter.subject,
        "id": letter.id,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "trace": letter.trace.as_deref().map(service::trace::id),
        "bytes": letter.payload.len(),
    })
}

fn row(letter: &Letter) -> Row {
    let or_dash = |text: Option<&str>, length| text.map_or_else(|| "-".to_owned(), |text| cut(text, length));
    [
        letter.number.to_string(),
        paint::when(letter.at_ms()),
        cut(&letter.stream, MAX_SUBJECT),
        or_dash(letter.subject.as_deref(), MAX_SUBJECT),
        letter.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()),
        or_dash(letter.reason.as_deref(), MAX_REASON),
    ]
}

fn render(rows: &[Row], tally: Tally, more: Option<u64>, width: usize, paint: Paint) -> String {
    if rows.is_empty() {
        return match tally.count {
            0 => "no dead letters\n".to_owned(),
            count => format!("{}, all with a lower number\n", super::count_of(count)),
        };
    }
    let heading = ["NUMBER", "WHEN (UTC)", "STREAM", "SUBJECT", "TRIES", "REASON"].map(str::to_owned);
    let mut table: Vec<Row> = std::iter::once(heading).chain(rows.iter().cloned()).collect();
    let widest = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let before: usize = (0..5).map(|at| widest(at) + 2).sum();
    let room = width.saturating_sub(before).max(MIN_REASON);
    for row in &mut table {
        row[5] = cut(&row[5], room);
    }
    let table: Vec<Vec<String>> = table.into_iter().map(Vec::from).collect();
    let style = |row: usize, column: usize, cell: String| match (row, column) {
        (0, _) | (_, 1) => paint.faint(&cell),
        (_, 0) => paint.strong(&cell),
        _ => cell,
    };
    let mut text = paint::table(&table, &[0, 4], &style);
    text.push('\n');
    text += &match more {
        Some(number) => format!(
            "{} of {} shown; `vigie dead list --from {number}` shows more\n",
            rows.len(),
            super::count_of(tally.count)
        ),
        None => format!("{}\n", super::count_of(tally.count)),
    };
    text += &paint.faint(
        "`vigie dead show <number>` shows the payload, `replay` gives it back, `drop` drops it for good\n",
    );
    text
}

/// At most `length` characters of a text from outside, made harmless.
fn cut(text: &str, length: usize) -> String {
    let mut shown: String = text.chars().take(length).collect();
    if text.chars().nth(length).is_some() {
        shown.pop();
        shown.push('…');
    }
    paint::harmless(&shown)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn letter(number: u64, subject: Option<&str>, reason: Option<&str>) -> Letter {
        Letter {
            number,
            at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            stream: "EVENTS".to_owned(),
            subject: subject.map(str::to_owned),
            id: None,
            reason: reason.map(str::to_owned),
            attempts: reason.map(|_| 5),
            trace: None,
            payload: b"{}".to_vec().into(),
        }
    }

    #[test]
    fn a_page_fits_the_terminal_and_nothing_in_it_can_harm_it() {
        let rows = [
            row(&letter(7, Some("event.discord.42.command"), Some("4 workers took it and none finished it"))),
            row(&letter(8, None, None)),
            row(&letter(12, Some(&"x".repeat(100)), Some("a\x1b[2Jb"))),
        ];
        let tally = Tally { count: 3, last: 12 };
        insta::assert_snapshot!(render(&rows[..2], tally, Some(12), 90, Paint::plain()));
        insta::assert_snapshot!(render(&rows[2..], Tally { count: 1, last: 12 }, None, 200, Paint::plain()));
    }

    #[test]
    fn without_letters_it_says_so() {
        let render = |count| render(&[], Tally { count, last: 9 }, None, 80, Paint::plain());
        assert_eq!(render(0), "no dead letters\n");
        assert_eq!(render(1), "1 dead letter, all with a lower number\n");
    }

    #[test]
    fn cut_text_says_that_it_is_cut() {
        assert_eq!([cut("abc", 3), cut("abcd", 3)], ["abc", "ab…"]);
    }
}
