//! Several measurements of one thing as one figure.

use std::time::Duration;

/// The middle one, with the range in brackets; a dash where nothing was measured.
pub fn median(values: impl Iterator<Item = u64>) -> String {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    match (values.first(), values.last()) {
        (Some(first), Some(last)) => {
            let (first, last) = (thousands(*first), thousands(*last));
            format!("{} [{first}-{last}]", thousands(middle(values)))
        }
        _ => "-".to_owned(),
    }
}

/// The middle one, 0 where nothing was measured.
pub fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// With commas, as a person writes it.
pub fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_middle_one_with_its_range() {
        assert_eq!(median([1_234_567, 7, 1000].into_iter()), "1,000 [7-1,234,567]");
        assert_eq!(median([5].into_iter()), "5 [5-5]");
        assert_eq!(median(std::iter::empty()), "-");
    }
}
