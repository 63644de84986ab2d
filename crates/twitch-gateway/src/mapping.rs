//! Lines of chat become events in words that no platform owns.

use std::collections::{HashSet, VecDeque};

use protocol::{
    Author, ChannelId, ChatMessage, Command, CommunityId, Event, EventBody, EventId, Gift, MessageId,
    Platform, Raid, Rank, Subscription, UserId, VERSION,
};

use crate::{
    gifts::Gifts,
    irc::{Line, Verb},
    text::without_difference,
};

/// Ids of lines that are remembered, so that two connections in one channel tell each line once.
const REMEMBERED_IDS: usize = 8192;
/// The account that gives in the name of those who do not want to be known.
const ANONYMOUS_GIFTER: &str = "274598607";

/// Why a line is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The bot wrote it itself.
    Own,
    /// It was written in another channel of a shared chat, where it is an event.
    SharedChat,
    /// Another connection told it already.
    Duplicate,
    /// It is part of a mass gift that is an event.
    FoldedGift,
    /// A tag that an event needs is missing or has an unknown form.
    Incomplete,
    /// No event is made of its kind.
    OtherKind,
}

impl Passed {
    /// A name for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::SharedChat => "shared_chat",
            Self::Duplicate => "duplicate",
            Self::FoldedGift => "folded_gift",
            Self::Incomplete => "incomplete",
            Self::OtherKind => "other_kind",
        }
    }
}

/// Makes events of lines, over all connections of the account.
#[derive(Debug)]
pub struct Mapper {
    own_login: String,
    own_id: Option<String>,
    prefix: String,
    gifts: Gifts,
    seen: Seen,
}

impl Mapper {
    /// For the account `own_login`, whose own lines are passed by.
    #[must_use]
    pub fn new(own_login: &str, prefix: &str) -> Self {
        Self {
            own_login: own_login.to_owned(),
            own_id: None,
            prefix: prefix.to_owned(),
            gifts: Gifts::default(),
            seen: Seen::default(),
        }
    }

    /// Tells the account's id, once it is known.
    pub fn set_own_id(&mut self, id: &str) {
        self.own_id = Some(id.to_owned());
    }

    /// The event that a PRIVMSG or USERNOTICE line is, read at `received_us`.
    ///
    /// # Errors
    /// [`Passed`] when it is none.
    pub fn event(&mut self, line: &Line<'_>, received_us: u64) -> Result<Event, Passed> {
        let (room, id) = (required(line, "room-id")?, required(line, "id")?);
        if line.raw_tag("source-room-id").is_some_and(|source| source != room) {
            return Err(Passed::SharedChat);
        }
        if self.is_own(line) {
            return Err(Passed::Own);
        }
        if !self.seen.first_time(id) {
            return Err(Passed::Duplicate);
        }
        let body = match line.verb() {
            Verb::Privmsg => self.chat(line, room, id)?,
            Verb::UserNotice => self.notice(line)?,
            _ => return Err(Passed::OtherKind),
        };
        Ok(Event {
            v: VERSION,
            id: EventId::of_platform(Platform::Twitch, id).map_err(|_| Passed::Incomplete)?,
            platform: Platform::Twitch,
            community: CommunityId::new(room).map_err(|_| Passed::Incomplete)?,
            at_ms: line.raw_tag("tmi-sent-ts").and_then(|ms| ms.parse().ok()).unwrap_or(received_us / 1000),
            received_us,
            body,
        })
    }

    fn is_own(&self, line: &Line<'_>) -> bool {
        // In a gift the giver's id is `user-id` too, and the bot gives nothing away.
        match (&self.own_id, line.raw_tag("user-id")) {
            (Some(own), Some(id)) => own == id,
            _ => line.nick() == Some(&self.own_login),
        }
    }

    fn chat(&self, line: &Line<'_>, room: &str, id: &str) -> Result<EventBody, Passed> {
        let (text, is_action) = match action_text(line.text()) {
            Some(text) => (text, true),
            None => (line.text(), false),
        };
        let text = without_mention(line, without_difference(text));
        let message = ChatMessage {
            id: MessageId::new(id).map_err(|_| Passed::Incomplete)?,
            channel: ChannelId::new(room).map_err(|_| Passed::Incomplete)?,
            author: author(line)?,
            text: text.to_owned(),
            reply_to: line.raw_tag("reply-parent-msg-id").and_then(|id| MessageId::new(id).ok()),
        };
        Ok(match !is_action && is_command(text, &self.prefix) {
            true => EventBody::Command(Command { message, prefix: self.prefix.clone() }),
            false => EventBody::Message(message),
        })
    }

