//! A Discord that does one thing wrong, again and again, and counts who comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::Response,
    routing::{any, get},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What is answered to IDENTIFY or RESUME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behave {
    /// As Discord does.
    Well,
    /// Closes with a code.
    Close(u16),
    /// READY or RESUMED, and then closes with a code.
    ReadyThenClose(u16),
    /// Opcode 9.
    InvalidSession(bool),
    /// Ends the connection without a word.
    HangUp,
    /// The same, instead of HELLO.
    HangUpAtOnce,
    /// The same for the first [`AT_FIRST`]; then as Discord does.
    HangUpAtFirst,
}

/// Long enough for more than three tries.
const AT_FIRST: Duration = Duration::from_secs(6);

#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    url: String,
    began: Instant,
    identify: Behave,
    resume: Behave,
    session_starts: u32,
    connects: AtomicU32,
    identifies: AtomicU32,
    resumes: AtomicU32,
}

impl Fake {
    pub async fn start(identify: Behave, resume: Behave, session_starts: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let fake = Self(Arc::new(Inner {
            url,
            began: Instant::now(),
            identify,
            resume,
            session_starts,
            connects: AtomicU32::new(0),
            identifies: AtomicU32::new(0),
            resumes: AtomicU32::new(0),
        }));
        let router = Router::new()
            .route(
                "/api/v10/applications/@me",
                get(|| async { Json(json!({"id": "1", "bot": {"id": "2"}})) }),
            )
            .route("/api/v10/gateway/bot", get(gateway))
            .route("/", any(connect))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn api_url(&self) -> String {
        format!("http://{}", self.0.url)
    }

    /// Connections, IDENTIFYs, RESUMEs.
    pub fn counts(&self) -> (u32, u32, u32) {
        let get = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
        (get(&self.0.connects), get(&self.0.identifies), get(&self.0.resumes))
    }
}

async fn gateway(State(fake): State<Fake>) -> Json<Value> {
    Json(json!({
        "url": format!("ws://{}", fake.0.url),
        "shards": 1,
        "session_start_limit": {
            "total": 1000, "remaining": fake.0.session_starts, "reset_after": 3_600_000, "max_concurrency": 1,
        },
    }))
}

async fn connect(State(fake): State<Fake>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| serve(fake, socket))
}

async fn serve(fake: Fake, mut socket: WebSocket) {
    fake.0.connects.fetch_add(1, Ordering::SeqCst);
    match fake.0.identify {
        Behave::HangUpAtOnce => return,
        Behave::HangUpAtFirst if fake.0.began.elapsed() < AT_FIRST => return,
        _ => {}
    }
    let hello = json!({"op": 10, "d": {"heartbeat_interval": 45_000}, "s": null, "t": null});
    if send(&mut socket, &hello).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let behave = match frame["op"].as_u64() {
            Some(2) => {
                fake.0.identifies.fetch_add(1, Ordering::SeqCst);
                fake.0.identify
            }
            Some(6) => {
                fake.0.resumes.fetch_add(1, Ordering::SeqCst);
                fake.0.resume
            }
            Some(1) => {
                if send(&mut socket, &json!({"op": 11})).await.is_err() {
                    return;
                }
                continue;
            }
            _ => continue,
        };
        let live = if frame["op"] == 2 { ready(&fake.0.url) } else { resumed(&frame) };
        let outcome = match behave {
            Behave::Well | Behave::HangUpAtFirst => send(&mut socket, &live).await,
            Behave::Close(code) => close(&mut socket, code).await,
            Behave::ReadyThenClose(code) => match send(&mut socket, &live).await {
                Ok(()) => close(&mut socket, code).await,
                error => error,
            },
            Behave::HangUp | Behave::HangUpAtOnce => return,
            Behave::InvalidSession(resumable) => send(&mut socket, &json!({"op": 9, "d": resumable})).await,
        };
        if outcome.is_err() {
            return;
        }
    }
}

fn ready(url: &str) -> Value {
    json!({"op": 0, "s": 1, "t": "READY", "d": {
        "v": 10, "user": {"id": "2"}, "session_id": "session", "guilds": [],
        "resume_gateway_url": format!("ws://{url}"), "application": {"id": "1", "flags": 0},
    }})
}

fn resumed(resume: &Value) -> Value {
    json!({"op": 0, "s": resume["d"]["seq"].as_u64().unwrap() + 1, "t": "RESUMED", "d": {}})
}

async fn send(socket: &mut WebSocket, frame: &Value) -> Result<(), axum::Error> {
    socket.send(Message::Text(frame.to_string().into())).await
}

async fn close(socket: &mut WebSocket, code: u16) -> Result<(), axum::Error> {
    socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await
}
