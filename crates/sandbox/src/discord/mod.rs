//! The local Discord: its handle, and what its parts share. The wire is in `gateway` and `rest`, what
//! is remembered in `world`, how it looks in `payload`, what is allowed in `validate` and `limits`.
//!
//! What it does not have is answered as unknown: threads, forums, voice, stickers, polls, emojis of a
//! guild, forwarded messages, webhooks of channels, changes to channels, roles and guilds, interactions
//! over HTTP, and the `etf` encoding.

mod error;
mod faults;
mod gateway;
mod limits;
mod options;
mod payload;
mod people;
mod permissions;
mod posting;
mod rest;
mod snowflake;
mod validate;
mod world;

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, routing::get};
use serde::Serialize;
use serde_json::Value;

pub use self::{
    faults::{Faults, Knobs, RestFault},
    options::{ALL_PRIVILEGED, Options},
};
use self::{
    gateway::{Event, Hub, Order},
    limits::Limits,
    world::World,
};
use crate::{counters::Counters, feed};

/// Lines of a channel that [`Discord::history`] gives.
const HISTORY: usize = 200;

/// The ids that are the same at every start.
pub mod ids {
    use super::world;

    /// The application, and its bot user.
    pub const APPLICATION: u64 = world::APPLICATION.0;
    /// The guild "Vigie Harbour".
    pub const GUILD: u64 = world::DEMO_GUILD.0;
    /// `#general`.
    pub const GENERAL: u64 = world::GENERAL.0;
    /// `#bots`.
    pub const BOTS: u64 = world::BOTS.0;
    /// `#announcements`, where the bot may read but not write.
    pub const ANNOUNCEMENTS: u64 = world::ANNOUNCEMENTS.0;
    /// `#staff`, which the bot cannot see.
    pub const STAFF: u64 = world::STAFF.0;

    /// The account that a person plays.
    #[must_use]
    pub const fn of_person(person: crate::people::Person) -> u64 {
        world::user_id(person).0
    }
}

/// A channel as the chat page lists it.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelInfo {
    /// Snowflake.
    pub id: String,
    /// Without the `#`.
    pub name: String,
    /// Snowflake of its guild.
    pub guild_id: String,
    /// Name of its guild.
    pub guild_name: String,
}

/// A person asked for something that cannot be done; the sentence is for them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// A local Discord; cheap to clone.
#[derive(Clone)]
pub struct Discord(Arc<Inner>);

struct Inner {
    myself: Weak<Inner>,
    counters: Counters,
    feed: feed::Feed,
    options: Options,
    faults: Faults,
    limits: Limits,
    hub: Hub,
    world: Mutex<World>,
    base_url: RwLock<String>,
    token_reset: AtomicBool,
}

impl Discord {
    /// A new one with its demo guild.
    #[must_use]
    pub fn new(counters: Counters, feed: feed::Feed, options: Options) -> Self {
        let world = Mutex::new(World::new(options.extra_guilds));
        Self(Arc::new_cyclic(|myself| Inner {
            myself: myself.clone(),
            counters,
            feed,
            options,
            faults: Faults::default(),
            limits: Limits::default(),
            hub: Hub::default(),
            world,
            base_url: RwLock::new("http://127.0.0.1".to_owned()),
            token_reset: AtomicBool::new(false),
        }))
    }

    /// Says where it listens, such as `http://127.0.0.1:4000`, once that is known.
    pub fn set_base_url(&self, http: &str) {
        let mut base_url = self.0.base_url.write().unwrap_or_else(PoisonError::into_inner);
        *base_url = http.trim_end_matches('/').to_owned();
    }

    /// REST under `/api`, the gateway at `/gateway`.
    pub fn router(&self) -> Router {
        let gateway = Router::new()
            .route("/gateway", get(gateway::connection::upgrade))
            .route("/gateway/", get(gateway::connection::upgrade))
            .with_state(self.0.clone());
        rest::router(self.0.clone()).merge(gateway)
    }

