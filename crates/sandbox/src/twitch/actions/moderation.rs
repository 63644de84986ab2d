//! What moderators do, and lines that the operator slips in.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{account, broadcaster, find, find_mut};
use crate::{
    feed::{Item, Platform},
    twitch::{
        Refusal, Twitch,
        irc::{
            line::Shared,
            notice::Notice,
            usernotice::{clear_chat, clear_message},
        },
        people::Standing,
    },
};

/// Longest time-out, in seconds: two weeks. Source: Helix reference, "Ban User".
const MAX_TIMEOUT_S: u32 = 1_209_600;

impl Twitch {
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

    fn deleted(&self, channel: &str, ids: Vec<String>) {
        for id in ids {
            self.0.feed.show(Item::Deleted { platform: Platform::Twitch, channel: channel.to_owned(), id });
        }
    }
}
