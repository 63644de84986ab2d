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
    /// `None` as long as Twitch has not told it.
    standing: Option<Standing>,
    role: Role,
    /// Whether it is to be joined; that may outlast its role.
    keep: bool,
}

/// What this gateway does with a channel. Every one is read by two gateways, where there are two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Reads it and tells all that is said.
    First,
    /// Reads it, and tells chatter that none of those before it told; so many they are.
    Behind(u32),
    /// Speaks there, for which it joins it; others read it.
    Speaker,
    /// Has nothing to do with it.
    #[default]
    None,
}

#[derive(Debug)]
struct All {
    rooms: HashMap<String, Room>,
    logins: HashMap<ChannelId, String>,
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
    /// Other gateways have it.
    Elsewhere,
}

/// All channels and connections.
#[derive(Debug)]
pub struct Rooms {
    all: Mutex<All>,
    /// Why a slot has no connection; `None` when it has one.
    troubles: Mutex<Vec<Option<String>>>,
    links: Vec<watch::Sender<Option<Line>>>,
    /// Counts changes of the rooms, for those who wait for one.
    changes: watch::Sender<u64>,
    /// Counts how often it was said which are to be joined; 0 means not yet.
    assigned: watch::Sender<u64>,
    health: Component,
    gauges: Gauges,
}

/// What is told of them in numbers.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Channels that are joined.
    pub joined: Gauge,
    /// Channels that Twitch does not let the bot join.
    pub refused: Gauge,
    /// The same, by the name that all platforms have for it.
    pub communities: Gauge,
    /// Connections that are up.
    pub connections: Gauge,
}

impl Rooms {
    /// The channels of each slot, none joined yet.
    #[must_use]
    pub fn new(slots: &[Vec<String>], health: Component, gauges: Gauges) -> Self {
        let room = |slot| Room {
            slot,
            id: None,
            state: State::Elsewhere,
            standing: None,
            role: Role::None,
            keep: false,
        };
        let rooms = slots.iter().enumerate();
        let rooms =
            rooms.flat_map(|(slot, logins)| logins.iter().map(move |login| (login.clone(), room(slot))));
        Self {
            all: Mutex::new(All { rooms: rooms.collect(), logins: HashMap::new() }),
            troubles: Mutex::new(vec![Some("connecting".to_owned()); slots.len()]),
            links: slots.iter().map(|_| watch::Sender::new(None)).collect(),
            changes: watch::Sender::new(0),
            assigned: watch::Sender::new(0),
            health,
            gauges,
        }
    }

    /// A channel is joined, changed or refused.
    pub fn set_state(&self, login: &str, state: State) {
        self.change(login, |room| {
            if room.keep {
                room.state = state;
            }
        });
        self.report();
    }

    /// Twitch told the id of a channel, to this gateway or another.
    pub fn set_id(&self, login: &str, id: &str) {
        let Ok(id) = ChannelId::new(id) else { return };
        let known = {
            let mut all = self.lock();
            if !all.rooms.contains_key(login) {
                return;
            }
            all.logins.insert(id.clone(), login.to_owned()).is_some_and(|before| before == login)
        };
        if !known {
            self.change(login, |room| room.id = Some(id));
        }
    }

    /// Twitch told what the bot is in a channel.
    pub fn set_standing(&self, login: &str, standing: Standing) {
        self.change(login, |room| room.standing = Some(standing));
    }

