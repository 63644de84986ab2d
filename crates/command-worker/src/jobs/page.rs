//! What is followed, and who follows it.

use commands::{Language, Order, Words};
use protocol::{
    Action, ActionBody, ActionId, ChannelId, CommunityId, Content, Delivery, DropReason, EventId, MessageId,
    Platform, VERSION,
};
use serde::{Deserialize, Serialize};

/// Orders that are followed at a time.
pub const OPEN_MAX: usize = 4;
/// Orders on the page, those included that are over.
const KEPT_MAX: usize = 16;
/// How long after it was asked an order is known that is over: an event may come again until its stream forgets it.
const KNOWN_MS: u64 = 15 * 60 * 1000;

/// What the page was asked is older than what the service says, by its clock: so far they may differ.
const CLOCKS_MS: u64 = 5_000;

/// Which of the actions of its event the first message is, the end, and the first change in between,
const FIRST: u32 = 0;
const END: u32 = 1;
const CHANGES: u32 = 2;
/// and the end once more, which no change ever counts up to.
const AGAIN: u32 = u32::MAX;

/// The page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The worker that follows.
    pub holder: String,
    /// Until when no other one does, in Unix milliseconds.
    pub until_ms: u64,
    /// The oldest first.
    pub jobs: Vec<Followed>,
}

/// An order that somebody gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The event or interaction.
    pub event: EventId,
    /// Where.
    pub platform: Platform,
    /// The community.
    pub community: CommunityId,
    /// The channel.
    pub channel: ChannelId,
    /// The message that asked, in chat.
    pub to: Option<MessageId>,
    /// The tag of the language of who asked.
    pub language: String,
    /// What commands start with there.
    pub prefix: String,
    /// When the gateway read it, in Unix microseconds.
    pub received_us: u64,
    /// Who asked, for the service: `discord:<user id>`.
    pub by: String,
    /// What was asked.
    pub order: Order,
    /// When, in Unix milliseconds.
    pub asked_ms: u64,
    /// What it is called, once the service has taken it.
    #[serde(default)]
    pub job: Option<String>,
    /// Whether the service was seen at it.
    #[serde(default)]
    pub begun: bool,
    /// The message that shows how it goes, where the platform can change one.
    #[serde(default)]
    pub message: Option<MessageId>,
    /// What that shows.
    #[serde(default)]
    pub shown: String,
    /// How often it was changed,
    #[serde(default)]
    pub changes: u32,
    /// and when last, in Unix milliseconds.
    #[serde(default)]
    pub changed_ms: u64,
    /// How it ended, once that is known; why it was not begun, when it was not.
    #[serde(default)]
    pub end: Option<String>,
    /// The end was to replace what is shown, which did not work: it is told once more.
    #[serde(default)]
    pub again: bool,
    /// Nothing is left to tell.
    #[serde(default)]
    pub over: bool,
}

/// What becomes of a new order on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is on it.
    New,
    /// It was already: its event came again.
    Again(Box<Followed>),
    /// It is not: too many are.
    Full,
}

impl Page {
    /// Puts an order on it, once.
    pub fn add(&mut self, new: &Followed) -> Added {
        if let Some(known) = self.jobs.iter().find(|one| one.event == new.event) {
            return Added::Again(Box::new(known.clone()));
        }
        let now_ms = new.asked_ms;
        self.jobs.retain(|one| !one.over || now_ms < one.asked_ms.saturating_add(KNOWN_MS));
        if self.jobs.iter().filter(|one| !one.over).count() >= OPEN_MAX {
            return Added::Full;
        }
        if self.jobs.len() >= KEPT_MAX
            && let Some(oldest) = self.jobs.iter().position(|one| one.over)
        {
            self.jobs.remove(oldest);
        }
        self.jobs.push(new.clone());
        Added::New
    }

    /// Changes one order.
    pub fn update(&mut self, event: &EventId, update: impl FnOnce(&mut Followed)) {
        if let Some(one) = self.jobs.iter_mut().find(|one| one.event == *event) {
            update(one);
        }
    }

    /// Whether something is to be followed.
    pub fn is_open(&self) -> bool {
        self.jobs.iter().any(|one| !one.over)
    }

