//! What people and the operator do. Each reaches IRC, EventSub and the feed, as on Twitch. Talk is
//! here; what else happens on a channel is in `events`, what moderators and the operator do to it in
//! `moderation`.

mod events;
mod moderation;

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};

use super::{
    Refusal, Twitch,
    people::{self, Account},
    post::{MAX_CHARS, Post},
    world::{Channel, State},
};
use crate::{
    feed::{Item, Platform},
    people::Person,
};

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

    fn publish_about(&self, channel: &Channel, kind: &str, event: &Value) {
        self.0.eventsub.publish(kind, &[("broadcaster_user_id", &channel.owner.id)], event);
    }

    fn notice(&self, channel: &str, text: String) {
        self.0.feed.show(Item::Notice { platform: Platform::Twitch, channel: channel.to_owned(), text });
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
