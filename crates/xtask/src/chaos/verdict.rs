//! What became of each line: which fault it met, and whether there is an excuse when nobody replied.

use std::{ops::Range, time::Duration};

use super::{
    kinds::{Deed, Kind, Platform, Role},
    ledger::{Fate, LATE, Ledger, Line},
};

/// What is on the way from the platform, or read and not stored yet, when a gateway or a connection dies.
/// Nobody can have it again where the platform repeats nothing.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// Between the moment in which NATS gives a reply to a Twitch gateway and the end of sending it.
const BEING_SENT: Duration = Duration::from_secs(1);
/// From the moment that is noted for a fault until it happens: a request to the sandbox, or a signal.
const MAKING: Duration = Duration::from_millis(50);
/// Lines that were said this long before a fault may have met it.
const LEAD: Duration = Duration::from_secs(1);
/// What two faults at a time are called.
const TWO: &str = "two of these at a time";

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Its kind.
    pub kind: &'static Kind,
    /// Which part it hit.
    pub part: String,
    /// When.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
}

impl std::fmt::Display for Strike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {:.1} s)", self.kind.name, self.part, self.lasts.as_secs_f32())
    }
}

/// From a fault until all was well again.
#[derive(Clone, Debug)]
pub struct Window {
    /// What happened, one or two.
    pub strikes: Vec<Strike>,
    /// When it began.
    pub begin: Duration,
    /// When lines were answered at once again, or nobody waited for that any longer.
    pub end: Duration,
}

impl Window {
    /// Under which name it is counted.
    pub fn name(&self) -> &'static str {
        match self.strikes.as_slice() {
            [only] => only.kind.name,
            _ => TWO,
        }
    }

    /// How long people waited.
    pub fn recovery(&self, ledger: &Ledger) -> Option<Duration> {
        let first = self.strikes.first()?.kind.platform;
        // Only one platform notices, or both.
        let only = first.filter(|_| self.strikes.iter().all(|strike| strike.kind.platform == first));
        ledger.recovery(only, self.begin, self.end)
    }

    fn holds(&self, line: &Line) -> bool {
        (self.begin.saturating_sub(LEAD)..=self.end).contains(&line.said)
    }
}

/// All that is needed to judge.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// What happened.
    pub windows: &'a [Window],
    /// Whether another gateway can take over before one leaves in order.
    pub can_hand_over: bool,
}

impl Judge<'_> {
    /// The fault that a line met, if any.
    pub fn window(&self, line: &Line) -> Option<&Window> {
        self.windows.iter().find(|window| window.holds(line))
    }

    /// What became of a line.
    pub fn fate(&self, line: &Line) -> Fate {
        match line.replies.len() {
            0 if line.uncertain || self.interrupted(line) => Fate::AtMostOnce,
            0 if line.heard == 0 || self.forgotten(line) => Fate::Unheard,
            0 => Fate::Lost,
            1 if line.latency().is_some_and(|latency| latency > LATE) => Fate::Late,
            1 => Fate::Answered,
            _ => Fate::Doubled,
        }
    }

    /// How many lines are lost as it stands.
    pub fn lost(&self, ledger: &Ledger) -> usize {
        ledger.lines().iter().filter(|line| self.fate(line) == Fate::Lost).count()
    }

    /// Its gateway, or the connection, ended while it was on the way. What NATS has is not forgotten.
    fn forgotten(&self, line: &Line) -> bool {
        line.event_stored().is_none()
            && self.strikes().any(|strike| {
                let takes = strike.kind.forgets && strike.kind.platform == Some(line.place.platform);
                let happens = strike.at..strike.at + MAKING;
                takes && !self.hands_over(strike) && soon_before(line.said, &happens, ON_THE_WAY)
            })
    }

    /// Its reply may have been between the acknowledgement and the socket when its gateway was killed.
    fn interrupted(&self, line: &Line) -> bool {
        let Some(stored) = line.action_stored() else { return false };
        line.place.platform == Platform::Twitch
            && self.strikes().any(|strike| {
                let kills = strike.kind.role == Role::TwitchGateway && strike.kind.deed == Deed::Kill;
                kills && soon_before(stored, &(strike.at..strike.at + MAKING), BEING_SENT)
            })
    }

    fn hands_over(&self, strike: &Strike) -> bool {
        self.can_hand_over && strike.kind.deed == Deed::Terminate
    }

    fn strikes(&self) -> impl Iterator<Item = &Strike> {
        self.windows.iter().flat_map(|window| &window.strikes)
    }
}