    /// Whether `me` may follow: it does already, or nobody else does any more.
    pub fn is_free_for(&self, me: &str, now_ms: u64) -> bool {
        self.holder == me || self.holder.is_empty() || self.until_ms <= now_ms
    }

    /// Whether the message of this action is to be changed later.
    pub fn awaits(&self, action: &ActionId) -> bool {
        self.jobs.iter().any(|one| one.awaits(action))
    }

    /// The message of an action is known.
    pub fn found(&mut self, action: &ActionId, message: &MessageId) {
        if let Some(one) = self.jobs.iter_mut().find(|one| one.awaits(action)) {
            one.message = Some(message.clone());
        }
    }

    /// Whether an action is one that changes a message of those here.
    pub fn changes_by(&self, action: &ActionId) -> bool {
        self.jobs.iter().any(|one| one.message.is_some() && one.number(action).is_some())
    }

    /// The change of a message was not done. Without its message an order is told of in a new one.
    pub fn lost(&mut self, action: &ActionId, reason: DropReason) {
        let is_gone = matches!(reason, DropReason::NotFound | DropReason::Forbidden);
        for one in self.jobs.iter_mut().filter(|one| one.message.is_some()) {
            match one.number(action) {
                Some(END) if !one.again => {
                    (one.again, one.over) = (true, false);
                    if is_gone {
                        one.message = None;
                    }
                }
                // What becomes of the end is heard by itself.
                Some(n) if n >= CHANGES && n != AGAIN && is_gone && one.end.is_none() => one.message = None,
                _ => {}
            }
        }
    }
}

impl Followed {
    /// Which of its actions this is.
    fn number(&self, action: &ActionId) -> Option<u32> {
        action.as_str().strip_prefix(self.event.as_str())?.strip_prefix(':')?.parse().ok()
    }

    fn awaits(&self, action: &ActionId) -> bool {
        !self.over && self.message.is_none() && self.changes_messages() && self.event.action(FIRST) == *action
    }

    /// Whether what was asked for by `by`, and begun then, in Unix milliseconds, may be this.
    pub fn may_be(&self, by: &str, began_ms: u64) -> bool {
        self.by == by && began_ms.saturating_add(CLOCKS_MS) >= self.asked_ms
    }

    /// Whether the platform can change a message.
    pub const fn changes_messages(&self) -> bool {
        matches!(self.platform, Platform::Discord)
    }

    /// The words for it.
    pub fn words(&self) -> Words<'_> {
        let language = Language::of_locale(&self.language).unwrap_or_default();
        Words { language, order: &self.order, prefix: &self.prefix }
    }

    /// The message that says that it has begun, where the answer itself cannot be changed later.
    pub fn opening(&self, text: String, expires_at_ms: u64) -> Action {
        self.action(FIRST, ActionBody::Send { content: Content::text(text) }, expires_at_ms)
    }

    /// The change that shows what is `shown`; `None` where there is no message to change.
    pub fn change(&self, expires_at_ms: u64) -> Option<Action> {
        let content = Content::text(&self.shown);
        let body = ActionBody::Edit { message: self.message.clone()?, content };
        Some(self.action(CHANGES.saturating_add(self.changes), body, expires_at_ms))
    }

    /// The last word, in place of what is shown, or where nothing is, as an answer.
    pub fn last(&self, end: &str, expires_at_ms: u64) -> Action {
        let content = Content::text(end);
        let body = match (&self.message, &self.to) {
            (Some(message), _) => ActionBody::Edit { message: message.clone(), content },
            (None, Some(to)) => ActionBody::Reply { to: to.clone(), content },
            (None, None) => ActionBody::Send { content },
        };
        self.action(if self.again { AGAIN } else { END }, body, expires_at_ms)
    }

    fn action(&self, n: u32, body: ActionBody, expires_at_ms: u64) -> Action {
        Action {
            v: VERSION,
            id: self.event.action(n),
            platform: self.platform,
            community: self.community.clone(),
            channel: self.channel.clone(),
            cause: self.event.clone(),
            cause_received_us: self.received_us,
            expires_at_ms,
            delivery: Delivery::AtMostOnce,
            body,
        }
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
pub mod tests;
