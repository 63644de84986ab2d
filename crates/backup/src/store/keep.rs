//! Which backups are kept. Those of a repository and of a folder of archives are kept by the same rule.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Utc};

use crate::{config::Keep, kept::Known};

/// Which day, week or month a time is in.
type Span<'a> = &'a dyn Fn(&DateTime<Utc>) -> (i32, u32);

/// The names of those that go. `backups` have the oldest first.
///
/// The newest always stays, and so does the newest that was proved: the others may be of no use.
pub fn going(backups: &[Known], keep: Keep) -> BTreeSet<String> {
    let newest_first = || backups.iter().rev();
    let mut staying: BTreeSet<&str> =
        newest_first().take(keep.last.max(1)).map(|one| one.id.as_str()).collect();
    staying.extend(newest_first().find(|one| one.proved_ms.is_some()).map(|one| one.id.as_str()));
    let day = |time: &DateTime<Utc>| (time.year(), time.ordinal());
    let week = |time: &DateTime<Utc>| (time.iso_week().year(), time.iso_week().week());
    let month = |time: &DateTime<Utc>| (time.year(), time.month());
    let rules: [(usize, Span<'_>); 3] = [(keep.daily, &day), (keep.weekly, &week), (keep.monthly, &month)];
    for (count, span) in rules {
        let mut seen = BTreeSet::new();
        for backup in newest_first() {
            let time = i64::try_from(backup.at_ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
            let Some(time) = time else { continue };
            if seen.len() < count && seen.insert(span(&time)) {
                staying.insert(&backup.id);
            }
        }
    }
    let going = backups.iter().filter(|backup| !staying.contains(backup.id.as_str()));
    going.map(|backup| backup.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1000;
    const DAY: u64 = 24 * HOUR;
    /// 2026-01-01T00:00:00Z, a Thursday.
    const START: u64 = 1_767_225_600_000;

    fn known(number: u64, at_ms: u64) -> Known {
        Known { id: number.to_string(), number, at_ms, ..Known::default() }
    }

    fn staying(backups: &[Known], keep: Keep) -> Vec<String> {
        let going = going(backups, keep);
        backups.iter().map(|one| one.id.clone()).filter(|id| !going.contains(id)).collect()
    }

    #[test]
    fn a_year_of_days_leaves_days_weeks_and_months() {
        let backups: Vec<Known> = (0..365).map(|day| known(day, START + day * DAY + 3 * HOUR)).collect();
        let kept = staying(&backups, Keep { last: 3, daily: 7, weekly: 4, monthly: 6 });
        let expected = ["211", "242", "272", "303", "333", "346", "353"];
        let days = ["358", "359", "360", "361", "362", "363", "364"];
        assert_eq!(kept, expected.into_iter().chain(days).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_stays_though_the_clock_was_ahead_before() {
        let backups = [known(1, START + 5000 * DAY), known(2, START)];
        assert_eq!(staying(&backups, Keep { last: 1, ..Keep::default() }), ["2"]);
    }

    #[test]
    fn the_last_one_that_was_proved_stays() {
        let mut backups: Vec<Known> = (0..9).map(|number| known(number, START + number)).collect();
        backups[2].proved_ms = Some(START);
        assert_eq!(staying(&backups, Keep { last: 2, ..Keep::default() }), ["2", "7", "8"]);
    }
}
