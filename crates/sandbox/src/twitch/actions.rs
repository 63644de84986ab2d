//! What people and the operator do: talk, raid, subscribe, moderate, go live. Each reaches IRC,
//! EventSub and the feed, as on Twitch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Refusal, Twitch,
    irc::{
        line::Shared,
        notice::Notice,
        usernotice::{About, clear_chat, clear_message, user_notice},
    },
    people::{self, Account, Standing},
    post::{MAX_CHARS, Post, message_id},
    world::{Channel, Live, State},
};
use crate::{
    feed::{Item, Platform},
    people::Person,
};

/// Who raids.
const RAIDER: &str = "North_Pier";

/// Longest time-out, in seconds: two weeks. Source: Helix reference, "Ban User".
const MAX_TIMEOUT_S: u32 = 1_209_600;

/// Most subscriptions given at once.
const MAX_GIFTS: u32 = 100;

impl Twitch {
    /// A person types a line. Returns the message id.
    ///
    /// # Errors
    /// When the channel does not exist, the text is empty or longer than 500 characters, or the
    /// person is banned there.
    pub fn say(&self, person: Person, channel: &str, text: &str) -> Result<String, Refusal> {
        let started = Instant::now();
        let mut state = self.0.state();
        let account = state.person(person, find(&state, channel)?);
        self.talk(&mut state, &account, channel, text, started)
    }

    /// Anybody types a line; the account comes into being with it and is the same next time.
    ///
    /// # Errors
    /// As [`Twitch::say`].
    pub fn say_as(&self, login: &str, channel: &str, text: &str) -> Result<String, Refusal> {
        let started = Instant::now();
        let mut state = self.0.state();
        let known = state.accounts.get(&login.to_ascii_lowercase()).cloned();
        let account = known.unwrap_or_else(|| people::passer_by(login));
        self.talk(&mut state, &account, channel, text, started)
    }

