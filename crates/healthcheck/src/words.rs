//! Numbers as people read them.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// `12 ms`, `3 s`, `3 min`, `4 h 5 min`, `6 d 7 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// `512 B`, `3.4 KB`, `12.0 MB`, `1.2 GB`, in powers of 1000, as disks are sold.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    // Tenths, so that no floating point is needed.
    let (mut unit, mut tenths) = (0, count / 100);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// In millions of bytes.
pub fn megabytes(count: u64) -> f64 {
    // No memory has so many bytes that this loses any.
    count as f64 / 1e6
}

/// `2026-11-22T01:02:03Z`.
pub fn moment(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Text from elsewhere, in one line and made harmless for a terminal.
pub fn harmless(text: &str) -> String {
    let harms = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harms(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let ms = |ms| duration(Duration::from_millis(ms));
        assert_eq!([ms(7), ms(61_000), ms(3_700_000)], ["7 ms", "1 min", "1 h 1 min"]);
        assert_eq!([9, 1234, 12_700_000, 5_000_000_000].map(bytes), ["9 B", "1.2 KB", "12.7 MB", "5.0 GB"]);
        assert_eq!(moment(1_795_309_323_999), "2026-11-22T01:02:03Z");
        assert_eq!(harmless("a\x1b[2J\nb\u{202e}"), "a [2J b ");
    }
}
