//! How long a shard stays away after its connection ended, and whether it tries its session again.
//!
//! twilight waits only when a connection cannot be made. When the gateway takes the connection and
//! closes it, twilight comes back at once, for ever, with the same session; this is the guard against
//! such storms, each of which has cost real bots their token.

use std::time::Duration;

/// A connection that was good for this long was a success, and the next failure is a first one.
const STABLE: Duration = Duration::from_secs(5);
/// While Discord cannot be reached at all it is tried this often, so that the bot is back soon after the
/// network is; and after so many tries as seldom as after other failures.
const UNREACHED_PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(2);
const UNREACHED_TRIES: u32 = 12;
/// The longest pause before a session is gone on with that could be gone on with the last time: that costs
/// Discord little and no session start. It is also the longest after a stop for lack of room.
const MAX_RESUME_PAUSE: Duration = Duration::from_secs(4);
/// The longest pause otherwise.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// After so many connections in a row on which a session could not be resumed it is given up.
const MAX_RESUMES: u32 = 3;
/// How long to stay away after a refusal that only a person can mend. A retry costs a session start,
/// so this may not be short: 288 of 1,000 a day, by one shard for all (see [`crate::identify`]).
const FATAL_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The service stops.
    Shutdown,
    /// The gateway closed it; 1006 when the network did.
    Closed(Option<u16>),
    /// It never came about.
    NotConnected(String),
    /// Opcode 9.
    InvalidSession {
        /// Whether Discord says that it may be tried again.
        resumable: bool,
    },
    /// Opcode 7.
    Asked,
    /// Heartbeats were not acknowledged.
    Zombie,
    /// JetStream could not keep up, or is away.
    Full,
    /// What came could not be read.
    Garbled,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Why.
    pub why: Why,
    /// For how long there was a live session on it; `None` when there never was one.
    pub live: Option<Duration>,
    /// Whether Discord said HELLO, after which it hears what the shard wants.
    pub greeted: bool,
    /// Whether it began with a session to resume.
    pub resuming: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// How long to stay away.
    pub pause: Duration,
    /// Whether the session is to be given up.
    pub drop_session: bool,
    /// What only a person can mend.
    pub fatal: Option<&'static str>,
}

/// The history of a shard's connections.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// Tries in a row at which Discord was not reached.
    unreached: u32,
    failed_resumes: u32,
}

impl Backoff {
    /// What to do after a connection ended.
    pub fn after(&mut self, end: &End) -> Next {
        if end.live.is_some_and(|live| live >= STABLE) {
            self.failures = 0;
        }
        if end.live.is_some() {
            self.failed_resumes = 0;
        }
        if let Why::NotConnected(_) = end.why {
            self.unreached = self.unreached.saturating_add(1);
            return Next { pause: self.unreached_pause(), drop_session: false, fatal: None };
        }
        self.unreached = 0;
        let invalid = matches!(end.why, Why::InvalidSession { .. });
        let resumes_well = end.resuming && end.live.is_some() && !invalid || end.why == Why::Full;
        let mut next = Next { pause: self.pause(resumes_well), drop_session: false, fatal: None };
        match &end.why {
            // Discord's own pause: <https://docs.discord.com/developers/events/gateway#resuming>
            Why::InvalidSession { resumable } => {
                next.drop_session = !resumable;
                next.pause =
                    next.pause.max(Duration::from_secs(1) + Duration::from_secs(4).mul_f64(fastrand::f64()));
            }
            Why::Closed(Some(code)) => match fatal(*code) {
                Some(words) => {
                    next = Next { pause: FATAL_PAUSE, drop_session: true, fatal: Some(words) };
                }
                // Invalid sequence; session timed out: Discord wants a new session.
                None => next.drop_session = matches!(code, 4007 | 4009),
            },
            _ => {}
        }
        let closed = !matches!(end.why, Why::Full | Why::Shutdown);
        if end.resuming && end.greeted && end.live.is_none() && closed {
            self.failed_resumes += 1;
            next.drop_session |= self.failed_resumes >= MAX_RESUMES;
        }
        if next.drop_session {
            self.failed_resumes = 0;
        }
        self.failures = self.failures.saturating_add(1);
        next
    }

    /// Nothing after the first failure, then about 1, 2, 4, … s, with a random half.
    fn pause(&self, resumes_well: bool) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        let longest = if resumes_well { MAX_RESUME_PAUSE } else { MAX_PAUSE };
        jittered(Duration::from_secs(2_u64.saturating_pow(doublings)).min(longest))
    }

    fn unreached_pause(&self) -> Duration {
        let (first, longest) = UNREACHED_PAUSES.into_inner();
        let doubled = |from: Duration, times: u32| from.saturating_mul(2_u32.saturating_pow(times));
        jittered(match self.unreached.checked_sub(UNREACHED_TRIES) {
            None => doubled(first, self.unreached.saturating_sub(1)).min(longest),
            Some(more) => doubled(longest, more).min(MAX_PAUSE),
        })
    }
}

