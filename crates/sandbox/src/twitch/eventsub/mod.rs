//! EventSub: which subscriptions there are, and what is delivered for them. The sockets are served by
//! `socket`, the HTTP side is `helix::eventsub`.
//! Source: dev.twitch.tv/docs/eventsub/handling-websocket-events and /manage-subscriptions.

pub(crate) mod chat;
pub(crate) mod socket;
pub(crate) mod types;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::mpsc;

use super::post::message_id;
use crate::counters::Counters;

/// Messages that may wait for one socket; one that lets more pile up is closed.
const QUEUE: usize = 1024;

/// Sessions open at once.
const MAX_SESSIONS: usize = 256;

/// Subscriptions of one socket.
const MAX_PER_SESSION: usize = 300;

/// Sockets with subscriptions, per client and user.
const MAX_SOCKETS_PER_USER: usize = 3;

/// Cost of all subscriptions together, per client and user.
pub(crate) const MAX_TOTAL_COST: u32 = 10;

/// Subscriptions of sockets that are gone, kept so that they can be listed.
const MAX_DISABLED: usize = 300;

/// Times of EventSub, which tests make short.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a socket may stay without a subscription before it is closed with 4003.
    pub first_subscription: Duration,
    /// The keepalive time when a client asks for none.
    pub keepalive: Duration,
    /// Shortest keepalive time a client can ask for.
    pub keepalive_least: Duration,
    /// Longest keepalive time a client can ask for.
    pub keepalive_most: Duration,
    /// How long a client has to move to its `reconnect_url`.
    pub reconnect_within: Duration,
    /// Between two WebSocket PINGs, and how long the PONG may take.
    pub ping_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            first_subscription: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            keepalive_least: Duration::from_secs(10),
            keepalive_most: Duration::from_secs(600),
            reconnect_within: Duration::from_secs(30),
            ping_every: Duration::from_secs(30),
        }
    }
}

/// A subscription as Helix shows it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) kind: String,
    pub(crate) version: String,
    pub(crate) condition: Map<String, Value>,
    pub(crate) session: String,
    /// Whose token it was made with; subscriptions are counted and listed per user.
    pub(crate) user_id: String,
    pub(crate) cost: u32,
    created_at: String,
    connected_at: String,
    disconnected_at: Option<String>,
}

/// Why a subscription cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    UnknownSession,
    Exists,
    TooMany,
    TooDear,
}

/// All sessions and subscriptions.
#[derive(Debug)]
pub(crate) struct Hub {
    counters: Counters,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<String, Session>,
    /// In the order they were made.
    subscriptions: BTreeMap<u64, Subscription>,
    made: u64,
}

/// A session outlives its socket when it moves to a new one.
#[derive(Debug)]
struct Session {
    connected_at: String,
    keepalive: Duration,
    socket: mpsc::Sender<Delivery>,
    /// What the reconnect URL has to carry, while a move is under way.
    challenge: Option<String>,
}

/// What a socket is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    Message(Arc<str>),
    /// The session moved on or the time to move is over.
    Close(u16, &'static str),
    /// The client has to move within this time, or is closed with 4004.
    MoveWithin(Duration),
    /// The socket is cut without a word.
    Drop,
}

impl Hub {
    pub(crate) fn new(counters: Counters, options: Options) -> Self {
        Self { counters, options, state: Mutex::default() }
    }