    /// A raid arrives. Returns the id of the USERNOTICE.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn raid(&self, channel: &str, viewers: u32) -> Result<String, Refusal> {
        let raider = people::passer_by(RAIDER);
        let mut state = self.0.state();
        let id = self.announce_event(&mut state, channel, &raider, &About::Raid { viewers }, "")?;
        let owner = &find(&state, channel)?.owner;
        let event = json!({
            "from_broadcaster_user_id": raider.id,
            "from_broadcaster_user_login": raider.login,
            "from_broadcaster_user_name": raider.name,
            "to_broadcaster_user_id": owner.id,
            "to_broadcaster_user_login": owner.login,
            "to_broadcaster_user_name": owner.name,
            "viewers": viewers,
        });
        let about = [("to_broadcaster_user_id", owner.id.as_str()), ("from_broadcaster_user_id", &raider.id)];
        self.0.eventsub.publish("channel.raid", &about, &event);
        Ok(id)
    }

    /// A person subscribes for the first time.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn subscribe(&self, channel: &str, person: Person) -> Result<String, Refusal> {
        let mut state = self.0.state();
        let account = state.person(person, find(&state, channel)?);
        let id = self.announce_event(&mut state, channel, &account, &About::Sub, "")?;
        self.publish_subscription(find(&state, channel)?, &account, false);
        Ok(id)
    }

    /// A person shares that the subscription goes on.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn resub(&self, channel: &str, person: Person, months: u16, text: &str) -> Result<String, Refusal> {
        let mut state = self.0.state();
        let account = state.person(person, find(&state, channel)?);
        let id = self.announce_event(&mut state, channel, &account, &About::Resub { months }, text)?;
        let channel = find(&state, channel)?;
        let mut event = user_and_broadcaster(&account, channel);
        event["tier"] = json!("1000");
        event["message"] = json!({"text": text, "emotes": []});
        event["cumulative_months"] = json!(months);
        event["streak_months"] = Value::Null;
        event["duration_months"] = json!(1);
        self.publish_about(channel, "channel.subscription.message", &event);
        Ok(id)
    }

    /// A person gives one subscription to another.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn gift(&self, channel: &str, from: Person, to: Person) -> Result<String, Refusal> {
        let mut state = self.0.state();
        let from = state.person(from, find(&state, channel)?);
        let to = state.person(to, find(&state, channel)?);
        let origin = message_id();
        let about = About::SubGift { to: &to, gifted: 1, origin: &origin };
        let id = self.announce_event(&mut state, channel, &from, &about, "")?;
        let channel = find(&state, channel)?;
        self.publish_subscription(channel, &to, true);
        self.publish_gift(channel, &from, 1);
        Ok(id)
    }

    /// A person gives subscriptions to the community: one `submysterygift`, then a `subgift` each.
    /// At most 100.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn gift_many(&self, channel: &str, from: Person, count: u32) -> Result<String, Refusal> {
        let count = count.clamp(1, MAX_GIFTS);
        let mut state = self.0.state();
        let from = state.person(from, find(&state, channel)?);
        let origin = message_id();
        let about = About::SubMysteryGift { count, gifted: count, origin: &origin };
        let id = self.announce_event(&mut state, channel, &from, &about, "")?;
        self.publish_gift(find(&state, channel)?, &from, count);
        for n in 0..count {
            let to = people::passer_by(&format!("Lucky_{n:03}"));
            let about = About::SubGift { to: &to, gifted: 0, origin: &origin };
            self.announce_event(&mut state, channel, &from, &about, "")?;
            self.publish_subscription(find(&state, channel)?, &to, true);
        }
        Ok(id)
    }

    /// A moderator or the broadcaster makes an announcement.
    ///
    /// # Errors
    /// When the channel does not exist, or the person moderates nothing there.
    pub fn announce(&self, channel: &str, person: Person, text: &str) -> Result<String, Refusal> {
        let text = checked(text)?;
        let mut state = self.0.state();
        let place = find(&state, channel)?;
        let account = state.person(person, place);
        let standing = place.standing(&account.id);
        if !matches!(standing, Standing::Moderator | Standing::Broadcaster) {
            return Err(Refusal::NoPermission);
        }
        self.announce_event(&mut state, channel, &account, &About::Announcement { color: "PRIMARY" }, &text)
    }

    /// Somebody follows. Only EventSub tells of it, as on Twitch.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn follow(&self, channel: &str, person: Person) -> Result<(), Refusal> {
        let state = self.0.state();
        let channel = find(&state, channel)?;
        let account = state.person(person, channel);
        let mut event = user_and_broadcaster(&account, channel);
        event["followed_at"] = json!(super::eventsub::timestamp());
        self.publish_about(channel, "channel.follow", &event);
        self.notice(&channel.login, format!("{} follows now", account.name));
        Ok(())
    }

    /// The stream goes on or off.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn go_live(&self, channel: &str, live: bool) -> Result<(), Refusal> {
        let mut state = self.0.state();
        let channel = find_mut(&mut state, channel)?;
        let was = channel.live.is_some();
        if live == was {
            return Ok(());
        }
        let mut event = json!({
            "broadcaster_user_id": channel.owner.id,
            "broadcaster_user_login": channel.owner.login,
            "broadcaster_user_name": channel.owner.name,
        });
        if live {
            let on = Live {
                id: fastrand::u64(40_000_000_000..50_000_000_000).to_string(),
                since: OffsetDateTime::now_utc(),
            };
            event["id"] = json!(on.id);
            event["type"] = json!("live");
            event["started_at"] = json!(on.since.format(&Rfc3339).unwrap_or_default());
            channel.live = Some(on);
        } else {
            channel.live = None;
        }
        let kind = if live { "stream.online" } else { "stream.offline" };
        self.publish_about(channel, kind, &event);
        let words = if live { "the stream is on" } else { "the stream is off" };
        self.notice(&channel.login, words.to_owned());
        Ok(())
    }

    /// Clears the chat of a channel.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn clear_chat(&self, channel: &str) -> Result<(), Refusal> {
        let mut state = self.0.state();
        let place = find_mut(&mut state, channel)?;
        let gone = place.forget_all(None);
        let event = broadcaster(place);
        let line = clear_chat(place, None);
        self.publish_about(place, "channel.chat.clear", &event);
        state.send_to_channel(channel, &line, None);
        self.deleted(channel, gone);
        Ok(())
    }

    /// Times an account out (or bans it, with 0 seconds) and takes away what it said.
    ///
    /// # Errors
    /// When the channel or the account does not exist, or the account is the broadcaster.
    pub fn timeout(&self, channel: &str, login: &str, seconds: u32) -> Result<(), Refusal> {
        let seconds = seconds.min(MAX_TIMEOUT_S);
        let mut state = self.0.state();
        let account = account(&state, login)?;
        let place = find_mut(&mut state, channel)?;
        if place.owner.id == account.id {
            return Err(Refusal::NoPermission);
        }
        let duration = (seconds > 0).then_some(u64::from(seconds));
        place.ban(&account.id, duration.map(|seconds| Instant::now() + Duration::from_secs(seconds)));
        let gone = place.forget_all(Some(&account.id));
        let line = clear_chat(place, Some((&account, duration)));
        let mut event = broadcaster(place);
        event["target_user_id"] = json!(account.id);
        event["target_user_login"] = json!(account.login);
        event["target_user_name"] = json!(account.name);
        let owner_id = place.owner.id.clone();
        self.publish_about(place, "channel.chat.clear_user_messages", &event);
        state.send_to_channel(channel, &line, None);
        // A ban or time-out ends the account's own subscriptions to that chat.
        self.0.eventsub.revoke("chat_user_banned", |sub| {
            sub.user_id == account.id
                && sub.kind.starts_with("channel.chat.")
                && sub.condition.get("broadcaster_user_id").and_then(Value::as_str) == Some(&owner_id)
        });
        self.deleted(channel, gone);
        Ok(())
    }

    /// Ends a ban or time-out.
    ///
    /// # Errors
    /// When the channel or the account does not exist.
    pub fn unban(&self, channel: &str, login: &str) -> Result<(), Refusal> {
        let mut state = self.0.state();
        let account = account(&state, login)?;
        find_mut(&mut state, channel)?.unban(&account.id);
        Ok(())
    }

    /// Deletes one message.
    ///
    /// # Errors
    /// When the channel or the message does not exist.
    pub fn delete(&self, channel: &str, message_id: &str) -> Result<(), Refusal> {
        let mut state = self.0.state();
        let place = find_mut(&mut state, channel)?;
        let message = place.forget(message_id).ok_or(Refusal::NoSuchMessage)?;
        let line = clear_message(place, &message.author, message_id, &message.text);
        let mut event = broadcaster(place);
        event["target_user_id"] = json!(message.author.id);
        event["target_user_login"] = json!(message.author.login);
        event["target_user_name"] = json!(message.author.name);
        event["message_id"] = json!(message_id);
        self.publish_about(place, "channel.chat.message_delete", &event);
        state.send_to_channel(channel, &line, None);
        self.deleted(channel, vec![message_id.to_owned()]);
        Ok(())
    }

    /// Makes an account moderator or VIP of a channel, or neither.
    ///
    /// # Errors
    /// When the channel or the account does not exist.
    pub fn set_standing(&self, channel: &str, login: &str, standing: Standing) -> Result<(), Refusal> {
        let mut state = self.0.state();
        let account = account(&state, login)?;
        find_mut(&mut state, channel)?.set_standing(&account.id, standing);
        Ok(())
    }

    /// Suspends a channel or lets it come back. Nobody can join or talk in a suspended one.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn suspend(&self, channel: &str, suspended: bool) -> Result<(), Refusal> {
        find_mut(&mut self.0.state(), channel)?.suspended = suspended;
        Ok(())
    }

    /// Sends a NOTICE to all who joined, by its `msg-id`, such as `no_permission`.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn send_notice(&self, channel: &str, msg_id: &str) -> Result<u64, Refusal> {
        let notice = match msg_id {
            "msg_ratelimit" => Notice::TooFast,
            "msg_duplicate" => Notice::Duplicate,
            "msg_banned" => Notice::Banned,
            "msg_timedout" => Notice::TimedOut(600),
            "msg_channel_suspended" => Notice::ChannelSuspended,
            "no_permission" => Notice::NoPermission,
            "unrecognized_cmd" => Notice::UnrecognizedCommand("/ban".to_owned()),
            other => Notice::Other(other.to_owned()),
        };
        let state = self.0.state();
        let login = find(&state, channel)?.login.clone();
        Ok(state.send_to_channel(&login, &notice.line(&login), None))
    }

    /// Sends bytes as one line, exactly as given, to all who joined the channel, or to every client.
    /// Says to how many.
    ///
    /// # Errors
    /// When the channel does not exist.
    pub fn inject_raw(&self, channel: Option<&str>, line: &[u8]) -> Result<u64, Refusal> {
        let line = Shared::raw(line);
        let state = self.0.state();
        self.0.counters.add("twitch.irc.injected");
        match channel {
            Some(channel) => Ok(state.send_to_channel(&find(&state, channel)?.login, &line, None)),
            None => {
                let sent = state.clients.values().filter(|client| client.connection.send(&line));
                Ok(u64::try_from(sent.count()).unwrap_or(u64::MAX))
            }
        }
    }

    fn talk(
        &self,
        state: &mut State,
        account: &Arc<Account>,
        channel: &str,
        text: &str,
        started: Instant,
    ) -> Result<String, Refusal> {
        let place = find(state, channel)?;
        let login = place.login.clone();
        let standing = place.standing(&account.id);
        if place.suspended {
            return Err(Refusal::Suspended(login));
        }
        if place.banned(&account.id, started).is_some() {
            return Err(Refusal::Banned(account.name.clone()));
        }
        let text = checked(text)?;
        let (text, action) = match text.strip_prefix("/me ") {
            Some(action) => (action, true),
            None => (text.as_str(), false),
        };
        let post = Post {
            author: account.clone(),
            standing,
            text,
            action,
            reply_to: None,
            nonce: "",
            except: None,
            chat_bot: false,
            started,
        };
        self.0.counters.add("twitch.said");
        self.0.post(state, &login, &post).ok_or(Refusal::NoSuchChannel(login))
    }

    fn announce_event(
        &self,
        state: &mut State,
        channel: &str,
        account: &Account,
        about: &About<'_>,
        text: &str,
    ) -> Result<String, Refusal> {
        let place = find(state, channel)?;
        let standing = place.standing(&account.id);
        let (line, id) = user_notice(place, account, standing, about, text);
        let words = about.words(&account.name, &place.owner.name);
        let shown = match (words.as_str(), text) {
            ("", text) => format!("announcement by {}: {text}", account.name),
            (words, "") => words.to_owned(),
            (words, text) => format!("{words} {text}"),
        };
        let login = place.login.clone();
        state.send_to_channel(&login, &line, None);
        self.0.counters.add("twitch.usernotice");
        self.notice(&login, shown);
        Ok(id)
    }

    fn publish_subscription(&self, channel: &Channel, account: &Account, is_gift: bool) {
        let mut event = user_and_broadcaster(account, channel);
        event["tier"] = json!("1000");
        event["is_gift"] = json!(is_gift);
        self.publish_about(channel, "channel.subscribe", &event);
    }

    fn publish_gift(&self, channel: &Channel, from: &Account, total: u32) {
        let mut event = user_and_broadcaster(from, channel);
        event["total"] = json!(total);
        event["tier"] = json!("1000");
        event["cumulative_total"] = json!(total);
        event["is_anonymous"] = json!(false);
        self.publish_about(channel, "channel.subscription.gift", &event);
    }

    fn publish_about(&self, channel: &Channel, kind: &str, event: &Value) {
        self.0.eventsub.publish(kind, &[("broadcaster_user_id", &channel.owner.id)], event);
    }

    fn notice(&self, channel: &str, text: String) {
        self.0.feed.show(Item::Notice { platform: Platform::Twitch, channel: channel.to_owned(), text });
    }

    fn deleted(&self, channel: &str, ids: Vec<String>) {
        for id in ids {
            self.0.feed.show(Item::Deleted { platform: Platform::Twitch, channel: channel.to_owned(), id });
        }
    }
}