    /// Every channel: its login, its id as far as it is known, and whether it is to be joined.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Option<ChannelId>, bool)> {
        let all = self.lock();
        all.rooms.iter().map(|(login, room)| (login.clone(), room.id.clone(), room.keep)).collect()
    }

    /// What is done with channels, and which are to be joined, even if nothing is to be done with them.
    pub fn assign(&self, assigned: impl IntoIterator<Item = (String, Role, bool)>) {
        let mut changed = *self.assigned.borrow() == 0;
        {
            let mut all = self.lock();
            for (login, role, keep) in assigned {
                let Some(room) = all.rooms.get_mut(&login) else { continue };
                room.role = role;
                if std::mem::replace(&mut room.keep, keep) == keep {
                    continue;
                }
                changed = true;
                room.state = if keep { State::Waiting } else { State::Elsewhere };
                room.standing = None;
            }
        }
        if changed {
            self.assigned.send_modify(|count| *count += 1);
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
            self.report();
        }
    }

    /// Tells when other channels are to be joined; 0 before it was said for the first time.
    #[must_use]
    pub fn assigned(&self) -> watch::Receiver<u64> {
        self.assigned.subscribe()
    }

    /// Tells of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The channels of a slot that are to be joined.
    #[must_use]
    pub fn wanted(&self, slot: usize) -> Vec<String> {
        let all = self.lock();
        let wanted = all.rooms.iter().filter(|(_, room)| room.slot == slot && room.keep);
        wanted.map(|(login, _)| login.clone()).collect()
    }

    /// What is done with the channel of this id; `None` when no such channel is known.
    #[must_use]
    pub fn role(&self, id: &str) -> Option<Role> {
        let id = ChannelId::new(id).ok()?;
        let all = self.lock();
        Some(all.rooms.get(all.logins.get(&id)?)?.role)
    }

    /// Whether each channel that is to be joined was joined or refused.
    #[must_use]
    pub fn settled(&self) -> bool {
        !self.lock().rooms.values().any(|room| room.state == State::Waiting)
    }

    /// A slot has a connection, or another one.
    pub fn connected(&self, slot: usize, line: Line) {
        self.put_link(slot, Some(line), None);
    }

    /// A slot has no connection, and why.
    pub fn disconnected(&self, slot: usize, trouble: String) {
        for room in self.lock().rooms.values_mut().filter(|room| room.slot == slot && room.keep) {
            room.state = State::Waiting;
        }
        self.put_link(slot, None, Some(trouble));
    }

    /// The login of the channel with this id, once that is known.
    #[must_use]
    pub fn login(&self, id: &ChannelId) -> Option<String> {
        self.lock().logins.get(id).cloned()
    }

    /// The same; waits until Twitch has told what the bot is there, and for a channel whose id may become
    /// known.
    pub async fn find(&self, id: &ChannelId, until: Instant) -> Option<String> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let (found, may_come) = self.look_for(id);
            if !may_come {
                return found;
            }
            if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                return found;
            }
        }
    }

    fn look_for(&self, id: &ChannelId) -> (Option<String>, bool) {
        let all = self.lock();
        let open = |state: &State| matches!(state, State::Waiting | State::Elsewhere);
        match all.logins.get(id).and_then(|login| all.rooms.get_key_value(login)) {
            Some((login, room)) => (Some(login.clone()), room.standing.is_none() && open(&room.state)),
            None => (None, all.rooms.values().any(|room| room.id.is_none() && open(&room.state))),
        }
    }

    /// What the bot is in a channel.
    #[must_use]
    pub fn standing(&self, login: &str) -> Standing {
        self.lock().rooms.get(login).and_then(|room| room.standing).unwrap_or_default()
    }

    /// The connection that a channel is read on, and its changes.
    #[must_use]
    pub fn link(&self, login: &str) -> Option<watch::Receiver<Option<Line>>> {
        let slot = self.lock().rooms.get(login)?.slot;
        self.links.get(slot).map(watch::Sender::subscribe)
    }

    /// Tells health and metrics.
    pub fn report(&self) {
        let (mut joined, mut waiting, mut refused) = (0_u32, 0_u32, 0_u32);
        for room in self.lock().rooms.values() {
            joined += u32::from(room.state == State::Joined);
            waiting += u32::from(room.state == State::Waiting);
            refused += u32::from(matches!(room.state, State::Refused(_)));
        }
        self.gauges.joined.set(f64::from(joined));
        self.gauges.refused.set(f64::from(refused));
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
        if let Some(room) = self.lock().rooms.get_mut(login) {
            change(room);
        }
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