    /// Whether anybody subscribed to this type, so that its event need not be built for nobody.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        self.lock().subscriptions.values().any(|sub| sub.kind == kind && sub.status == "enabled")
    }

    /// Delivers an event to every subscription whose condition is about one of `about`.
    pub(crate) fn publish(&self, kind: &str, about: &[(&str, &str)], event: &Value) {
        let state = self.lock();
        let fits = |sub: &&Subscription| {
            sub.kind == kind
                && sub.status == "enabled"
                && about
                    .iter()
                    .any(|(key, value)| sub.condition.get(*key).and_then(Value::as_str) == Some(value))
        };
        for sub in state.subscriptions.values().filter(fits) {
            let Some(session) = state.sessions.get(&sub.session) else { continue };
            let text =
                message("notification", Some(sub), &json!({"subscription": sub.json(), "event": event}));
            self.counters.add("twitch.eventsub.notification");
            self.counters.add(&format!("twitch.eventsub.notification.{kind}"));
            self.deliver(session, Delivery::Message(text));
        }
    }

    /// Makes a subscription and gives it back as Helix shows it.
    pub(crate) fn subscribe(
        &self,
        kind: &str,
        version: &str,
        condition: Map<String, Value>,
        session: &str,
        user_id: &str,
        cost: u32,
    ) -> Result<Subscription, Unwanted> {
        let mut state = self.lock();
        let connected_at = state.sessions.get(session).ok_or(Unwanted::UnknownSession)?.connected_at.clone();
        let mut of_user =
            state.subscriptions.values().filter(|sub| sub.user_id == user_id && sub.status == "enabled");
        if of_user.clone().any(|sub| {
            sub.kind == kind && sub.version == version && sub.condition == condition && sub.session == session
        }) {
            return Err(Unwanted::Exists);
        }
        if of_user.clone().filter(|sub| sub.session == session).count() >= MAX_PER_SESSION {
            return Err(Unwanted::TooMany);
        }
        let sockets: std::collections::HashSet<&str> =
            of_user.clone().map(|sub| sub.session.as_str()).collect();
        if !sockets.contains(session) && sockets.len() >= MAX_SOCKETS_PER_USER {
            return Err(Unwanted::TooMany);
        }
        let spent: u32 = of_user.by_ref().map(|sub| sub.cost).sum();
        if spent + cost > MAX_TOTAL_COST {
            return Err(Unwanted::TooDear);
        }
        let sub = Subscription {
            id: message_id(),
            status: "enabled",
            kind: kind.to_owned(),
            version: version.to_owned(),
            condition,
            session: session.to_owned(),
            user_id: user_id.to_owned(),
            cost,
            created_at: timestamp(),
            connected_at,
            disconnected_at: None,
        };
        state.made += 1;
        let number = state.made;
        state.subscriptions.insert(number, sub.clone());
        self.counters.add("twitch.eventsub.subscribed");
        Ok(sub)
    }

    /// The subscriptions of a user, and those that were disabled lately.
    pub(crate) fn list(&self, user_id: Option<&str>) -> Vec<Subscription> {
        let state = self.lock();
        let own = |sub: &&Subscription| user_id.is_none_or(|id| sub.user_id == id);
        state.subscriptions.values().filter(own).cloned().collect()
    }

    /// Deletes a subscription; `false` when there is none.
    pub(crate) fn delete(&self, id: &str) -> bool {
        let mut state = self.lock();
        let before = state.subscriptions.len();
        state.subscriptions.retain(|_, sub| sub.id != id);
        state.subscriptions.len() < before
    }

    /// Revokes the subscriptions that `which` picks, and says how many there were.
    pub(crate) fn revoke(&self, status: &'static str, which: impl Fn(&Subscription) -> bool) -> usize {
        let mut state = self.lock();
        let State { sessions, subscriptions, .. } = &mut *state;
        let mut revoked = 0;
        subscriptions.retain(|_, sub| {
            if sub.status != "enabled" || !which(sub) {
                return true;
            }
            sub.status = status;
            revoked += 1;
            if let Some(session) = sessions.get(&sub.session) {
                let text = message("revocation", Some(sub), &json!({"subscription": sub.json()}));
                self.counters.add("twitch.eventsub.revocation");
                self.deliver(session, Delivery::Message(text));
            }
            false
        });
        revoked
    }

    /// Asks every client to move to a new socket, and says how many there were. `ws` is the base of
    /// the address, such as `ws://127.0.0.1:8080/eventsub/ws`.
    pub(crate) fn reconnect_all(&self, ws: &str) -> usize {
        let mut state = self.lock();
        for (id, session) in &mut state.sessions {
            let challenge = message_id();
            let url = format!("{ws}?challenge={challenge}&id={id}");
            session.challenge = Some(challenge);
            let payload = json!({"session": {
                "id": id,
                "status": "reconnecting",
                "keepalive_timeout_seconds": null,
                "reconnect_url": url,
                "connected_at": session.connected_at,
            }});
            self.counters.add("twitch.eventsub.reconnect_sent");
            let text = message("session_reconnect", None, &payload);
            self.deliver(session, Delivery::Message(text));
            self.deliver(session, Delivery::MoveWithin(self.options.reconnect_within));
        }
        state.sessions.len()
    }

    /// Cuts every socket without a word.
    pub(crate) fn drop_all(&self) {
        for session in self.lock().sessions.values() {
            self.deliver(session, Delivery::Drop);
        }
    }

    /// Closes every socket with a code.
    pub(crate) fn close_all(&self, code: u16) {
        for session in self.lock().sessions.values() {
            self.deliver(session, Delivery::Close(code, "closed by the operator"));
        }
    }

    /// Delivers to one socket; a full queue shows a client that does not read, which ends by itself
    /// when its queue is dropped.
    fn deliver(&self, session: &Session, delivery: Delivery) {
        if session.socket.try_send(delivery).is_err() {
            self.counters.add("twitch.eventsub.undelivered");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Helix's and the messages' form.
    pub(crate) fn json(&self) -> Value {
        let mut transport = json!({"method": "websocket", "session_id": self.session});
        transport["connected_at"] = json!(self.connected_at);
        if let Some(at) = &self.disconnected_at {
            transport["disconnected_at"] = json!(at);
        }
        json!({
            "id": self.id,
            "status": self.status,
            "type": self.kind,
            "version": self.version,
            "condition": self.condition,
            "transport": transport,
            "created_at": self.created_at,
            "cost": self.cost,
        })
    }
}

/// One message in its frame: metadata and payload.
fn message(kind: &str, about: Option<&Subscription>, payload: &Value) -> Arc<str> {
    let mut metadata = json!({
        "message_id": message_id(),
        "message_type": kind,
        "message_timestamp": timestamp(),
    });
    if let Some(sub) = about {
        metadata["subscription_type"] = json!(sub.kind);
        metadata["subscription_version"] = json!(sub.version);
    }
    json!({"metadata": metadata, "payload": payload}).to_string().into()
}

/// Now, in RFC 3339 with nanoseconds.
pub(crate) fn timestamp() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}
