//! One EventSub WebSocket: welcome, keepalive, the rule of the first subscription, the move to a new
//! socket, and the close codes.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        Query, State as Shared, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::Response,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Delivery, Hub, MAX_DISABLED, MAX_SESSIONS, QUEUE, Session, message, timestamp};
use crate::twitch::{Inner, post::message_id};

/// What a client can ask for in the address.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// A number is taken to the nearest allowed value; anything else is passed by.
    keepalive_timeout_seconds: Option<String>,
    challenge: Option<String>,
    id: Option<String>,
}

/// Opens a socket.
pub(crate) async fn open(
    Shared(twitch): Shared<Arc<Inner>>,
    Query(asked): Query<Asked>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| serve(twitch, socket, asked))
}

/// The socket of a session, as long as it lasts.
struct Serving<'a> {
    hub: &'a Hub,
    socket: WebSocket,
    id: String,
    inbox: mpsc::Receiver<Delivery>,
    keepalive: Duration,
    started: Instant,
    silent_since: Instant,
    last_ping: Instant,
    awaits_pong: bool,
    move_by: Option<Instant>,
}

/// How it ended: with a close code, or without a word.
type End = Option<(u16, &'static str)>;

async fn serve(twitch: Arc<Inner>, mut socket: WebSocket, asked: Asked) {
    let hub = &twitch.eventsub;
    let (outbox, inbox) = mpsc::channel(QUEUE);
    let entered = match (&asked.challenge, &asked.id) {
        (None, None) => hub.enter(&asked, outbox.clone()),
        (challenge, id) => hub.take_over(challenge.as_deref(), id.as_deref(), outbox.clone()),
    };
    let (id, keepalive, old) = match entered {
        Ok(entered) => entered,
        Err((code, reason)) => {
            hub.counters.add(&format!("twitch.eventsub.close.{code}"));
            close(&mut socket, code, reason).await;
            return;
        }
    };
    let now = Instant::now();
    let mut serving = Serving {
        hub,
        socket,
        id,
        inbox,
        keepalive,
        started: now,
        silent_since: now,
        last_ping: now,
        awaits_pong: false,
        move_by: None,
    };
    let end = serving.run(old).await;
    hub.leave(&serving.id, &outbox);
    if let Some((code, reason)) = end {
        hub.counters.add(&format!("twitch.eventsub.close.{code}"));
        close(&mut serving.socket, code, reason).await;
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    if let Err(error) = socket.send(Message::Close(Some(frame))).await {
        tracing::debug!(%error, code, "an eventsub socket was gone before it was closed");
    }
}

impl Serving<'_> {
    async fn run(&mut self, old: Option<mpsc::Sender<Delivery>>) -> End {
        let welcome = self.hub.welcome(&self.id);
        self.socket.send(Message::Text(welcome.as_ref().into())).await.ok()?;
        self.hub.counters.add("twitch.eventsub.welcome");
        if let Some(old) = old {
            // The old socket stays open until its client closes it, but gets nothing any more.
            let within = self.hub.options.reconnect_within;
            if old.try_send(Delivery::MoveWithin(within)).is_err() {
                tracing::debug!(session = self.id, "the old eventsub socket is gone already");
            }
            self.hub.counters.add("twitch.eventsub.taken_over");
        }
        loop {
            let quiet_until = self.silent_since + self.keepalive;
            let ping_at = self.last_ping + self.hub.options.ping_every;
            let unused_at = self.started + self.hub.options.first_subscription;
            let unused = self.move_by.is_none() && !self.hub.has_subscribed(&self.id);
            let move_by = self.move_by;
            tokio::select! {
                delivery = self.inbox.recv() => match delivery? {
                    Delivery::Message(text) => {
                        self.socket.send(Message::Text(text.as_ref().into())).await.ok()?;
                        self.silent_since = Instant::now();
                    }
                    Delivery::Close(code, reason) => return Some((code, reason)),
                    Delivery::MoveWithin(wait) => self.move_by = Some(Instant::now() + wait),
                    Delivery::Drop => return None,
                },
                came = self.socket.recv() => match came?.ok()? {
                    Message::Pong(_) => self.awaits_pong = false,
                    Message::Ping(_) => {}
                    Message::Close(_) => return None,
                    Message::Text(_) | Message::Binary(_) => {
                        return Some((4001, "client sent inbound traffic"));
                    }
                },
                () = sleep_until(unused_at), if unused => return Some((4003, "connection unused")),
                () = sleep_until(move_by.unwrap_or(ping_at)), if move_by.is_some() => {
                    return Some((4004, "reconnect grace time expired"));
                }
                () = sleep_until(ping_at) => {
                    if self.awaits_pong {
                        return Some((4002, "client failed ping-pong"));
                    }
                    self.awaits_pong = true;
                    self.last_ping = Instant::now();
                    self.socket.send(Message::Ping(Default::default())).await.ok()?;
                }
                () = sleep_until(quiet_until) => {
                    let text = message("session_keepalive", None, &json!({}));
                    self.socket.send(Message::Text(text.as_ref().into())).await.ok()?;
                    self.hub.counters.add("twitch.eventsub.keepalive");
                    self.silent_since = Instant::now();
                }
            }
        }
    }
}

type Entered = (String, Duration, Option<mpsc::Sender<Delivery>>);

impl Hub {
    fn enter(&self, asked: &Asked, socket: mpsc::Sender<Delivery>) -> Result<Entered, (u16, &'static str)> {
        let asked = asked.keepalive_timeout_seconds.as_deref().and_then(|text| text.parse::<i64>().ok());
        let keepalive = asked.map_or(self.options.keepalive, |seconds| {
            let asked = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            asked.clamp(self.options.keepalive_least, self.options.keepalive_most)
        });
        let id = format!("AgoQ{}EgZjZWxsLWE", message_id().replace('-', ""));
        let session = Session { connected_at: timestamp(), keepalive, socket, challenge: None };
        let mut state = self.lock();
        if state.sessions.len() >= MAX_SESSIONS {
            return Err((4000, "internal server error"));
        }
        state.sessions.insert(id.clone(), session);
        Ok((id, keepalive, None))
    }

    fn take_over(
        &self,
        challenge: Option<&str>,
        id: Option<&str>,
        socket: mpsc::Sender<Delivery>,
    ) -> Result<Entered, (u16, &'static str)> {
        let mut state = self.lock();
        let (Some(challenge), Some(id)) = (challenge, id) else {
            return Err((4007, "invalid reconnect"));
        };
        let session = state.sessions.get_mut(id);
        let session = session.filter(|session| session.challenge.as_deref() == Some(challenge));
        let session = session.ok_or((4007, "invalid reconnect"))?;
        session.challenge = None;
        let old = std::mem::replace(&mut session.socket, socket);
        Ok((id.to_owned(), session.keepalive, Some(old)))
    }

    fn welcome(&self, id: &str) -> Arc<str> {
        let state = self.lock();
        let session = state.sessions.get(id);
        let payload = json!({"session": {
            "id": id,
            "status": "connected",
            "keepalive_timeout_seconds": session.map(|session| session.keepalive.as_secs()),
            "reconnect_url": null,
            "recovery_url": null,
            "connected_at": session.map(|session| session.connected_at.as_str()),
        }});
        message("session_welcome", None, &payload)
    }

    fn has_subscribed(&self, id: &str) -> bool {
        self.lock().subscriptions.values().any(|sub| sub.session == id)
    }

    /// Ends a session when the socket that ends is still its own; its subscriptions are disabled.
    fn leave(&self, id: &str, socket: &mpsc::Sender<Delivery>) {
        let mut state = self.lock();
        if !state.sessions.get(id).is_some_and(|session| session.socket.same_channel(socket)) {
            return;
        }
        state.sessions.remove(id);
        let at = timestamp();
        for sub in state.subscriptions.values_mut().filter(|sub| sub.session == id) {
            sub.status = "websocket_disconnected";
            sub.disconnected_at = Some(at.clone());
        }
        let disabled: Vec<u64> = state
            .subscriptions
            .iter()
            .filter(|(_, sub)| sub.status != "enabled")
            .map(|(number, _)| *number)
            .collect();
        for number in disabled.iter().take(disabled.len().saturating_sub(MAX_DISABLED)) {
            state.subscriptions.remove(number);
        }
        drop(state);
        self.counters.add("twitch.eventsub.disconnected");
    }
}
