//! Everything the local Discord remembers: users, guilds, channels, messages, commands and
//! interactions. Plain data behind one lock; it neither speaks to anyone nor decides who may do what.

pub mod channel;
pub mod commands;
pub mod guild;
pub mod interactions;
pub mod mentions;
pub mod message;
mod seed;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::seed::{ANNOUNCEMENTS, APPLICATION, BOTS, DEMO_GUILD, GENERAL, STAFF, user_id};
use self::{
    channel::{Channel, TEXT},
    commands::Commands,
    guild::Guild,
    interactions::Interactions,
    message::Message,
};
use super::{
    error::ApiError,
    permissions::{ADMINISTRATOR, ALL, VIEW_CHANNEL},
    snowflake::{Id, Snowflakes},
};
use crate::people::Person;

/// How many messages are kept over all channels.
const MESSAGES_KEPT: usize = 50_000;
/// How many nonces are remembered.
const NONCES_KEPT: usize = 2048;
/// How long a nonce is remembered; Discord says "a few minutes".
const NONCE_LIFE: Duration = Duration::from_secs(5 * 60);

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    /// Snowflake.
    pub id: Id,
    /// The unique name.
    pub username: String,
    /// The name that is shown.
    pub global_name: Option<String>,
    /// Who plays it; nobody plays the bot.
    pub person: Option<Person>,
}

/// All of it.
pub struct World {
    /// Makes every new id.
    pub ids: Snowflakes,
    /// Every account by id.
    pub users: HashMap<Id, User>,
    /// Every guild by id.
    pub guilds: HashMap<Id, Guild>,
    /// The guilds in the order in which they were made.
    pub guild_order: Vec<Id>,
    /// Every channel by id, direct messages included.
    pub channels: HashMap<Id, Channel>,
    /// What the application registered.
    pub commands: Commands,
    /// What people asked of the application.
    pub interactions: Interactions,
    kept: VecDeque<(Id, Id)>,
    nonces: VecDeque<(Instant, Id, String, Arc<Message>)>,
}

impl World {
    /// The demo guild, its people, and `extra_guilds` quiet guilds.
    pub fn new(extra_guilds: usize) -> Self {
        let mut world = Self {
            ids: Snowflakes::default(),
            users: HashMap::new(),
            guilds: HashMap::new(),
            guild_order: Vec::new(),
            channels: HashMap::new(),
            commands: Commands::default(),
            interactions: Interactions::default(),
            kept: VecDeque::new(),
            nonces: VecDeque::new(),
        };
        seed::fill(&mut world, extra_guilds);
        world
    }

    /// A channel.
    ///
    /// # Errors
    /// Error 10003 when there is none.
    pub fn channel(&self, id: Id) -> Result<&Channel, ApiError> {
        self.channels.get(&id).ok_or(ApiError::UNKNOWN_CHANNEL)
    }

    /// A guild that the bot is in.
    ///
    /// # Errors
    /// Error 10004 when there is none.
    pub fn guild(&self, id: Id) -> Result<&Guild, ApiError> {
        self.guilds.get(&id).ok_or(ApiError::UNKNOWN_GUILD)
    }

    /// A guild, to change it.
    ///
    /// # Errors
    /// Error 10004 when there is none.
    pub fn guild_mut(&mut self, id: Id) -> Result<&mut Guild, ApiError> {
        self.guilds.get_mut(&id).ok_or(ApiError::UNKNOWN_GUILD)
    }

    /// What a user may do in a channel.
    pub fn permissions_in(&self, user: Id, channel: &Channel) -> u64 {
        let Some(guild) = channel.guild.and_then(|guild| self.guilds.get(&guild)) else {
            return if channel.recipient == Some(user) || user == APPLICATION { ALL } else { 0 };
        };
        let base = guild.permissions_of(user);
        if base & ADMINISTRATOR != 0 {
            return ALL;
        }
        let Some(member) = guild.members.get(&user) else { return 0 };
        channel.apply_overwrites(base, guild.id, user, &member.roles)
    }

    /// Whether the bot hears of what happens in a channel.
    pub fn bot_sees(&self, channel: Id) -> bool {
        let channel = self.channels.get(&channel);
        channel.is_some_and(|channel| self.permissions_in(APPLICATION, channel) & VIEW_CHANNEL != 0)
    }

    /// A channel that the bot may use with all of `needed`.
    ///
    /// # Errors
    /// Error 10003 for an unknown channel, 50001 when it is hidden, 50013 when a permission is missing.
    pub fn channel_for_bot(&self, id: Id, needed: u64) -> Result<&Channel, ApiError> {
        let channel = self.channel(id)?;
        let may = self.permissions_in(APPLICATION, channel);
        if may & VIEW_CHANNEL == 0 {
            return Err(ApiError::MISSING_ACCESS);
        }
        if may & needed != needed {
            return Err(ApiError::MISSING_PERMISSIONS);
        }
        Ok(channel)
    }

    /// The direct messages between a user and the bot; opened when there are none yet.
    pub fn direct_messages(&mut self, user: Id) -> Id {
        let open = self.channels.values().find(|channel| channel.recipient == Some(user));
        if let Some(channel) = open {
            return channel.id;
        }
        let id = self.ids.next();
        self.channels.insert(id, Channel::direct(id, user));
        id
    }

    /// A message as it is now.
    pub fn message(&self, channel: Id, message: Id) -> Option<&Arc<Message>> {
        self.channels.get(&channel)?.message(message)
    }

    /// Keeps a new message, and forgets the oldest ones beyond the bounds.
    pub fn keep(&mut self, message: Arc<Message>) {
        let Some(channel) = self.channels.get_mut(&message.channel) else { return };
        self.kept.push_back((message.channel, message.id));
        channel.keep(message);
        while self.kept.len() > MESSAGES_KEPT {
            let Some((channel, message)) = self.kept.pop_front() else { break };
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.forget(message);
            }
        }
    }

    /// The message that this author sent with this nonce in the last minutes.
    pub fn by_nonce(&mut self, channel: Id, nonce: &str) -> Option<Arc<Message>> {
        while self.nonces.front().is_some_and(|(at, ..)| at.elapsed() > NONCE_LIFE) {
            self.nonces.pop_front();
        }
        let same =
            |(_, at, known, _): &&(Instant, Id, String, Arc<Message>)| *at == channel && known == nonce;
        let (.., sent) = self.nonces.iter().rev().find(same)?;
        Some(self.message(channel, sent.id).unwrap_or(sent).clone())
    }

    /// Remembers which message carried a nonce.
    pub fn remember_nonce(&mut self, nonce: String, message: Arc<Message>) {
        if self.nonces.len() >= NONCES_KEPT {
            self.nonces.pop_front();
        }
        self.nonces.push_back((Instant::now(), message.channel, nonce, message));
    }

    /// The text channels of the guilds, in order.
    pub fn text_channels(&self) -> impl Iterator<Item = (&Guild, &Channel)> {
        let guilds = self.guild_order.iter().filter_map(|id| self.guilds.get(id));
        guilds.flat_map(|guild| {
            let channels = guild.channels.iter().filter_map(|id| self.channels.get(id));
            channels.filter(|channel| channel.kind == TEXT).map(move |channel| (guild, channel))
        })
    }
}