    /// The text channels of all guilds; those of the demo guild first.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let world = self.0.world();
        let info = |(guild, channel): (&world::guild::Guild, &world::channel::Channel)| ChannelInfo {
            id: channel.id.to_string(),
            name: channel.name.clone(),
            guild_id: guild.id.to_string(),
            guild_name: guild.name.clone(),
        };
        world.text_channels().map(info).collect()
    }

    /// The commands that can be used in a channel, in Discord's shape.
    #[must_use]
    pub fn commands(&self, channel_id: &str) -> Vec<Value> {
        let world = self.0.world();
        let Some(channel) = channel_id.parse().ok().and_then(|id| world.channels.get(&id)) else {
            return Vec::new();
        };
        let visible = world.commands.visible(channel.guild);
        visible.map(|command| Value::Object(command.body.clone())).collect()
    }

    /// The last 200 lines of a channel, oldest first.
    #[must_use]
    pub fn history(&self, channel_id: &str) -> Vec<feed::Line> {
        let world = self.0.world();
        let Some(channel) = channel_id.parse().ok().and_then(|id| world.channels.get(&id)) else {
            return Vec::new();
        };
        let shown: Vec<_> = channel.messages.iter().rev().filter(|m| !m.loading()).take(HISTORY).collect();
        shown.into_iter().rev().map(|message| world.line(message)).collect()
    }

    /// How many sessions are given what is said in a channel, be it when they are resumed.
    #[must_use]
    pub fn hearing(&self, channel_id: &str) -> usize {
        let channel = channel_id.parse().ok();
        let guild = channel.and_then(|id| self.0.world().channels.get(&id).and_then(|channel| channel.guild));
        self.0.hub.hearing(guild, self.0.options.session_grace)
    }

    /// The knobs that make it misbehave.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Cuts every gateway connection without a word.
    pub fn drop_connections(&self) {
        self.0.hub.order(&Order::Drop);
    }

    /// Closes every gateway connection with a code.
    pub fn close_all(&self, code: u16) {
        self.0.hub.order(&Order::Close(code));
    }

    /// Asks every client to reconnect and resume (op 7).
    pub fn reconnect_all(&self) {
        self.0.hub.order(&Order::Reconnect);
    }

    /// Tells every client that its session is invalid (op 9).
    pub fn invalidate_sessions(&self, resumable: bool) {
        self.0.hub.order(&Order::Invalidate(resumable));
    }

    /// Asks every client for a heartbeat at once (op 1).
    pub fn request_heartbeats(&self) {
        self.0.hub.order(&Order::Heartbeat);
    }

    /// Sends every connection a payload as it is, to try what clients make of malformed or unknown ones.
    pub fn send_raw(&self, payload: &str) {
        self.0.hub.order(&Order::Raw(payload.into()));
    }

    /// Dispatches an event of any name to the shard of its `guild_id`, in sequence and with replay.
    pub fn dispatch_raw(&self, name: &str, data: &Value) {
        // Names go into the frame as they are.
        let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '_'), "_");
        let guild = validate::read_id(&data["guild_id"]);
        let data = data.to_string().into();
        let event = Event { name: Cow::Owned(name), guild, intents: 0, data, stripped: None };
        self.0.dispatch(&event);
    }

    /// Makes the token good again after the day's identifies were used up.
    pub fn renew_token(&self) {
        self.0.token_reset.store(false, Ordering::Relaxed);
    }
}

impl Inner {
    /// The world, for as long as nothing is awaited.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where clients connect to the gateway.
    fn gateway_url(&self) -> String {
        let base = self.base_url.read().unwrap_or_else(PoisonError::into_inner);
        format!("{}/gateway", base.replacen("http", "ws", 1))
    }

    fn token_is_good(&self, token: &str) -> bool {
        let token = token.strip_prefix("Bot ").unwrap_or(token);
        let known =
            token == self.options.token || self.options.more_tokens.iter().any(|known| known == token);
        known && !self.token_reset.load(Ordering::Relaxed)
    }

    /// The day's identifies are used up: everything ends, and the token is no longer good.
    fn reset_token(&self) {
        self.token_reset.store(true, Ordering::Relaxed);
        self.counters.add("discord.gateway.token_reset");
        // Closing with this code ends the sessions that have a connection.
        self.hub.order(&Order::Close(4004));
        self.hub.end_waiting();
    }
}
