//! A chat message from the moment it is allowed until everybody has it: IRC lines, EventSub, the
//! history and the feed. Also the rules a bot's message must pass, the same over IRC and Helix.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Inner,
    irc::{
        channel::{mask, user_type},
        line::Shared,
        notice::Notice,
        tags::Tags,
    },
    limits::Refused,
    people::{Account, Badge, Standing, badge_info_tag, badge_tag},
    world::{Channel, Message, State},
};
use crate::feed::{Author, Item, Line, Platform};

/// Longest message, in characters. Source: Helix reference, "Send Chat Message".
pub(crate) const MAX_CHARS: usize = 500;

/// A few of the emotes that everybody has, with their ids.
const EMOTES: [(&str, &str); 6] = [
    ("Kappa", "25"),
    ("Keepo", "1902"),
    ("Kreygasm", "41"),
    ("LUL", "425618"),
    ("HeyGuys", "30259"),
    ("SeemsGood", "64138"),
];

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

fn privmsg(
    channel: &Channel,
    post: &Post<'_>,
    id: &str,
    at_ms: u64,
    parent: Option<&Message>,
    badges: &[Badge],
    wire_text: &str,
) -> Shared {
    let mut tags = Tags::new().text("badge-info", &badge_info_tag(badges)).text("badges", &badge_tag(badges));
    if !post.nonce.is_empty() {
        tags = tags.text("client-nonce", post.nonce);
    }
    tags = tags
        .plain("color", post.author.color)
        .text("display-name", &post.author.name)
        .plain("emotes", emotes(wire_text))
        .plain("first-msg", 0)
        .plain("flags", "")
        .plain("id", id)
        .flag("mod", post.standing.is_moderator());
    if let Some(parent) = parent {
        let thread = parent.thread.as_ref();
        let (thread_id, thread_author) =
            thread.map_or((&parent.id, &parent.author), |(id, author)| (id, author));
        tags = tags
            .text("reply-parent-display-name", &parent.author.name)
            .text("reply-parent-msg-body", &parent.text)
            .plain("reply-parent-msg-id", &parent.id)
            .plain("reply-parent-user-id", &parent.author.id)
            .plain("reply-parent-user-login", &parent.author.login)
            .text("reply-thread-parent-display-name", &thread_author.name)
            .plain("reply-thread-parent-msg-id", thread_id)
            .plain("reply-thread-parent-user-id", &thread_author.id)
            .plain("reply-thread-parent-user-login", &thread_author.login);
    }
    tags = tags
        .plain("returning-chatter", 0)
        .plain("room-id", &channel.owner.id)
        .flag("subscriber", post.author.months > 0)
        .plain("tmi-sent-ts", at_ms)
        .plain("turbo", 0)
        .plain("user-id", &post.author.id)
        .plain("user-type", user_type(post.standing));
    if post.standing == Standing::Vip {
        tags = tags.plain("vip", 1);
    }
    let (head, login) = (mask(&post.author), &channel.login);
    let rest = if post.action {
        format!(":{head} PRIVMSG #{login} :\u{1}ACTION {wire_text}\u{1}")
    } else {
        format!(":{head} PRIVMSG #{login} :{wire_text}")
    };
    Shared::new(&tags, &rest, 0)
}

/// The `emotes` tag: ids with the places of their words, in characters.
fn emotes(text: &str) -> String {
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    let mut at = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if let Some((_, id)) = EMOTES.iter().find(|(name, _)| *name == word) {
            let place = format!("{at}-{}", at + length - 1);
            match found.iter_mut().find(|(known, _)| known == id) {
                Some((_, places)) => places.push(place),
                None => found.push((id, vec![place])),
            }
        }
        at += length + 1;
    }
    let each = found.iter().map(|(id, places)| format!("{id}:{}", places.join(",")));
    each.collect::<Vec<_>>().join("/")
}

fn event(
    channel: &Channel,
    post: &Post<'_>,
    id: &str,
    parent: Option<&Message>,
    badges: &[Badge],
    wire_text: &str,
) -> Value {
    let badges: Vec<Value> = badges
        .iter()
        .map(|badge| json!({"set_id": badge.set, "id": badge.version, "info": badge.info}))
        .collect();
    let reply = parent.map(|parent| {
        let thread = parent.thread.as_ref();
        let (thread_id, thread_author) =
            thread.map_or((&parent.id, &parent.author), |(id, author)| (id, author));
        json!({
            "parent_message_id": parent.id,
            "parent_message_body": &*parent.text,
            "parent_user_id": parent.author.id,
            "parent_user_name": parent.author.name,
            "parent_user_login": parent.author.login,
            "thread_message_id": thread_id,
            "thread_user_id": thread_author.id,
            "thread_user_name": thread_author.name,
            "thread_user_login": thread_author.login,
        })
    });
    json!({
        "broadcaster_user_id": channel.owner.id,
        "broadcaster_user_login": channel.owner.login,
        "broadcaster_user_name": channel.owner.name,
        "source_broadcaster_user_id": null,
        "source_broadcaster_user_login": null,
        "source_broadcaster_user_name": null,
        "chatter_user_id": post.author.id,
        "chatter_user_login": post.author.login,
        "chatter_user_name": post.author.name,
        "message_id": id,
        "source_message_id": null,
        "is_source_only": null,
        "message": {"text": wire_text, "fragments": [
            {"type": "text", "text": wire_text, "cheermote": null, "emote": null, "mention": null},
        ]},
        "color": post.author.color,
        "badges": badges,
        "source_badges": null,
        "message_type": "text",
        "cheer": null,
        "reply": reply,
        "channel_points_custom_reward_id": null,
        "channel_points_animation_id": null,
    })
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
    fn places_emotes_by_character() {
        assert_eq!(emotes("é Kappa LUL Kappa"), "25:2-6,12-16/425618:8-10");
        assert_eq!(emotes("nothing"), "");
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
