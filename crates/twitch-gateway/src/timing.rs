//! When connections are given up and tried. No settings: only tests are in more of a hurry.

use std::time::Duration;

use crate::backoff::Backoff;

/// When a connection is given up, and when another one is tried.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two PINGs of ours.
    pub ping_every: Duration,
    /// How long Twitch may take for a PONG.
    pub pong_within: Duration,
    /// How long Twitch may take to confirm a JOIN.
    pub join_within: Duration,
    /// The first wait before a new connection; doubled each time.
    pub retry_first: Duration,
    /// The longest wait before a new connection.
    pub retry_most: Duration,
    /// The first pause of an API that failed; doubled each time.
    pub api_pause_first: Duration,
    /// The longest pause of an API that failed. Each ends with a message that may be lost.
    pub api_pause_most: Duration,
    /// How long an old connection is still read after the new one took over.
    pub linger: Duration,
    /// How long a channel is still read that others read from now on.
    pub part_after: Duration,
    /// Between two checks of the token, as Twitch demands.
    pub check_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(30),
            pong_within: Duration::from_secs(10),
            join_within: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(120),
            api_pause_first: Duration::from_secs(10),
            api_pause_most: Duration::from_secs(5 * 60),
            linger: Duration::from_secs(2),
            part_after: Duration::from_secs(15),
            check_every: Duration::from_secs(60 * 60),
        }
    }
}

impl Timing {
    /// The waits between two tries to connect.
    pub(crate) const fn retries(&self) -> Backoff {
        Backoff::new(self.retry_first..self.retry_most)
    }

    /// The pauses of an API that failed.
    pub(crate) const fn api_pauses(&self) -> Backoff {
        Backoff::new(self.api_pause_first..self.api_pause_most)
    }
}