fn jittered(full: Duration) -> Duration {
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// What to tell of the close codes after which Discord wants nobody to come back.
/// Source: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes>.
#[must_use]
pub const fn fatal(code: u16) -> Option<&'static str> {
    Some(match code {
        4004 => {
            "discord refused DISCORD_TOKEN (4004); copy the token anew from the developer portal, page Bot"
        }
        4010 => {
            "discord does not know this shard (4010); set DISCORD_SHARDS=auto, and stop all gateways of the bot \
             before you start them"
        }
        4011 => {
            "the bot is in too many servers for so few shards (4011); set DISCORD_SHARDS=auto, and stop all \
             gateways of the bot before you start them"
        }
        4012 => "discord does not serve this version of its gateway any more (4012); update vigie",
        4013 => "discord refused the intents (4013); update vigie",
        4014 => {
            "the bot may not read messages (4014); switch on \"Message Content Intent\" in the developer \
             portal, page Bot. no restart is needed"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(why: Why, live: Option<u64>, resuming: bool) -> End {
        End { why, live: live.map(Duration::from_secs), greeted: true, resuming }
    }

    #[test]
    fn storms_are_slowed_down() {
        let mut backoff = Backoff::default();
        let total: Duration =
            (0..10).map(|_| backoff.after(&end(Why::Closed(Some(4000)), Some(0), false)).pause).sum();
        assert!(total > Duration::from_secs(100), "{total:?}");
        assert_eq!(backoff.after(&end(Why::Asked, Some(60), true)).pause, Duration::ZERO);
    }

    #[test]
    fn a_session_that_discord_does_not_know_is_given_up() {
        for code in [4007, 4009] {
            assert!(Backoff::default().after(&end(Why::Closed(Some(code)), None, true)).drop_session);
        }
        let invalid = Backoff::default().after(&end(Why::InvalidSession { resumable: false }, None, true));
        assert!(invalid.drop_session && (1..=5).contains(&invalid.pause.as_secs()));
    }

    #[test]
    fn a_session_that_cannot_be_resumed_is_given_up_but_not_because_the_network_is_down() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            let next = backoff.after(&end(Why::NotConnected(String::new()), None, true));
            assert!(!next.drop_session && next.pause <= MAX_PAUSE);
        }
        let dropped: Vec<bool> =
            (0..3).map(|_| backoff.after(&end(Why::Closed(Some(1006)), None, true)).drop_session).collect();
        assert_eq!(dropped, [false, false, true]);
        // Nobody was asked for it.
        for _ in 0..20 {
            let silent = End { greeted: false, ..end(Why::Closed(None), None, true) };
            assert!(!backoff.after(&silent).drop_session);
        }
    }

    /// Too much chatter, or a network that comes and goes: reading goes on within seconds, each time.
    #[test]
    fn a_session_that_can_be_resumed_does_not_wait_long() {
        for why in [Why::Full, Why::Asked, Why::Closed(None), Why::Closed(Some(1006))] {
            let mut backoff = Backoff::default();
            let pauses: Vec<Duration> =
                (0..20).map(|_| backoff.after(&end(why.clone(), Some(1), true)).pause).collect();
            assert!(pauses.iter().all(|pause| *pause <= MAX_RESUME_PAUSE), "{why:?}: {pauses:?}");
            assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(35), "{why:?}: {pauses:?}");
        }
        // Session starts are few: what costs one each time is slowed down further.
        let mut backoff = Backoff::default();
        let invalid = Why::InvalidSession { resumable: false };
        let last = (0..20).map(|_| backoff.after(&end(invalid.clone(), Some(1), false)).pause).last();
        assert!(last >= Some(MAX_PAUSE / 2), "{last:?}");
    }

    #[test]
    fn a_network_that_is_away_is_tried_often_and_then_seldom() {
        let mut backoff = Backoff::default();
        let mut pause = || backoff.after(&end(Why::NotConnected(String::new()), None, true)).pause;
        let soon: Vec<Duration> = (1..UNREACHED_TRIES).map(|_| pause()).collect();
        assert!(soon[0] <= Duration::from_millis(250), "{soon:?}");
        assert!(soon.iter().all(|pause| *pause <= Duration::from_secs(2)), "{soon:?}");
        assert!(soon.iter().sum::<Duration>() > Duration::from_secs(8), "{soon:?}");
        let later: Duration = (0..10).map(|_| pause()).sum();
        assert!(later > Duration::from_secs(150), "{later:?}");
        // What is reached and closes is slowed down as before, and nothing is due to the time before.
        assert_eq!(backoff.after(&end(Why::Asked, Some(60), true)).pause, Duration::ZERO);
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_again_seldom() {
        let next = Backoff::default().after(&end(Why::Closed(Some(4014)), None, false));
        assert!(next.fatal.is_some_and(|words| words.contains("Message Content Intent")));
        assert_eq!(next.pause, FATAL_PAUSE);
    }
}
