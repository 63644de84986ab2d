//! Snowflakes and Discord's way to write a time.
//! Source: <https://docs.discord.com/developers/reference#snowflakes>.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// The first millisecond of 2015, from which snowflakes count.
const EPOCH_MS: u64 = 1_420_070_400_000;

/// The id of anything; a decimal string on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Id {
    /// The `n`th id of the millisecond `at_ms` (Unix time).
    pub const fn at(at_ms: u64, n: u64) -> Self {
        Self(((at_ms - EPOCH_MS) << 22) | n)
    }

    /// When it was made, in Unix milliseconds.
    pub const fn created_ms(self) -> u64 {
        (self.0 >> 22) + EPOCH_MS
    }

    /// The shard that serves the guild with this id.
    pub const fn shard_of(self, shards: u32) -> u32 {
        if shards == 0 { 0 } else { ((self.0 >> 22) % shards as u64) as u32 }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Makes ids that only ever grow.
#[derive(Debug, Default)]
pub struct Snowflakes(AtomicU64);

impl Snowflakes {
    /// The next id.
    pub fn next(&self) -> Id {
        let now = Id::at(now_ms().max(EPOCH_MS), 0).0;
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Id(now.max(last.unwrap_or_default() + 1))
    }
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time in Unix milliseconds as Discord writes it: `2021-10-21T12:27:56.616000+00:00`.
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i128::from(self.0) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second, micros) = (at.hour(), at.minute(), at.second(), at.microsecond());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_and_carry_their_time() {
        let ids = Snowflakes::default();
        let (first, second) = (ids.next(), ids.next());
        assert!(second > first);
        assert!(now_ms().abs_diff(first.created_ms()) < 1000);
    }

    #[test]
    fn the_documented_example_decodes() {
        assert_eq!(Id(175_928_847_299_117_063).created_ms(), 1_462_015_105_796);
    }

    #[test]
    fn times_are_written_with_microseconds_and_offset() {
        assert_eq!(Timestamp(1_634_819_276_616).to_string(), "2021-10-21T12:27:56.616000+00:00");
    }
}