fn soon_before(at: Duration, happens: &Range<Duration>, within: Duration) -> bool {
    at < happens.end && happens.start.saturating_sub(at) <= within
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{
        kinds::KINDS,
        ledger::{ACTION, EVENT, Place},
    };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn windows(name: &str) -> Vec<Window> {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        let strike = Strike { kind, part: "x-1".to_owned(), at: ms(5000), lasts: ms(100) };
        vec![Window { strikes: vec![strike], begin: ms(5000), end: ms(7000) }]
    }

    fn line(platform: Platform, said: u64, replies: &[u64], traces: &[&str]) -> Line {
        Line {
            place: Place { platform, channel: "a".to_owned() },
            token: String::new(),
            event: None,
            said: ms(said),
            heard: 1,
            replies: replies.iter().map(|at| ms(*at)).collect(),
            traces: traces.iter().map(|trace| (ms(said + 5), (*trace).to_owned())).collect(),
            uncertain: false,
            overtaken: false,
        }
    }

    fn check(fault: &str, can_hand_over: bool, line: &Line, fate: Fate) {
        let windows = windows(fault);
        let judge = Judge { windows: &windows, can_hand_over };
        assert_eq!(judge.fate(line), fate, "{fault}: {line:?}");
    }

    #[test]
    fn a_line_without_an_excuse_is_lost() {
        let kill = "Twitch gateway: kill -9";
        check(kill, false, &line(Platform::Twitch, 1000, &[], &[]), Fate::Lost);
        check(kill, false, &line(Platform::Twitch, 4500, &[], &[]), Fate::Unheard);
        check(kill, false, &line(Platform::Twitch, 5020, &[], &[]), Fate::Unheard);
        check(kill, false, &line(Platform::Twitch, 5050, &[], &[]), Fate::Lost);
        check(kill, false, &Line { heard: 0, ..line(Platform::Twitch, 5500, &[], &[]) }, Fate::Unheard);
        check(kill, false, &line(Platform::Discord, 4500, &[], &[]), Fate::Lost);
        check(kill, false, &line(Platform::Twitch, 4500, &[], &[EVENT]), Fate::Lost);
        check("worker: kill -9", false, &line(Platform::Twitch, 4500, &[], &[]), Fate::Lost);
    }

    #[test]
    fn a_gateway_that_leaves_in_order_hands_over() {
        let leave = "Twitch gateway: SIGTERM";
        check(leave, false, &line(Platform::Twitch, 4500, &[], &[]), Fate::Unheard);
        check(leave, true, &line(Platform::Twitch, 4500, &[], &[]), Fate::Lost);
    }

    #[test]
    fn only_on_twitch_a_reply_is_sent_at_most_once() {
        let sending = |platform| line(platform, 4900, &[], &[EVENT, ACTION]);
        check("Twitch gateway: kill -9", true, &sending(Platform::Twitch), Fate::AtMostOnce);
        check("Discord gateway: kill -9", true, &sending(Platform::Discord), Fate::Lost);
        check("Twitch gateway: SIGSTOP", true, &sending(Platform::Twitch), Fate::Lost);
    }

    #[test]
    fn replies_are_counted_and_timed() {
        let kill = "worker: kill -9";
        check(kill, true, &line(Platform::Discord, 1000, &[1010], &[]), Fate::Answered);
        check(kill, true, &line(Platform::Discord, 1000, &[11_010], &[]), Fate::Late);
        check(kill, true, &line(Platform::Discord, 1000, &[1010, 1011], &[]), Fate::Doubled);
    }
}