fn checked(text: &str) -> Result<String, Refusal> {
    // The web client sends one line: breaks become spaces there.
    let text = text.replace(['\r', '\n', '\0'], " ");
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Refusal::Empty),
        n if n > MAX_CHARS => Err(Refusal::TooLong(n)),
        _ => Ok(text.to_owned()),
    }
}

fn find<'a>(state: &'a State, channel: &str) -> Result<&'a Channel, Refusal> {
    let login = channel.trim_start_matches('#');
    state.channels.get(login).ok_or_else(|| Refusal::NoSuchChannel(login.to_owned()))
}

fn find_mut<'a>(state: &'a mut State, channel: &str) -> Result<&'a mut Channel, Refusal> {
    let login = channel.trim_start_matches('#');
    state.channels.get_mut(login).ok_or_else(|| Refusal::NoSuchChannel(login.to_owned()))
}

fn account(state: &State, login: &str) -> Result<Arc<Account>, Refusal> {
    let known = state.accounts.get(&login.to_ascii_lowercase()).cloned();
    known.ok_or_else(|| Refusal::NoSuchAccount(login.to_owned()))
}

fn broadcaster(channel: &Channel) -> Value {
    json!({
        "broadcaster_user_id": channel.owner.id,
        "broadcaster_user_login": channel.owner.login,
        "broadcaster_user_name": channel.owner.name,
    })
}

fn user_and_broadcaster(account: &Account, channel: &Channel) -> Value {
    let mut event = broadcaster(channel);
    event["user_id"] = json!(account.id);
    event["user_login"] = json!(account.login);
    event["user_name"] = json!(account.name);
    event
}
