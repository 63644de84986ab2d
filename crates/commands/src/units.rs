//! Times and sizes in words.

use std::time::Duration;

use crate::language::Language;

const MIB: f64 = 1024.0 * 1024.0;

/// The two largest units of a long time: `3 d 4 h`.
#[must_use]
pub fn duration(language: Language, duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let (large, small) = match (days, hours, minutes) {
        (0, 0, 0) => return part(language, "unit-seconds", seconds),
        (0, 0, _) => (("unit-minutes", minutes), ("unit-seconds", seconds % 60)),
        (0, _, _) => (("unit-hours", hours), ("unit-minutes", minutes)),
        _ => (("unit-days", days), ("unit-hours", hours)),
    };
    format!("{} {}", part(language, large.0, large.1), part(language, small.0, small.1))
}

/// A short time in milliseconds: `0.4 ms`, `85 ms`.
#[must_use]
pub fn milliseconds(language: Language, us: u64) -> String {
    let digits = usize::from(us < 10_000);
    language.say("unit-milliseconds", &[("n", decimal(language, micros_to_ms(us), digits).into())])
}

/// A size of memory: `12.3 MiB`.
#[must_use]
pub fn memory(language: Language, bytes: u64) -> String {
    // Memory is far below 2^52 bytes.
    #[allow(clippy::cast_precision_loss)]
    let mib = bytes as f64 / MIB;
    language.say("unit-mebibytes", &[("n", decimal(language, mib, 1).into())])
}

/// A number with so many digits behind the decimal sign.
#[must_use]
pub fn decimal(language: Language, number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match language {
        Language::En => text,
        Language::Fr => text.replace('.', ","),
    }
}

fn part(language: Language, id: &str, n: u64) -> String {
    language.say(id, &[("n", n.to_string().into())])
}

// Less than 2^52 microseconds are 142 years.
#[allow(clippy::cast_precision_loss)]
fn micros_to_ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_a_time_in_its_two_largest_units() {
        let say = |seconds| duration(Language::En, Duration::from_secs(seconds));
        assert_eq!(say(0), "0 s");
        assert_eq!(say(59), "59 s");
        assert_eq!(say(61), "1 min 1 s");
        assert_eq!(say(3_600), "1 h 0 min");
        assert_eq!(say(90_061), "1 d 1 h");
        assert_eq!(duration(Language::Fr, Duration::from_secs(90_061)), "1 j 1 h");
    }

    #[test]
    fn says_numbers_as_the_language_writes_them() {
        assert_eq!(milliseconds(Language::En, 449), "0.4 ms");
        assert_eq!(milliseconds(Language::Fr, 9_949), "9,9 ms");
        assert_eq!(milliseconds(Language::En, 85_400), "85 ms");
        assert_eq!(memory(Language::En, 12_900_000), "12.3 MiB");
        assert_eq!(memory(Language::Fr, 12_900_000), "12,3 Mio");
    }
}
