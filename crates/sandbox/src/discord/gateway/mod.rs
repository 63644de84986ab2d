//! The gateway: which sessions and connections there are, and how an event reaches them.

pub mod compress;
pub mod connection;
pub mod intents;
mod opcodes;
mod payloads;
pub mod session;
mod starts;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;

pub use self::starts::{Start, Starts};
use self::{intents::MESSAGE_CONTENT, session::Session};
use super::{Inner, snowflake::Id};
use crate::feed::{Item, Platform};

/// Gateway connections at the same time.
const MAX_CONNECTIONS: usize = 1024;
/// Sessions that are kept, connected or not.
const MAX_SESSIONS: usize = 2048;
/// Orders that may wait for one connection.
const MAX_ORDERS: usize = 64;

/// What one connection, or all of them, are told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Cut it without a word.
    Drop,
    /// Close it with this code.
    Close(u16),
    /// Op 7.
    Reconnect,
    /// Op 9; whether the session can be resumed.
    Invalidate(bool),
    /// Op 1: ask for a heartbeat at once.
    Heartbeat,
    /// Send this text as it is, whatever it is.
    Raw(Arc<str>),
}

/// An event, written down once for all sessions.
#[derive(Clone, Debug)]
pub struct Event {
    /// `t`.
    pub name: Cow<'static, str>,
    /// Which shard hears of it; none is shard 0, as for direct messages.
    pub guild: Option<Id>,
    /// Sessions need one of these intents; 0 is for all.
    pub intents: u64,
    /// `d`.
    pub data: Arc<str>,
    /// `d` for sessions without the message content intent, where that differs.
    pub stripped: Option<Arc<str>>,
}

impl Event {
    /// An event whose data is the same for everybody.
    pub fn new(name: &'static str, guild: Option<Id>, intents: u64, data: &impl Serialize) -> Self {
        // What is sent here is made of strings, numbers and maps with string keys, which always serialise.
        let data = serde_json::to_string(data).unwrap_or_default().into();
        Self { name: Cow::Borrowed(name), guild, intents, data, stripped: None }
    }
}

/// All sessions and connections.
#[derive(Default)]
pub struct Hub {
    sessions: Mutex<Vec<Arc<Session>>>,
    connections: Mutex<HashMap<u64, mpsc::Sender<Order>>>,
    last_connection: AtomicU64,
    starts: Mutex<Starts>,
}

impl Hub {
    /// Registers a connection; none when there are too many.
    fn connect(&self) -> Option<(u64, mpsc::Receiver<Order>)> {
        let mut connections = lock(&self.connections);
        if connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        let id = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        let (order, orders) = mpsc::channel(MAX_ORDERS);
        connections.insert(id, order);
        Some((id, orders))
    }

    fn disconnect(&self, id: u64) {
        lock(&self.connections).remove(&id);
    }

    /// Tells every connection; returns how many took the order.
    pub fn order(&self, order: &Order) -> u64 {
        let connections = lock(&self.connections);
        connections.values().filter(|to| to.try_send(order.clone()).is_ok()).count() as u64
    }

    fn session(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.sessions).iter().find(|session| session.id == id).cloned()
    }

    /// Adds a session, and forgets those to which nobody can come back.
    fn add(&self, session: Arc<Session>, grace: Duration) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| !session.over(grace));
        if sessions.len() >= MAX_SESSIONS
            && let Some(place) = sessions.iter().position(|session| !session.connected())
        {
            sessions.remove(place);
        }
        sessions.push(session);
    }

    /// Whether any client is connected to a session.
    fn online(&self) -> bool {
        lock(&self.sessions).iter().any(|session| session.connected())
    }

    /// How many sessions hear of messages in a guild, or in direct messages.
    pub fn hearing(&self, guild: Option<Id>, grace: Duration) -> usize {
        let wanted = intents::messages(guild.is_some());
        let hears = |session: &&Arc<Session>| {
            session.intents & wanted != 0 && session.serves(guild) && !session.over(grace)
        };
        lock(&self.sessions).iter().filter(hears).count()
    }

    /// Ends the sessions that wait for their clients.
    pub fn end_waiting(&self) {
        lock(&self.sessions).retain(|session| session.connected());
    }

    /// What is left of the day's identifies, and milliseconds until there are more.
    pub fn starts_left(&self, total: u32) -> (u32, u64) {
        lock(&self.starts).left(total)
    }

    fn start(&self, options: &super::Options, shard: u32) -> Start {
        lock(&self.starts).take(options, shard)
    }
}

impl Inner {
    /// Gives an event to every session that is to hear of it.
    pub fn dispatch(&self, event: &Event) {
        let mut heard = 0;
        for session in lock(&self.hub.sessions).iter() {
            let wanted = event.intents == 0 || session.intents & event.intents != 0;
            if !wanted || !session.serves(event.guild) {
                continue;
            }
            let data = match &event.stripped {
                Some(stripped) if session.intents & MESSAGE_CONTENT == 0 => stripped,
                _ => &event.data,
            };
            session.push(event.name.clone(), data.clone());
            heard += 1;
        }
        self.counters.add_many(&format!("discord.gateway.dispatch.{}", event.name), heard);
    }

    /// Shows whether the bot is there, when that has changed.
    fn show_presence(&self, before: bool) {
        let online = self.hub.online();
        if online != before {
            self.feed.show(Item::Bot { platform: Platform::Discord, name: "Vigie".to_owned(), online });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
