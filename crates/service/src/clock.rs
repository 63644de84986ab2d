//! The wall clock in the units of the wire.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in microseconds; 0 when the clock stands before 1970.
#[must_use]
pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Unix time in milliseconds; 0 when the clock stands before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    unix_us() / 1000
}
