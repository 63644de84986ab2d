//! JOIN and PART, and what a client hears about the channel it joined.

use std::{sync::Arc, time::Instant};

use super::{caps, line::Shared, login::Session, notice::Notice, tags::Tags};
use crate::twitch::{
    people::{Account, Standing, badge_info_tag, badge_tag},
    world::{Channel, Client, Member, State},
};

/// Names listed in one 353 line.
const NAMES_PER_LINE: usize = 20;

impl Session {
    /// JOIN of one channel or a comma-separated list.
    pub(super) fn join(&self, account: &Arc<Account>, list: &str) {
        for channel in channel_names(list) {
            self.twitch.counters.add("twitch.irc.join");
            self.join_one(account, &channel);
        }
    }

    fn join_one(&self, account: &Arc<Account>, login: &str) {
        let now = Instant::now();
        let mut state = self.twitch.state();
        let limits = &self.twitch.options.limits;
        let too_many =
            !self.anonymous && !state.records.entry(account.id.clone()).or_default().may_join(limits, now);
        if too_many {
            // Twitch answers nothing to a join that is too much; clients learn it by their time-out.
            self.twitch.counters.add("twitch.irc.join_refused");
            return;
        }
        let counted = counted_joins(&state, &account.id);
        let State { channels, clients, .. } = &mut *state;
        let (Some(channel), Some(client)) =
            (channels.get_mut(login), clients.get_mut(&self.connection.number))
        else {
            self.refuse_join(login, &Notice::ChannelSuspended);
            return;
        };
        if channel.suspended {
            self.refuse_join(login, &Notice::ChannelSuspended);
            return;
        }
        if let Some(ban) = channel.banned(&account.id, now) {
            self.refuse_join(login, &ban.into());
            return;
        }
        let standing = channel.standing(&account.id);
        let free = matches!(standing, Standing::Moderator | Standing::Broadcaster);
        if !self.anonymous && !free && counted >= limits.channels {
            self.twitch.counters.add("twitch.irc.join_refused");
            return;
        }
        if !client.joined.insert(login.to_owned()) {
            return;
        }
        let join = Shared::untagged(&format!(":{} JOIN #{login}", mask(account)), caps::MEMBERSHIP);
        for member in channel.members.iter().filter(|member| member.account.id != account.id) {
            member.connection.send(&join);
        }
        channel.members.push(Member { connection: self.connection.clone(), account: account.clone() });
        self.hear_of(account, channel, standing);
        self.twitch.counters.add("twitch.irc.joined");
    }

    /// Own JOIN, names, own state and the state of the room, in this order.
    fn hear_of(&self, account: &Account, channel: &Channel, standing: Standing) {
        let (login, nick) = (&channel.login, &account.login);
        let say = |line: String| self.connection.send(&Shared::untagged(&line, 0));
        say(format!(":{} JOIN #{login}", mask(account)));
        let names: Vec<&str> = if self.connection.has(caps::MEMBERSHIP) {
            channel.members.iter().map(|member| member.account.login.as_str()).collect()
        } else {
            vec![nick]
        };
        for names in names.chunks(NAMES_PER_LINE) {
            say(format!(":{nick}.tmi.twitch.tv 353 {nick} = #{login} :{}", names.join(" ")));
        }
        say(format!(":{nick}.tmi.twitch.tv 366 {nick} #{login} :End of /NAMES list"));
        if !self.anonymous {
            self.connection.send(&user_state(account, standing, login, "", None));
        }
        self.connection.send(&room_state(channel));
    }

    fn refuse_join(&self, login: &str, why: &Notice) {
        self.twitch.counters.add("twitch.irc.join_refused");
        self.connection.send(&why.line(login));
    }

    /// PART of one channel or a comma-separated list; one that was not joined is passed by.
    pub(super) fn part(&self, account: &Account, list: &str) {
        for login in channel_names(list) {
            self.twitch.counters.add("twitch.irc.part");
            let mut state = self.twitch.state();
            let State { clients, .. } = &mut *state;
            let Some(client) = clients.get_mut(&self.connection.number) else {
                return;
            };
            if !client.joined.remove(&login) {
                continue;
            }
            let client = Client {
                connection: client.connection.clone(),
                account: client.account.clone(),
                anonymous: client.anonymous,
                joined: Default::default(),
            };
            remove(&mut state, &login, &client);
            self.connection.send(&Shared::untagged(&format!(":{} PART #{login}", mask(account)), 0));
        }
    }
}

/// Takes a connection out of a channel and tells those who asked to know.
pub(crate) fn remove(state: &mut State, login: &str, client: &Client) {
    let Some(channel) = state.channels.get_mut(login) else {
        return;
    };
    channel.members.retain(|member| member.connection.number != client.connection.number);
    if channel.members.iter().any(|member| member.account.id == client.account.id) {
        return;
    }
    let part = Shared::untagged(&format!(":{} PART #{login}", mask(&client.account)), caps::MEMBERSHIP);
    for member in &channel.members {
        member.connection.send(&part);
    }
}

/// How an account looks in a channel, to itself; `id` and `nonce` when it answers its message.
pub(crate) fn user_state(
    account: &Account,
    standing: Standing,
    channel: &str,
    nonce: &str,
    id: Option<&str>,
) -> Shared {
    let badges = account.badges(standing, false);
    let mut tags =
        Tags::new().text("badge-info", &badge_info_tag(&badges)).text("badges", &badge_tag(&badges));
    if !nonce.is_empty() {
        tags = tags.text("client-nonce", nonce);
    }
    tags = tags.plain("color", account.color).text("display-name", &account.name).plain("emote-sets", "0");
    if let Some(id) = id {
        tags = tags.plain("id", id);
    }
    tags = tags
        .flag("mod", standing.is_moderator())
        .flag("subscriber", account.months > 0)
        .plain("user-type", user_type(standing));
    Shared::new(&tags, &format!(":tmi.twitch.tv USERSTATE #{channel}"), caps::COMMANDS)
}

/// The `user-type` tag.
pub(crate) fn user_type(standing: Standing) -> &'static str {
    if standing.is_moderator() { "mod" } else { "" }
}

fn room_state(channel: &Channel) -> Shared {
    let tags = Tags::new()
        .plain("emote-only", 0)
        .plain("followers-only", -1)
        .plain("r9k", 0)
        .plain("room-id", &channel.owner.id)
        .plain("slow", 0)
        .plain("subs-only", 0);
    Shared::new(&tags, &format!(":tmi.twitch.tv ROOMSTATE #{}", channel.login), caps::COMMANDS)
}

/// Channels that count against the limit of concurrent joins, over all connections of an account.
fn counted_joins(state: &State, account_id: &str) -> usize {
    let clients = state.clients.values().filter(|client| client.account.id == account_id);
    let joined: std::collections::BTreeSet<&str> =
        clients.flat_map(|client| client.joined.iter().map(String::as_str)).collect();
    let counts = |login: &&&str| {
        state
            .channels
            .get(**login)
            .is_some_and(|channel| matches!(channel.standing(account_id), Standing::Viewer | Standing::Vip))
    };
    joined.iter().filter(counts).count()
}

/// `nick!nick@nick.tmi.twitch.tv`.
pub(crate) fn mask(account: &Account) -> String {
    let login = &account.login;
    format!("{login}!{login}@{login}.tmi.twitch.tv")
}

fn channel_names(list: &str) -> impl Iterator<Item = String> {
    list.split(',')
        .map(|name| name.trim().trim_start_matches('#').to_ascii_lowercase())
        .filter(|name| !name.is_empty())
}
