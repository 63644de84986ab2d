//! A point in a conversation with NATS: at which frame it is reached, and what happens then.

use protocol::subject;

use crate::frame::{Frame, Sender};

/// How a process dies, as the other side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its sockets are closed, and it cannot open new ones.
    Killed,
    /// Its sockets stay open, and nothing passes.
    Frozen,
}

/// Where a process dies.
///
/// A frame is named by its verb and its subject, with the wildcards of NATS. `PUB` is any publish and
/// `MSG` any message, with headers or without; `SEND` is everything that the client sends but the
/// heartbeats.
///
/// | frame | what it is |
/// |---|---|
/// | `PUB action.>` | an action on its way to its stream |
/// | `PUB $JS.ACK.>` | an acknowledgement of a delivery |
/// | `MSG event.>` | the delivery of an event |
/// | `MSG _INBOX_<user>.>` [holding](Self::holding) `"stream":"EVENTS"` | the server's word that it has stored one |
#[derive(Clone, Debug)]
pub struct Point {
    frame: Pattern,
    since: Option<Pattern>,
    nth: usize,
    pub(crate) delivered: bool,
    pub(crate) death: Death,
}

#[derive(Clone, Debug)]
struct Pattern {
    verb: &'static str,
    subject: &'static str,
    text: &'static str,
}

impl Point {
    /// Right before a frame: it does not arrive.
    #[must_use]
    pub fn before(frame: &'static str) -> Self {
        let frame = Pattern::new(frame);
        Self { frame, since: None, nth: 1, delivered: false, death: Death::Killed }
    }

    /// Right after a frame: it arrives, and the other side works on it, but nothing comes of that.
    #[must_use]
    pub fn after(frame: &'static str) -> Self {
        Self { delivered: true, ..Self::before(frame) }
    }

    /// Not the first such frame, but this one, counted from 1.
    #[must_use]
    pub fn nth(self, nth: usize) -> Self {
        Self { nth, ..self }
    }

    /// Frames count from the first of these on, itself included.
    #[must_use]
    pub fn since(self, frame: &'static str) -> Self {
        Self { since: Some(Pattern::new(frame)), ..self }
    }

    /// Only frames with this in their headers or payload count.
    #[must_use]
    pub fn holding(mut self, text: &'static str) -> Self {
        self.frame.text = text;
        self
    }

    /// The process does not end there, but stands still.
    #[must_use]
    pub fn frozen(self) -> Self {
        Self { death: Death::Frozen, ..self }
    }

    /// Counts a frame; `true` when this is the point.
    pub(crate) fn count(&mut self, frame: &Frame) -> bool {
        if self.since.as_ref().is_some_and(|since| !since.matches(frame)) {
            return false;
        }
        self.since = None;
        if self.nth == 0 || !self.frame.matches(frame) {
            return false;
        }
        self.nth -= 1;
        self.nth == 0
    }
}

impl Pattern {
    fn new(frame: &'static str) -> Self {
        let (verb, subject) = frame.split_once(' ').unwrap_or((frame, ">"));
        Self { verb, subject, text: "" }
    }

    fn matches(&self, frame: &Frame) -> bool {
        let verb = match (self.verb, frame.verb.as_str()) {
            ("SEND", "PING" | "PONG") => false,
            ("SEND", _) => frame.sender == Sender::Client,
            ("PUB", "HPUB") | ("MSG", "HMSG") => true,
            (wanted, verb) => wanted == verb,
        };
        verb && subject::is_under(self.subject, &frame.subject) && holds(frame.body(), self.text.as_bytes())
    }
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|bytes| bytes == text)
}
