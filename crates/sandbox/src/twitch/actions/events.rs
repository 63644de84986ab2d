//! Raids, subscriptions, announcements, followers, and the stream that goes on and off.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{broadcaster, checked, find, find_mut, user_and_broadcaster};
use crate::{
    people::Person,
    twitch::{
        Refusal, Twitch, eventsub,
        irc::usernotice::{About, user_notice},
        people::{self, Account, Standing},
        post::message_id,
        world::{Channel, Live, State},
    },
};

/// Who raids.
const RAIDER: &str = "North_Pier";

/// Most subscriptions given at once.
const MAX_GIFTS: u32 = 100;

impl Twitch {
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
        event["followed_at"] = json!(eventsub::timestamp());
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
        let mut event = broadcaster(channel);
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
}
