//! Colours and columns of what a person reads.

use std::{env, io::IsTerminal};

use time::{OffsetDateTime, macros::format_description};

/// Colours, where the reader is a terminal whose owner has not switched them off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self(std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    /// It is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// It is worth a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// It is not well.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// It stands out.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// It stands back.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// One of six colours, the same for the same number.
    pub(crate) fn numbered(self, number: usize, text: &str) -> String {
        const CODES: [&str; 6] = ["36", "35", "34", "33", "32", "96"];
        self.with(CODES[number % CODES.len()], text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How a cell is coloured, once it is padded: row, column, text.
pub(crate) type Style<'a> = &'a dyn Fn(usize, usize, String) -> String;

/// Rows with aligned columns, two spaces apart. Columns at the positions in `right` are flush right;
/// the last column is as long as it likes, on a terminal in lines below each other. The first row is the heading.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize], style: Style<'_>) -> String {
    table_within(rows, right, style, width())
}

/// The last column is in lines below each other only where it has at least this much room.
const LEAST_ROOM: usize = 24;

fn table_within(rows: &[Vec<String>], right: &[usize], style: Style<'_>, terminal: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let before: usize = widths.iter().take(columns.saturating_sub(1)).map(|width| width + 2).sum();
    let room = terminal.filter(|terminal| *terminal >= before + LEAST_ROOM);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        // Empty cells at the end of a row need no padding.
        let used = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        for (at, cell) in row.iter().take(used).enumerate() {
            let width = widths[at];
            let padded = match (right.contains(&at), at + 1 == used) {
                (true, _) => format!("{cell:>width$}"),
                (false, true) if at + 1 == columns => {
                    room.map_or_else(|| cell.clone(), |room| wrap(cell, room, before))
                }
                (false, true) => cell.clone(),
                (false, false) => format!("{cell:<width$}"),
            };
            text += if at == 0 { "" } else { "  " };
            text += &style(number, at, padded);
        }
        text.push('\n');
    }
    text
}

/// How wide the terminal is, in columns; `None` where there is none.
pub(crate) fn width() -> Option<usize> {
    size().map(|(columns, _)| columns)
}

/// How wide and how high the terminal is; `None` where there is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    // Of what is no terminal it says nothing.
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let size = (usize::from(size.ws_col), usize::from(size.ws_row));
    Some(size).filter(|(columns, rows)| *columns > 0 && *rows > 0)
}

/// A painted line, cut after so many characters that are seen.
pub(crate) fn fit(line: &str, width: usize) -> String {
    let (mut text, mut seen, mut in_code) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\x1b' {
            in_code = true;
        } else if !in_code {
            seen += 1;
            if seen > width {
                return text + "\x1b[0m";
            }
        } else if c.is_ascii_alphabetic() {
            in_code = false;
        }
        text.push(c);
    }
    text
}

/// The text in lines of at most `width` characters, each after the first below the first. A word is not
/// broken, so that an address can be copied whole.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{:indent$}", ""))
}

/// Text from outside, such as a chat line, made harmless for a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi_control(c) { '\u{fffd}' } else { c }).collect()
}

/// The same of several lines, each of which stays one.
pub(crate) fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n  ")
}

/// Characters that turn the direction of the text around them, and so can disguise it.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `12 s`, `3 min`, `4 h 5 min`, `6 d 7 h`.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// Date and time in UTC, as in the services' logs.
pub(crate) fn when(unix_ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| unix_ms.to_string())
}

/// `4 min ago`; `in 4 min` where the clocks of two machines differ.
pub(crate) fn ago(unix_ms: u64, now_ms: u64) -> String {
    if unix_ms > now_ms {
        return format!("in {}", duration((unix_ms - now_ms) / 1000));
    }
    format!("{} ago", duration((now_ms - unix_ms) / 1000))
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `3.4 KiB`, `12.0 MiB`, `1.2 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut unit = 0;
    // Tenths, so that no floating point is needed.
    let mut tenths = count * 10 / 1024;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_ends() {
        let rows = [["name", "size", "note"], ["a", "10", ""], ["bcd", "7", "x"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        insta::assert_snapshot!(table(&rows, &[1], &|_, _, cell| cell), @r"
        name  size  note
        a       10
        bcd      7  x
        ");
    }

    #[test]
    fn on_a_terminal_the_last_column_goes_on_below_its_beginning() {
        let rows = [["name", "note"], ["a", "one two three four five six"], ["b", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        let table = |terminal| table_within(&rows, &[], &|_, _, cell| cell, terminal);
        insta::assert_snapshot!(table(Some(30)), @r"
        name  note
        a     one two three four five
              six
        b
        ");
        assert!(table(Some(29)).contains("one two three four five six"), "too narrow to be of use");
    }

    #[test]
    fn long_text_goes_on_below_its_beginning() {
        assert_eq!(
            wrap("one two three https://vigie.invalid/a/b", 12, 4),
            "one two\n    three\n    https://vigie.invalid/a/b"
        );
        assert_eq!(wrap("one two", 80, 4), "one two");
    }

    #[test]
    fn durations_and_sizes_are_short() {
        assert_eq!([0, 61, 3700, 180_000].map(duration), ["0 s", "1 min", "1 h 1 min", "2 d 2 h"]);
        assert_eq!([9, 1024, 12_700_000, 5 << 40].map(bytes), ["9 B", "1.0 KiB", "12.1 MiB", "5.0 TiB"]);
    }

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_painted_line_is_cut_by_what_is_seen_of_it() {
        let line = Paint(true).bad("red") + " and plain";
        assert_eq!(fit(&line, 40), line);
        assert_eq!(fit(&line, 5), "\x1b[31mred\x1b[0m a\x1b[0m");
    }

    #[test]
    fn times_are_told_as_they_are_written_and_as_they_are_felt() {
        assert_eq!(when(1_700_000_000_999), "2023-11-14 22:13:20");
        assert_eq!([ago(0, 61_000), ago(61_000, 0)], ["1 min ago", "in 1 min"]);
    }

    #[test]
    fn a_chat_line_cannot_move_the_cursor_or_turn_the_text_around() {
        assert_eq!(harmless_lines("a\nb\rc\n"), "a\n  b\u{fffd}c");
        assert_eq!(harmless("a\x1b[2Jb\u{202e}c\r\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}");
    }
}
