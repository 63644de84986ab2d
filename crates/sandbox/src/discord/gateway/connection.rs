//! One gateway connection from HELLO to its end: reads what the client sends, writes what its
//! session has for it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{
        Query, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::SinkExt;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    Order,
    compress::Transport,
    payloads::{Incoming, bare, reason},
    session::{Session, Taken},
};
use crate::discord::Inner;

/// The longest payload a client may send; longer ones close with 4002.
const MAX_PAYLOAD: usize = 4096;
/// The longest message that is read at all.
const MAX_MESSAGE: usize = 1 << 20;
/// What a client may send in [`SEND_WINDOW`]; more closes with 4008.
const MAX_SENDS: usize = 120;
const SEND_WINDOW: Duration = Duration::from_secs(60);
/// How long a client may take to identify, and to take what is written to it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for the other half of a close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Why a connection is over.
#[derive(Debug)]
pub enum End {
    /// It was cut, by us or on the way.
    Cut,
    /// We close it with this code.
    Close(u16),
    /// The client closed it, perhaps with a code.
    ByClient(Option<u16>),
}

/// One connection.
pub struct Connection {
    pub(super) id: u64,
    pub(super) inner: Arc<Inner>,
    pub(super) wake: Arc<Notify>,
    pub(super) session: Option<Arc<Session>>,
    /// When each guild's whole member list was asked for.
    pub(super) member_requests: HashMap<u64, Instant>,
    socket: WebSocket,
    transport: Transport,
    sends: VecDeque<Instant>,
    deadline: Instant,
}

/// `GET /gateway`.
pub async fn upgrade(
    State(inner): State<Arc<Inner>>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if inner.faults.get().refuse_connections {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let value = |name: &str| query.get(name).map(String::as_str);
    let refused = match (value("v"), value("encoding")) {
        (None | Some("9" | "10"), None | Some("json")) => None,
        (None | Some("9" | "10"), Some(_)) => Some(4002),
        _ => Some(4012),
    };
    let Ok(transport) = Transport::named(value("compress")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some((id, orders)) = inner.hub.connect() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let registered = Registered { inner: inner.clone(), id };
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(async move |socket| {
        let connection = Connection {
            id,
            inner,
            wake: Arc::new(Notify::new()),
            session: None,
            member_requests: HashMap::new(),
            socket,
            transport,
            sends: VecDeque::new(),
            deadline: Instant::now() + PATIENCE,
        };
        connection.run(orders, refused).await;
        drop(registered);
    })
}

/// Takes a connection off the list, even when its upgrade never happens.
struct Registered {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.inner.hub.disconnect(self.id);
    }
}

impl Connection {
    async fn run(mut self, orders: mpsc::Receiver<Order>, refused: Option<u16>) {
        self.inner.counters.add("discord.gateway.connect");
        let end = match refused {
            Some(code) => End::Close(code),
            None => self.serve(orders).await,
        };
        let online = self.inner.hub.online();
        self.leave(&end);
        self.inner.counters.add("discord.gateway.disconnect");
        self.inner.show_presence(online);
        if let End::Close(code) = end {
            self.inner.counters.add(&format!("discord.gateway.close.{code}"));
            let frame = CloseFrame { code, reason: reason(code).into() };
            let closed = async {
                if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                    while let Some(Ok(_)) = self.socket.recv().await {}
                }
            };
            // A client that does not close its half is cut off.
            let _ = tokio::time::timeout(CLOSE_WAIT, closed).await;
        }
    }

    /// Until when does the session wait for its client?
    fn leave(&mut self, end: &End) {
        let Some(session) = self.session.take() else { return };
        match end {
            // These codes end a session, whoever closes with them.
            End::ByClient(Some(1000 | 1001)) | End::Close(1000 | 1001 | 4004 | 4007 | 4009) => session.end(),
            _ => session.leave(self.id),
        }
        session.leave(self.id);
    }

    async fn serve(&mut self, mut orders: mpsc::Receiver<Order>) -> End {
        let interval = self.inner.options.heartbeat_interval_ms;
        let hello = format!(r#"{{"heartbeat_interval":{interval},"_trace":["[\"sandbox\",{{}}]"]}}"#);
        let mut step = self.send(bare(10, &hello)).await;
        while step.is_ok() {
            step = tokio::select! {
                received = self.socket.recv() => self.received(received).await,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => Err(End::Cut),
                },
                () = self.wake.notified() => self.forward().await,
                () = tokio::time::sleep_until(self.deadline) => Err(End::Close(4009)),
            };
        }
        step.err().unwrap_or(End::Cut)
    }

    async fn received(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(bytes))) => bytes.try_into().map_err(|_| End::Close(4002))?,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(frame))) => return Err(End::ByClient(frame.map(|frame| frame.code))),
            Some(Err(_)) | None => return Err(End::Cut),
        };
        self.count_send()?;
        if text.len() > MAX_PAYLOAD {
            return Err(End::Close(4002));
        }
        let incoming: Incoming = serde_json::from_str(&text).map_err(|_| End::Close(4002))?;
        self.handle(incoming).await
    }

    fn count_send(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while self.sends.front().is_some_and(|at| now - *at >= SEND_WINDOW) {
            self.sends.pop_front();
        }
        self.sends.push_back(now);
        if self.sends.len() > MAX_SENDS { Err(End::Close(4008)) } else { Ok(()) }
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Drop => Err(End::Cut),
            Order::Close(code) => Err(End::Close(code)),
            Order::Reconnect => self.send(bare(7, "null")).await,
            Order::Heartbeat => self.send(bare(1, "null")).await,
            Order::Raw(text) => self.send(text.as_ref().to_owned()).await,
            Order::Invalidate(resumable) => {
                if !resumable && let Some(session) = self.session.take() {
                    session.end();
                }
                self.send(bare(9, if resumable { "true" } else { "false" })).await
            }
        }
    }

    /// Writes what the session has, a batch at a time, so that reading goes on in between.
    async fn forward(&mut self) -> Result<(), End> {
        let Some(session) = self.session.clone() else { return Ok(()) };
        let frames = match session.take(self.id) {
            Taken::Frames(frames) if frames.is_empty() => return Ok(()),
            Taken::Frames(frames) => frames,
            Taken::Displaced | Taken::Overrun => return Err(End::Close(4000)),
        };
        let delay = self.inner.faults.get().delay_ms;
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        for frame in frames {
            let message = self.transport.pack(frame.text()).map_err(|_| End::Close(4000))?;
            within(self.socket.feed(message)).await?;
        }
        within(self.socket.flush()).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Sends one payload at once.
    pub(super) async fn send(&mut self, text: String) -> Result<(), End> {
        let message = self.transport.pack(text).map_err(|_| End::Close(4000))?;
        within(self.socket.send(message)).await
    }

    /// The client lives; it may miss one heartbeat, but not two.
    pub(super) fn extend_deadline(&mut self) {
        let interval = Duration::from_millis(self.inner.options.heartbeat_interval_ms);
        self.deadline = Instant::now() + interval * 2;
    }
}

/// A write that a stalled client may not hold up for ever.
async fn within(write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    match tokio::time::timeout(PATIENCE, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Cut),
    }
}
