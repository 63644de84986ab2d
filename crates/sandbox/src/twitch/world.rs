//! What there is on the local Twitch: channels, who sits in them, what was said lately. Changed under
//! one lock that is never held across an await; nothing here writes to a socket by itself.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use time::OffsetDateTime;

use super::{
    Options,
    irc::{connection::Connection, line::Shared},
    limits::Record,
    people::{self, Account, Standing},
};
use crate::{feed, people::Person};

/// Lines of history kept per channel.
const HISTORY_LINES: usize = 200;

/// Messages per channel that can still be replied to, or deleted.
const REPLIABLE: usize = 4096;

/// Everything that changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) channels: HashMap<String, Channel>,
    /// Channel login by broadcaster id.
    pub(crate) logins: HashMap<String, String>,
    /// Every connection by its number, logged in or not.
    pub(crate) open: HashMap<u64, Arc<Connection>>,
    /// Logged-in connections by their number.
    pub(crate) clients: HashMap<u64, Client>,
    /// People, bots and broadcasters by login.
    pub(crate) accounts: HashMap<String, Arc<Account>>,
    /// What bots did lately, by account id.
    pub(crate) records: HashMap<String, Record>,
}

/// A logged-in IRC connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) account: Arc<Account>,
    pub(crate) anonymous: bool,
    pub(crate) joined: BTreeSet<String>,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) login: String,
    pub(crate) owner: Arc<Account>,
    pub(crate) members: Vec<Member>,
    standings: HashMap<String, Standing>,
    /// Banned account ids, with the end of a timeout.
    bans: HashMap<String, Option<Instant>>,
    pub(crate) suspended: bool,
    pub(crate) live: Option<Live>,
    history: VecDeque<feed::Line>,
    messages: HashMap<String, Message>,
    order: VecDeque<String>,
}

/// A connection that joined a channel.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) connection: Arc<Connection>,
    pub(crate) account: Arc<Account>,
}

/// A stream that is on.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) since: OffsetDateTime,
}

/// A message that was said, as far as a reply needs it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) author: Arc<Account>,
    pub(crate) text: Arc<str>,
    pub(crate) at: Instant,
    /// First message of the thread, when this one is itself a reply.
    pub(crate) thread: Option<(String, Arc<Account>)>,
}

/// Whether an account may talk in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ban {
    Permanent,
    /// Seconds left.
    TimedOut(u64),
}

impl State {
    pub(crate) fn new(options: &Options) -> Self {
        let mut state = Self::default();
        for person in [Person::Max, Person::Ines, Person::Noor] {
            state.add_account(people::person(person));
        }
        let bots = std::iter::once(&options.bot).chain(&options.more_bots);
        for (n, bot) in bots.enumerate() {
            state.add_account(people::bot(&bot.login, (800_100_200 + n).to_string()));
        }
        for (n, login) in options.channels.iter().enumerate() {
            state.add_channel(login, (700_100_100 + n * 100).to_string());
        }
        for n in 0..options.extra_channels {
            state.add_channel(&format!("channel_{n:04}"), (710_000_000 + n).to_string());
        }
        for (channel, login) in &options.moderators {
            if let Some(account) = state.accounts.get(login).cloned()
                && let Some(channel) = state.channels.get_mut(channel)
            {
                channel.set_standing(&account.id, Standing::Moderator);
            }
        }
        state
    }

    /// The account of a person as it is seen in a channel.
    pub(crate) fn person(&self, person: Person, channel: &Channel) -> Arc<Account> {
        match person {
            Person::Olive => channel.owner.clone(),
            other => self
                .accounts
                .get(&other.name().to_ascii_lowercase())
                .cloned()
                .unwrap_or_else(|| Arc::new(people::person(other))),
        }
    }

    /// An account that is known by its id.
    pub(crate) fn account_by_id(&self, id: &str) -> Option<Arc<Account>> {
        self.accounts.values().find(|account| account.id == id).cloned()
    }