    fn notice(&mut self, line: &Line<'_>) -> Result<EventBody, Passed> {
        match line.raw_tag("msg-id").unwrap_or_default() {
            "sub" | "resub" => Ok(EventBody::Subscription(Subscription {
                user: author(line)?,
                plan: plan(line)?,
                months: number(line, "msg-param-cumulative-months").unwrap_or(1).max(1),
                gifted_by: earlier_gifter(line),
            })),
            "subgift" | "anonsubgift" if self.gifts.belongs(line) => Err(Passed::FoldedGift),
            "subgift" | "anonsubgift" => Ok(EventBody::Subscription(Subscription {
                user: Author {
                    id: UserId::new(required(line, "msg-param-recipient-id")?)
                        .map_err(|_| Passed::Incomplete)?,
                    name: line
                        .tag("msg-param-recipient-display-name")
                        .or_else(|| line.tag("msg-param-recipient-user-name"))
                        .ok_or(Passed::Incomplete)?
                        .into_owned(),
                    rank: Rank::Everyone,
                    bot: false,
                },
                plan: plan(line)?,
                months: number(line, "msg-param-months").unwrap_or(1).max(1),
                gifted_by: giver(line)?,
            })),
            "submysterygift" | "anonsubmysterygift" => {
                let count = number(line, "msg-param-mass-gift-count").ok_or(Passed::Incomplete)?;
                let gift = Gift { from: giver(line)?, plan: plan(line)?, count };
                self.gifts.announced(line, count);
                Ok(EventBody::Gift(gift))
            }
            "raid" => Ok(EventBody::Raid(Raid {
                from: author(line)?,
                viewers: number(line, "msg-param-viewerCount").ok_or(Passed::Incomplete)?,
            })),
            _ => Err(Passed::OtherKind),
        }
    }
}

/// The last ids, as hashes: two different ids that collide among so few are out of question.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    hasher: std::hash::RandomState,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Whether an id is among the last ones.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.known.contains(&std::hash::BuildHasher::hash_one(&self.hasher, id))
    }

    /// Remembers an id; `false` when it is known.
    pub(crate) fn first_time(&mut self, id: &str) -> bool {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, id);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

fn required<'a>(line: &Line<'a>, tag: &str) -> Result<&'a str, Passed> {
    line.raw_tag(tag).ok_or(Passed::Incomplete)
}

fn number(line: &Line<'_>, tag: &str) -> Option<u32> {
    line.raw_tag(tag)?.parse().ok()
}

fn plan(line: &Line<'_>) -> Result<String, Passed> {
    Ok(line.tag("msg-param-sub-plan").ok_or(Passed::Incomplete)?.into_owned())
}

fn author(line: &Line<'_>) -> Result<Author, Passed> {
    let login = line.raw_tag("login").or_else(|| line.nick());
    let name = line.tag("display-name").or_else(|| login.map(Into::into)).ok_or(Passed::Incomplete)?;
    Ok(Author {
        id: UserId::new(required(line, "user-id")?).map_err(|_| Passed::Incomplete)?,
        name: name.into_owned(),
        rank: rank(line),
        bot: line.badges().any(|badge| badge == "bot-badge"),
    })
}

/// A lead moderator has a badge of its own, and `mod` is 0 for a broadcaster.
fn rank(line: &Line<'_>) -> Rank {
    let badge = |set: &str| line.badges().any(|badge| badge == set);
    if badge("broadcaster") {
        Rank::Owner
    } else if line.flag("mod") || badge("moderator") || badge("lead_moderator") {
        Rank::Moderator
    } else {
        Rank::Everyone
    }
}

/// Who gave, unless nobody should know.
fn giver(line: &Line<'_>) -> Result<Option<Author>, Passed> {
    let anonymous = line.raw_tag("msg-id").is_some_and(|id| id.starts_with("anon"))
        || line.raw_tag("user-id") == Some(ANONYMOUS_GIFTER)
        || line.raw_tag("login") == Some("ananonymousgifter");
    if anonymous { Ok(None) } else { author(line).map(Some) }
}

/// Who gave the subscription that is shared now.
fn earlier_gifter(line: &Line<'_>) -> Option<Author> {
    if line.raw_tag("msg-param-was-gifted") != Some("true")
        || line.raw_tag("msg-param-anon-gift") == Some("true")
    {
        return None;
    }
    Some(Author {
        id: UserId::new(line.raw_tag("msg-param-gifter-id")?).ok()?,
        name: line.tag("msg-param-gifter-name").or_else(|| line.tag("msg-param-gifter-login"))?.into_owned(),
        rank: Rank::Everyone,
        bot: false,
    })
}

/// What `/me` wraps.
fn action_text(text: &str) -> Option<&str> {
    text.strip_prefix("\u{1}ACTION ").map(|text| text.strip_suffix('\u{1}').unwrap_or(text))
}

/// Twitch puts `@name ` in front of an answer; what the person wrote comes after.
fn without_mention<'a>(line: &Line<'_>, text: &'a str) -> &'a str {
    let Some(rest) = line.raw_tag("reply-parent-msg-id").and_then(|_| text.strip_prefix('@')) else {
        return text;
    };
    let Some((mention, said)) = rest.split_once(' ') else { return text };
    let names = [line.tag("reply-parent-display-name"), line.tag("reply-parent-user-login")];
    let is_parent = names.into_iter().flatten().any(|name| name.to_lowercase() == mention.to_lowercase());
    if is_parent { said.trim_start() } else { text }
}

fn is_command(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| !first.is_whitespace()))
}
