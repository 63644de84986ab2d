//! Every line that was said and every reply that was seen, and what follows from them. Knows neither
//! processes nor sockets; times are since the beginning of the run.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::Serialize;

use super::kinds::Platform;

/// A reply that takes longer than this is late.
pub const LATE: Duration = Duration::from_secs(10);
/// A reply within this time is given at once, as a person would call it.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// Where a line was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// On which platform.
    pub platform: Platform,
    /// In which channel, as the sandbox names it.
    pub channel: String,
}

/// A command that a person typed, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Where.
    pub place: Place,
    /// What the reply has to contain.
    pub token: String,
    /// `twitch:<message id>`, once the platform has told it.
    pub event: Option<String>,
    /// When.
    pub said: Duration,
    /// How many bots were given it.
    pub heard: u64,
    /// When the replies were seen.
    pub replies: Vec<Duration>,
    /// What passed over NATS about it, and when.
    pub traces: Vec<(Duration, String)>,
    /// Nobody was told what became of it, for it is rather not sent than sent twice.
    pub uncertain: bool,
    /// A later line of its channel was replied to before it.
    pub overtaken: bool,
}

impl Line {
    /// From the line to its first reply.
    pub fn latency(&self) -> Option<Duration> {
        Some(self.replies.first()?.saturating_sub(self.said))
    }

    fn stored(&self, what: &str) -> Option<Duration> {
        self.traces.iter().find(|(_, trace)| trace == what).map(|(at, _)| *at)
    }

    /// When its event was seen in NATS.
    pub fn event_stored(&self) -> Option<Duration> {
        self.stored(EVENT)
    }

    /// When its reply was seen in NATS.
    pub fn action_stored(&self) -> Option<Duration> {
        self.stored(ACTION)
    }
}

/// The trace of an event.
pub const EVENT: &str = "event stored";
/// The trace of an action.
pub const ACTION: &str = "action stored";

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// One reply.
    Answered,
    /// One reply, after more than [`LATE`].
    Late,
    /// More than one reply.
    Doubled,
    /// No reply, and no bot could hear it.
    Unheard,
    /// No reply on Twitch, where a reply is sent at most once and was interrupted.
    AtMostOnce,
    /// No reply, and no excuse.
    Lost,
}

/// All lines of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: Vec<Line>,
    tokens: HashMap<String, usize>,
    events: HashMap<String, usize>,
    /// The last line of each channel that was answered.
    answered: BTreeMap<Place, usize>,
    /// Lines without a prefix.
    chatter: u64,
}

impl Ledger {
    /// A line is about to be said; its token.
    pub fn begin(&mut self, place: Place, said: Duration) -> (usize, String) {
        let number = self.lines.len();
        let token = format!("tok{number:07}");
        self.tokens.insert(token.clone(), number);
        self.lines.push(Line {
            place,
            token: token.clone(),
            event: None,
            said,
            heard: 0,
            replies: Vec::new(),
            traces: Vec::new(),
            uncertain: false,
            overtaken: false,
        });
        (number, token)
    }

