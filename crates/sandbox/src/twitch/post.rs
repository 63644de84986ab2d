//! A chat message from the moment it is allowed until everybody has it: IRC lines, EventSub, the
//! history and the feed. Also the rules a bot's message must pass, the same over IRC and Helix.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    Inner,
    eventsub::chat::event,
    irc::{notice::Notice, privmsg::privmsg},
    limits::Refused,
    people::{Account, Standing},
    world::{Message, State},
};
use crate::feed::{Author, Item, Line, Platform};

/// Longest message, in characters. Source: Helix reference, "Send Chat Message".
pub(crate) const MAX_CHARS: usize = 500;

/// What a bot wants to say.
pub(crate) struct Attempt<'a> {
    pub(crate) account: &'a Arc<Account>,
    pub(crate) channel: &'a str,
    pub(crate) text: &'a str,
    pub(crate) reply_to: Option<&'a str>,
    pub(crate) nonce: &'a str,
    /// The connection it came from, which does not get it back.
    pub(crate) except: Option<u64>,
    /// It is shown with the chat bot badge.
    pub(crate) chat_bot: bool,
    pub(crate) started: Instant,
}

/// A message that went out.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) standing: Standing,
}

/// Why it did not.
#[derive(Debug)]
pub(crate) enum Rejected {
    Told(Notice),
    /// Twitch says nothing; the word is for the counters.
    Silently(&'static str),
    /// `/disconnect`, the one command besides `/me` that still works.
    Disconnect,
}

/// A message that is allowed.
pub(crate) struct Post<'a> {
    pub(crate) author: Arc<Account>,
    pub(crate) standing: Standing,
    pub(crate) text: &'a str,
    pub(crate) action: bool,
    pub(crate) reply_to: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) except: Option<u64>,
    pub(crate) chat_bot: bool,
    pub(crate) started: Instant,
}