    pub(crate) fn channel_by_id(&self, id: &str) -> Option<&Channel> {
        self.channels.get(self.logins.get(id)?)
    }

    /// Sends a line to everybody who joined a channel, and says to how many.
    pub(crate) fn send_to_channel(&self, channel: &str, line: &Shared, except: Option<u64>) -> u64 {
        let members =
            self.channels.get(channel).map(|channel| channel.members.as_slice()).unwrap_or_default();
        let mut sent = 0;
        for member in members {
            if Some(member.connection.number) != except && member.connection.send(line) {
                sent += 1;
            }
        }
        sent
    }

    fn add_account(&mut self, account: Account) -> Arc<Account> {
        let account = Arc::new(account);
        self.accounts.insert(account.login.clone(), account.clone());
        account
    }

    fn add_channel(&mut self, login: &str, id: String) {
        let owner = self.add_account(people::broadcaster(login, id.clone()));
        self.logins.insert(id, login.to_owned());
        let mut channel = Channel {
            login: login.to_owned(),
            owner,
            members: Vec::new(),
            standings: HashMap::new(),
            bans: HashMap::new(),
            suspended: false,
            live: None,
            history: VecDeque::new(),
            messages: HashMap::new(),
            order: VecDeque::new(),
        };
        if let Some(max) = self.accounts.get("max") {
            channel.set_standing(&max.id, Standing::Moderator);
        }
        self.channels.insert(login.to_owned(), channel);
    }
}

impl Channel {
    pub(crate) fn standing(&self, account_id: &str) -> Standing {
        if account_id == self.owner.id {
            return Standing::Broadcaster;
        }
        self.standings.get(account_id).copied().unwrap_or(Standing::Viewer)
    }

    pub(crate) fn set_standing(&mut self, account_id: &str, standing: Standing) {
        match standing {
            Standing::Viewer | Standing::Broadcaster => self.standings.remove(account_id),
            other => self.standings.insert(account_id.to_owned(), other),
        };
    }

    pub(crate) fn ban(&mut self, account_id: &str, until: Option<Instant>) {
        self.bans.insert(account_id.to_owned(), until);
    }

    pub(crate) fn unban(&mut self, account_id: &str) {
        self.bans.remove(account_id);
    }

    pub(crate) fn banned(&self, account_id: &str, now: Instant) -> Option<Ban> {
        match self.bans.get(account_id)? {
            None => Some(Ban::Permanent),
            Some(until) if *until > now => {
                Some(Ban::TimedOut(until.duration_since(now).as_secs_f64().ceil() as u64))
            }
            Some(_) => None,
        }
    }

    /// Remembers a message so that it can be replied to, and shows it in the history.
    pub(crate) fn remember(&mut self, message: Message, line: feed::Line) {
        self.order.push_back(message.id.clone());
        self.messages.insert(message.id.clone(), message);
        if self.order.len() > REPLIABLE
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        if self.history.len() == HISTORY_LINES {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.get(id)
    }

    /// Takes a message away, and says whose it was.
    pub(crate) fn forget(&mut self, id: &str) -> Option<Message> {
        self.history.retain(|line| line.id != id);
        self.messages.remove(id)
    }

    /// Takes every message of an account away (or of all), and names them.
    pub(crate) fn forget_all(&mut self, account_id: Option<&str>) -> Vec<String> {
        let gone = |line: &feed::Line| account_id.is_none_or(|id| line.author.id == id);
        let ids = self.history.iter().filter(|line| gone(line)).map(|line| line.id.clone()).collect();
        self.history.retain(|line| !gone(line));
        self.messages.retain(|_, message| account_id.is_some_and(|id| message.author.id != id));
        ids
    }

    pub(crate) fn history(&self) -> Vec<feed::Line> {
        self.history.iter().cloned().collect()
    }
}