    /// It was said.
    pub fn told(&mut self, number: usize, message: &str, heard: u64) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let event = format!("{}:{message}", line.place.platform.name());
        (line.event, line.heard) = (Some(event.clone()), heard);
        self.events.insert(event, number);
    }

    /// Somebody said something that needs no reply.
    pub fn chatted(&mut self) {
        self.chatter += 1;
    }

    /// A bot's line; nothing happens when it answers none of ours.
    pub fn seen(&mut self, place: &Place, text: &str, at: Duration) {
        let Some(number) = text.split_whitespace().find_map(|word| self.tokens.get(word)).copied() else {
            return;
        };
        let Some(line) = self.lines.get_mut(number).filter(|line| line.place == *place) else { return };
        line.replies.push(at);
        if line.replies.len() == 1 {
            let last = self.answered.entry(place.clone()).or_insert(number);
            line.overtaken = number < *last;
            *last = number.max(*last);
        }
    }

    /// Something about an event passed over NATS.
    pub fn trace(&mut self, event: &str, what: String, uncertain: bool, at: Duration) {
        if let Some(line) = self.events.get(event).and_then(|number| self.lines.get_mut(*number)) {
            line.uncertain |= uncertain;
            line.traces.push((at, what));
        }
    }

    /// Leaves out the lines since then that nobody has replied to: the run ended before anybody could.
    pub fn leave_out_open(&mut self, since: Duration) {
        self.lines.retain(|line| line.said < since || !line.replies.is_empty());
        (self.tokens, self.events) = (HashMap::new(), HashMap::new());
    }

    /// Every line, in the order in which they were said.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How much was said that needs no reply.
    pub fn chatter(&self) -> u64 {
        self.chatter
    }

    /// Whether a line that was said since then was answered at once in each of these channels.
    pub fn answers_again(&self, places: &[Place], since: Duration) -> bool {
        let recent: Vec<&Line> = self.lines.iter().rev().take_while(|line| line.said >= since).collect();
        let at_once = |line: &&&Line| line.latency().is_some_and(|latency| latency <= AT_ONCE);
        places.iter().all(|place| recent.iter().filter(at_once).any(|line| line.place == *place))
    }

    /// How long after `begin` lines were answered at once again in all channels of a platform (or of
    /// both). Where no line that was said until `end` waited longer than that, how long the one that
    /// waited longest did. `None` when that cannot be said yet.
    pub fn recovery(&self, platform: Option<Platform>, begin: Duration, end: Duration) -> Option<Duration> {
        let mut channels: BTreeMap<&Place, Vec<&Line>> = BTreeMap::new();
        let hit = |line: &&Line| platform.is_none_or(|platform| line.place.platform == platform);
        for line in self.lines.iter().filter(|line| line.said >= begin).filter(hit) {
            channels.entry(&line.place).or_default().push(line);
        }
        let times = channels.values().map(|lines| {
            let within = lines.iter().take_while(|line| line.said <= end).count();
            let slow = |line: &&Line| line.latency().is_none_or(|latency| latency > AT_ONCE);
            match lines[..within].iter().rposition(slow) {
                None => {
                    Some(lines[..within].iter().filter_map(|line| line.latency()).max().unwrap_or_default())
                }
                Some(last) => {
                    let next = lines[last + 1..].iter().find(|line| !slow(line))?;
                    Some(next.replies.first()?.saturating_sub(begin))
                }
            }
        });
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn place() -> Place {
        Place { platform: Platform::Twitch, channel: "a".to_owned() }
    }

    fn ledger(lines: &[(u64, Option<u64>)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (number, (said, _)) in lines.iter().enumerate() {
            let (line, _) = ledger.begin(place(), ms(*said));
            ledger.told(line, &format!("m{number}"), 1);
        }
        let mut replies: Vec<(u64, usize)> =
            lines.iter().enumerate().filter_map(|(line, (_, at))| Some(((*at)?, line))).collect();
        replies.sort_unstable();
        for (at, line) in replies {
            ledger.seen(&place(), &format!("@Ines tok{line:07} ahoy"), ms(at));
        }
        ledger
    }

    #[test]
    fn replies_are_found_by_their_token_and_counted() {
        let mut ledger = ledger(&[(0, Some(5)), (10, None)]);
        ledger.seen(&place(), "tok0000000", ms(9));
        ledger.seen(&Place { channel: "b".to_owned(), ..place() }, "tok0000001", ms(9));
        ledger.seen(&place(), "Pong!", ms(9));
        assert_eq!(ledger.lines()[0].replies, [ms(5), ms(9)]);
        assert_eq!(ledger.lines()[1].replies.len(), 0);
        ledger.trace("twitch:m1", ACTION.to_owned(), true, ms(20));
        assert_eq!((ledger.lines()[1].uncertain, ledger.lines()[1].action_stored()), (true, Some(ms(20))));
    }

    #[test]
    fn what_was_overtaken_and_what_was_cut_short_is_known() {
        let mut cut_short = ledger(&[(0, None), (10, Some(20)), (20, None)]);
        cut_short.leave_out_open(ms(5));
        assert_eq!(cut_short.lines().iter().map(|line| line.said).collect::<Vec<_>>(), [ms(0), ms(10)]);
        let overtaken = |lines: &[(u64, Option<u64>)]| {
            ledger(lines).lines().iter().map(|line| line.overtaken).collect::<Vec<_>>()
        };
        assert_eq!(overtaken(&[(0, Some(50)), (10, Some(20)), (20, Some(60))]), [true, false, false]);
        assert_eq!(overtaken(&[(0, Some(50)), (10, None), (20, Some(60))]), [false, false, false]);
    }

    #[test]
    fn recovered_is_when_nobody_waits_any_more() {
        let quiet = ledger(&[(100, Some(130)), (600, Some(680))]);
        assert_eq!(quiet.recovery(None, ms(90), ms(2000)), Some(ms(80)));
        let outage =
            ledger(&[(0, Some(5)), (100, Some(2200)), (600, None), (2500, Some(2510)), (3000, Some(3005))]);
        assert_eq!(outage.recovery(None, ms(90), ms(4000)), Some(ms(2420)));
        assert_eq!(outage.recovery(Some(Platform::Discord), ms(90), ms(4000)), None);
        assert_eq!(ledger(&[(100, None), (600, None)]).recovery(None, ms(90), ms(2000)), None);
        assert!(outage.answers_again(&[place()], ms(2400)) && !outage.answers_again(&[place()], ms(3001)));
    }
}