enum Read<'a> {
    Text(&'a str),
    Action(&'a str),
    Disconnect,
    Unknown(&'a str),
}

impl Inner {
    /// Holds a bot's message against Twitch's rules and sends it.
    pub(crate) fn bot_says(&self, state: &mut State, attempt: &Attempt<'_>) -> Result<Said, Rejected> {
        let now = attempt.started;
        let account = attempt.account;
        let channel = state.channels.get(attempt.channel).filter(|channel| !channel.suspended);
        let channel = channel.ok_or(Rejected::Told(Notice::ChannelSuspended))?;
        if let Some(ban) = channel.banned(&account.id, now) {
            return Err(Rejected::Told(ban.into()));
        }
        let standing = channel.standing(&account.id);
        let (text, action) = match read(attempt.text) {
            Read::Text(text) => (text, false),
            Read::Action(text) => (text, true),
            Read::Disconnect => return Err(Rejected::Disconnect),
            Read::Unknown(name) => {
                return Err(Rejected::Told(Notice::UnrecognizedCommand(name.to_owned())));
            }
        };
        if text.is_empty() {
            return Err(Rejected::Silently("empty"));
        }
        // Twitch does not cut a long line sent over IRC, it just does not send it
        // (tmijs/tmi.js#61, Chatterino/chatterino2#2890).
        if text.chars().count() > MAX_CHARS {
            return Err(Rejected::Silently("too_long"));
        }
        let same = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let record = state.records.entry(account.id.clone()).or_default();
        record.message(&self.options.limits, now, attempt.channel, standing, &same).map_err(|refused| {
            match refused {
                Refused::TooFast => Rejected::Told(Notice::TooFast),
                Refused::Duplicate => Rejected::Told(Notice::Duplicate),
                Refused::Ignored => Rejected::Silently("ignored"),
            }
        })?;
        record.delivered(now, attempt.channel, &same);
        self.counters.add("twitch.privmsg.accepted");
        let post = Post {
            author: account.clone(),
            standing,
            text,
            action,
            reply_to: attempt.reply_to,
            nonce: attempt.nonce,
            except: attempt.except,
            chat_bot: attempt.chat_bot,
            started: now,
        };
        let id = self.post(state, attempt.channel, &post).ok_or(Rejected::Silently("no_channel"))?;
        Ok(Said { id, standing })
    }

    /// Sends a message that is allowed to everybody; `None` when there is no such channel.
    pub(crate) fn post(&self, state: &mut State, login: &str, post: &Post<'_>) -> Option<String> {
        let channel = state.channels.get(login)?;
        let id = message_id();
        let at_ms = now_ms();
        // A parent that is gone makes it an ordinary message.
        let parent = post.reply_to.and_then(|id| channel.message(id)).cloned();
        let badges = post.author.badges(post.standing, post.chat_bot);
        let wire_text = match &parent {
            // Twitch itself puts the mention in front of a reply.
            Some(parent) => format!("@{} {}", parent.author.name, post.text),
            None => post.text.to_owned(),
        };
        let line = privmsg(channel, post, &id, at_ms, parent.as_ref(), &badges, &wire_text);
        let sent = state.send_to_channel(login, &line, post.except);
        self.counters.add_many("twitch.privmsg.out", sent);
        if self.eventsub.wants("channel.chat.message") {
            let event = event(channel, post, &id, parent.as_ref(), &badges, &wire_text);
            self.eventsub.publish(
                "channel.chat.message",
                &[("broadcaster_user_id", &channel.owner.id)],
                &event,
            );
        }
        let shown = Line {
            id: id.clone(),
            channel: login.to_owned(),
            author: Author {
                id: post.author.id.clone(),
                name: post.author.name.clone(),
                role: post.standing.role(post.author.bot),
            },
            text: post.text.to_owned(),
            reply_to: parent.as_ref().map(|parent| parent.id.clone()),
            latency_us: parent
                .as_ref()
                .map(|parent| post.started.duration_since(parent.at).as_micros())
                .and_then(|micros| u64::try_from(micros).ok()),
            ephemeral: false,
            embeds: Value::Array(Vec::new()),
            components: Value::Array(Vec::new()),
            heading: None,
            at_ms,
        };
        let thread = parent.map(|parent| parent.thread.unwrap_or((parent.id, parent.author)));
        let message = Message {
            id: id.clone(),
            author: post.author.clone(),
            text: wire_text.into(),
            at: post.started,
            thread,
        };
        self.feed.show(Item::Message { platform: Platform::Twitch, line: shown.clone() });
        state.channels.get_mut(login)?.remember(message, shown);
        Some(id)
    }
}

/// Twitch's message ids are UUIDs of version 4.
pub(crate) fn message_id() -> String {
    let bits = fastrand::u128(..) & !(0xF << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Tells text from commands. `/ ` and `. ` in front are taken off, which is the known way to write a
/// line that begins so; of the commands only `/me` and `/disconnect` are left since 2023-02-18.
fn read(text: &str) -> Read<'_> {
    let text = text.trim_matches(|c: char| c.is_whitespace());
    if let Some(action) = text.strip_prefix("\u{1}ACTION ") {
        return Read::Action(action.trim_end_matches('\u{1}').trim());
    }
    let Some(rest) = text.strip_prefix(['/', '.']) else {
        return Read::Text(text);
    };
    let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
    match name {
        "" => Read::Text(words.trim()),
        "me" => Read::Action(words.trim()),
        "disconnect" => Read::Disconnect,
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => Read::Unknown(&text[..=name.len()]),
        _ => Read::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4() {
        for _ in 0..100 {
            let id = message_id();
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        }
    }

    #[test]
    fn commands_are_dead_but_for_two() {
        assert!(matches!(read("/ban somebody"), Read::Unknown("/ban")));
        assert!(matches!(read(".timeout x"), Read::Unknown(".timeout")));
        assert!(matches!(read("/me waves"), Read::Action("waves")));
        assert!(matches!(read("\u{1}ACTION waves\u{1}"), Read::Action("waves")));
        assert!(matches!(read("/disconnect"), Read::Disconnect));
        assert!(matches!(read("/ /ban x"), Read::Text("/ban x")));
        assert!(matches!(read("...well"), Read::Text("...well")));
    }
}
