//! The channels of the account as they stand, and the connections they are read on. Everybody asks
//! here; the slots (see `slot`) write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use protocol::ChannelId;
use service::{Component, Gauge};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use crate::limiter::Standing;

/// Where lines for Twitch are put while a connection lives.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which connection.
    pub connection: u64,
    /// Its queue.
    pub lines: mpsc::Sender<String>,
}

/// What the gateway knows of a channel.
#[derive(Clone, Debug)]
struct Room {
    slot: usize,
    id: Option<ChannelId>,
    state: State,
    standing: Standing,
}

/// Whether a channel is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for, or about to be.
    Waiting,
    /// Twitch told its state.
    Joined,
    /// Twitch does not let the bot in; it is tried again now and then.
    Refused(String),
}

/// All channels and connections.
#[derive(Debug)]
pub struct Rooms {
    rooms: Mutex<HashMap<String, Room>>,
    /// Why a slot has no connection; `None` when it has one.
    troubles: Mutex<Vec<Option<String>>>,
    links: Vec<watch::Sender<Option<Line>>>,
    /// Counts changes of the rooms, for those who wait for one.
    changes: watch::Sender<u64>,
    health: Component,
    gauges: Gauges,
}

/// What is told of them in numbers.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Channels that are joined.
    pub joined: Gauge,
    /// The same, by the name that all platforms have for it.
    pub communities: Gauge,
    /// Connections that are up.
    pub connections: Gauge,
}

impl Rooms {
    /// The channels of each slot, none joined yet.
    #[must_use]
    pub fn new(slots: &[Vec<String>], health: Component, gauges: Gauges) -> Self {
        let rooms = slots.iter().enumerate().flat_map(|(slot, logins)| {
            let room = Room { slot, id: None, state: State::Waiting, standing: Standing::Normal };
            logins.iter().map(move |login| (login.clone(), room.clone()))
        });
        Self {
            rooms: Mutex::new(rooms.collect()),
            troubles: Mutex::new(vec![Some("connecting".to_owned()); slots.len()]),
            links: slots.iter().map(|_| watch::Sender::new(None)).collect(),
            changes: watch::Sender::new(0),
            health,
            gauges,
        }
    }

    /// A channel is joined, changed or refused.
    pub fn set_state(&self, login: &str, state: State) {
        self.change(login, |room| room.state = state);
        self.report();
    }

    /// Twitch told the id of a channel.
    pub fn set_id(&self, login: &str, id: &str) {
        if let Ok(id) = ChannelId::new(id) {
            self.change(login, |room| room.id = Some(id));
        }
    }

    /// Twitch told what the bot is in a channel.
    pub fn set_standing(&self, login: &str, standing: Standing) {
        self.change(login, |room| room.standing = standing);
    }

    /// A slot has a connection, or another one.
    pub fn connected(&self, slot: usize, line: Line) {
        self.put_link(slot, Some(line), None);
    }

    /// A slot has no connection, and why.
    pub fn disconnected(&self, slot: usize, trouble: String) {
        for room in self.lock().values_mut().filter(|room| room.slot == slot) {
            room.state = State::Waiting;
        }
        self.put_link(slot, None, Some(trouble));
    }

    /// The login of the channel with this id, once it was joined.
    #[must_use]
    pub fn login(&self, id: &ChannelId) -> Option<String> {
        self.lock().iter().find(|(_, room)| room.id.as_ref() == Some(id)).map(|(login, _)| login.clone())
    }

    /// The same; while channels are still being joined for the first time, waits for them until then.
    pub async fn find(&self, id: &ChannelId, until: Instant) -> Option<String> {
        let mut changes = self.changes.subscribe();
        loop {
            let found = self.login(id);
            let may_come = self.lock().values().any(|room| room.id.is_none() && room.state == State::Waiting);
            if found.is_some() || !may_come {
                return found;
            }
            match timeout_at(until, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return None,
            }
        }
    }

    /// What the bot is in a channel.
    #[must_use]
    pub fn standing(&self, login: &str) -> Standing {
        self.lock().get(login).map(|room| room.standing).unwrap_or_default()
    }

    /// The connection that a channel is read on, and its changes.
    #[must_use]
    pub fn link(&self, login: &str) -> Option<watch::Receiver<Option<Line>>> {
        let slot = self.lock().get(login)?.slot;
        self.links.get(slot).map(watch::Sender::subscribe)
    }

    /// Tells health and metrics.
    pub fn report(&self) {
        let (mut joined, mut waiting) = (0_u32, 0_u32);
        for room in self.lock().values() {
            joined += u32::from(room.state == State::Joined);
            waiting += u32::from(room.state == State::Waiting);
        }
        self.gauges.joined.set(f64::from(joined));
        self.gauges.communities.set(f64::from(joined));
        let connections = self.links.iter().filter(|link| link.borrow().is_some()).count();
        self.gauges.connections.set(f64::from(u32::try_from(connections).unwrap_or(u32::MAX)));
        let trouble =
            self.troubles.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().next().cloned();
        match (trouble, waiting) {
            (Some(trouble), _) => self.health.down(trouble),
            (None, 0) => self.health.up(),
            // Without a number: health logs every new reason.
            (None, _) => self.health.down("joining channels"),
        }
    }

    fn put_link(&self, slot: usize, link: Option<Line>, trouble: Option<String>) {
        if let Some(place) = self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get_mut(slot) {
            *place = trouble;
        }
        if let Some(place) = self.links.get(slot) {
            place.send_replace(link);
        }
        self.report();
    }

    fn change(&self, login: &str, change: impl FnOnce(&mut Room)) {
        if let Some(room) = self.lock().get_mut(login) {
            change(room);
        }
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
