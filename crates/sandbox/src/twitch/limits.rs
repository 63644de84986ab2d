//! Twitch's limits on one account: messages, repeats, joins, logins. Which words the refusal has is
//! decided in `irc::notice`.
//!
//! Figures: dev.twitch.tv/docs/chat, "Rate Limits". The duplicate rule and that a dropped message
//! still counts are known from the community (pajbot/tmi-rate-limits), not from the documentation.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::people::Standing;

/// What one account may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages per [`Limits::message_window`] where the account has no standing.
    pub messages: u32,
    /// Messages per window where it is broadcaster, moderator or VIP.
    pub elevated_messages: u32,
    /// The window of the two above.
    pub message_window: Duration,
    /// Least time between two messages in one channel, without standing.
    pub per_channel: Duration,
    /// How long the same text again is refused, without standing.
    pub duplicate: Duration,
    /// How long an account is ignored after it went over `messages`, without standing.
    pub penalty: Duration,
    /// Joins per [`Limits::join_window`].
    pub joins: u32,
    /// Logins per window.
    pub logins: u32,
    /// The window of the two above.
    pub join_window: Duration,
    /// Channels joined at once, not counting those where the account is moderator or broadcaster.
    pub channels: usize,
}

impl Limits {
    /// An ordinary account.
    #[must_use]
    pub fn normal() -> Self {
        Self {
            messages: 20,
            elevated_messages: 100,
            message_window: Duration::from_secs(30),
            per_channel: Duration::from_secs(1),
            duplicate: Duration::from_secs(30),
            penalty: Duration::from_secs(3600),
            joins: 20,
            logins: 20,
            join_window: Duration::from_secs(10),
            channels: 100,
        }
    }

    /// A verified bot: 7500 messages per 30 s whatever its standing, 2000 joins and 200 logins per 10 s.
    #[must_use]
    pub fn verified() -> Self {
        Self { messages: 7500, elevated_messages: 7500, joins: 2000, logins: 200, ..Self::normal() }
    }

    /// No limits at all, for load tests.
    #[must_use]
    pub fn none() -> Self {
        Self {
            messages: u32::MAX,
            elevated_messages: u32::MAX,
            per_channel: Duration::ZERO,
            duplicate: Duration::ZERO,
            joins: u32::MAX,
            logins: u32::MAX,
            channels: usize::MAX,
            ..Self::normal()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::normal()
    }
}

/// Why a message is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many, or too fast in one channel.
    TooFast,
    /// The account went over its limit before and is ignored, without a word.
    Ignored,
    /// The same as the last one.
    Duplicate,
}

/// What one account did lately.
#[derive(Debug, Default)]
pub(crate) struct Record {
    messages: Window,
    joins: Window,
    logins: Window,
    ignored_until: Option<Instant>,
    /// Per channel login; there are never more than there are channels.
    channels: HashMap<String, Last>,
}

#[derive(Debug)]
struct Last {
    attempt: Instant,
    delivered: Option<(Instant, String)>,
}

impl Record {
    /// Whether a message may go out now. A refused one counts as well.
    pub(crate) fn message(
        &mut self,
        limits: &Limits,
        now: Instant,
        channel: &str,
        standing: Standing,
        text: &str,
    ) -> Result<(), Refused> {
        let most = limits.messages.max(limits.elevated_messages);
        let recent = self.messages.count_and_add(now, limits.message_window, most);
        let last = self.channels.get_mut(channel);
        let since = last.as_ref().map(|last| now.duration_since(last.attempt));
        match last {
            Some(last) => last.attempt = now,
            None => {
                self.channels.insert(channel.to_owned(), Last { attempt: now, delivered: None });
            }
        }
        if standing.is_elevated() {
            return if recent >= limits.elevated_messages { Err(Refused::TooFast) } else { Ok(()) };
        }
        if self.ignored_until.is_some_and(|until| now < until) {
            return Err(Refused::Ignored);
        }
        if recent >= limits.messages {
            self.ignored_until = Some(now + limits.penalty);
            return Err(Refused::TooFast);
        }
        if since.is_some_and(|since| since < limits.per_channel) {
            return Err(Refused::TooFast);
        }
        let repeated = self
            .channels
            .get(channel)
            .and_then(|last| last.delivered.as_ref())
            .is_some_and(|(at, before)| now.duration_since(*at) < limits.duplicate && before == text);
        if repeated { Err(Refused::Duplicate) } else { Ok(()) }
    }

    /// Remembers what was delivered, for the duplicate rule.
    pub(crate) fn delivered(&mut self, now: Instant, channel: &str, text: &str) {
        if let Some(last) = self.channels.get_mut(channel) {
            last.delivered = Some((now, text.to_owned()));
        }
    }

    pub(crate) fn may_join(&mut self, limits: &Limits, now: Instant) -> bool {
        self.joins.count_and_add(now, limits.join_window, limits.joins) < limits.joins
    }

    pub(crate) fn may_log_in(&mut self, limits: &Limits, now: Instant) -> bool {
        self.logins.count_and_add(now, limits.join_window, limits.logins) < limits.logins
    }
}

/// When something happened within a sliding window; never holds more than its limit.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Window {
    /// How many there were in the window before this one, which is added.
    fn count_and_add(&mut self, now: Instant, window: Duration, limit: u32) -> u32 {
        if limit == u32::MAX {
            return 0;
        }
        while self.0.front().is_some_and(|at| now.duration_since(*at) >= window) {
            self.0.pop_front();
        }
        let before = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if before >= limit {
            self.0.pop_front();
        }
        self.0.push_back(now);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(record: &mut Record, at: Instant, standing: Standing, text: &str) -> Result<(), Refused> {
        let verdict = record.message(&Limits::normal(), at, "c", standing, text);
        if verdict.is_ok() {
            record.delivered(at, "c", text);
        }
        verdict
    }

    #[test]
    fn a_viewer_has_twenty_and_is_then_ignored_for_an_hour() {
        let (mut record, start) = (Record::default(), Instant::now());
        for n in 0..20 {
            let at = start + Duration::from_millis(1100 * n);
            assert_eq!(send(&mut record, at, Standing::Viewer, &n.to_string()), Ok(()));
        }
        let over = start + Duration::from_secs(25);
        assert_eq!(send(&mut record, over, Standing::Viewer, "x"), Err(Refused::TooFast));
        let later = start + Duration::from_secs(1800);
        assert_eq!(send(&mut record, later, Standing::Viewer, "y"), Err(Refused::Ignored));
        assert_eq!(send(&mut record, later, Standing::Moderator, "y"), Ok(()));
        let after = over + Duration::from_secs(3601);
        assert_eq!(send(&mut record, after, Standing::Viewer, "z"), Ok(()));
    }

    #[test]
    fn a_moderator_has_a_hundred_and_no_pace() {
        let (mut record, start) = (Record::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(send(&mut record, start, Standing::Moderator, "same"), Ok(()));
        }
        assert_eq!(send(&mut record, start, Standing::Moderator, "same"), Err(Refused::TooFast));
        let next = start + Duration::from_secs(31);
        assert_eq!(send(&mut record, next, Standing::Moderator, "same"), Ok(()));
    }

    #[test]
    fn a_viewer_has_one_per_second_and_may_not_repeat() {
        let (mut record, start) = (Record::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(send(&mut record, start, Standing::Viewer, "a"), Ok(()));
        assert_eq!(send(&mut record, after(500), Standing::Viewer, "b"), Err(Refused::TooFast));
        assert_eq!(send(&mut record, after(1600), Standing::Viewer, "a"), Err(Refused::Duplicate));
        assert_eq!(send(&mut record, after(3000), Standing::Viewer, "b"), Ok(()));
        assert_eq!(send(&mut record, after(5000), Standing::Viewer, "a"), Ok(()));
        assert_eq!(send(&mut record, after(36_000), Standing::Viewer, "a"), Ok(()));
    }
}
