//! EventSub over WebSocket: welcome, keepalive, notifications, the move to a new socket, revocation
//! and the close codes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandbox::{Sandbox, people::Person, twitch};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::client::{Http, SOON, say, start, start_with, without_limits};

const BOT: &str = "800100200";
const DEMO: &str = "700100100";

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(url: &str) -> Self {
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    async fn new(sandbox: &Sandbox) -> (Self, String) {
        let url = sandbox.http_url().replacen("http", "ws", 1);
        let mut socket = Self::open(&format!("{url}/eventsub/ws")).await;
        let welcome = socket.next("session_welcome").await;
        let id = welcome["payload"]["session"]["id"].as_str().unwrap().to_owned();
        (socket, id)
    }

    /// The next message of a type; keepalives in between are passed by.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await.expect(kind).unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            let got = message["metadata"]["message_type"].as_str().unwrap().to_owned();
            if got == kind {
                return message;
            }
            assert_eq!(got, "session_keepalive", "while waiting for {kind}: {message}");
        }
    }

    async fn close_code(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(SOON, self.0.next()).await.expect("no close in time") {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|CloseFrame { code, .. }| code.into());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

fn quick() -> twitch::Options {
    twitch::Options {
        eventsub: twitch::eventsub::Options {
            first_subscription: Duration::from_millis(200),
            keepalive: Duration::from_millis(100),
            keepalive_least: Duration::from_secs(1),
            reconnect_within: Duration::from_millis(200),
            ..Default::default()
        },
        ..without_limits()
    }
}

async fn subscribe(http: &Http, token: &str, kind: &str, condition: Value, session: &str) -> (u16, Value) {
    let version = if kind == "channel.follow" { "2" } else { "1" };
    let body = json!({
        "type": kind, "version": version, "condition": condition,
        "transport": {"method": "websocket", "session_id": session},
    });
    let answer = http.helix(token, "POST", "eventsub/subscriptions", Some(body)).await;
    (answer.status, answer.body)
}

fn chat() -> Value {
    json!({"broadcaster_user_id": DEMO, "user_id": BOT})
}

#[tokio::test]
async fn a_socket_is_welcomed_and_kept_alive() {
    let sandbox = start_with(quick()).await;
    let url = sandbox.http_url().replacen("http", "ws", 1);
    for (query, seconds) in [("?keepalive_timeout_seconds=30", 30), ("?keepalive_timeout_seconds=9999", 600)]
    {
        let mut socket = Socket::open(&format!("{url}/ws{query}")).await;
        let welcome = socket.next("session_welcome").await;
        assert_eq!(welcome["payload"]["session"]["keepalive_timeout_seconds"], seconds);
        assert_eq!(welcome["payload"]["session"]["status"], "connected");
        assert_eq!(welcome["payload"]["session"]["reconnect_url"], Value::Null);
    }
    let (mut socket, _) = Socket::new(&sandbox).await;
    let alive = socket.next("session_keepalive").await;
    assert_eq!(alive["payload"], json!({}));
}

#[tokio::test]
async fn a_socket_without_subscription_is_closed() {
    let sandbox = start_with(quick()).await;
    let (mut socket, _) = Socket::new(&sandbox).await;
    assert_eq!(socket.close_code().await, Some(4003));
}

#[tokio::test]
async fn a_client_that_talks_is_closed() {
    let sandbox = start().await;
    let (mut socket, _) = Socket::new(&sandbox).await;
    socket.0.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.close_code().await, Some(4001));
}

#[tokio::test]
async fn events_arrive() {
    let sandbox = start_with(without_limits()).await;
    let (http, twitch) = (Http::new(&sandbox), sandbox.twitch());
    let (mut bot, session) = Socket::new(&sandbox).await;
    let (status, body) = subscribe(&http, "sandbox-token", "channel.chat.message", chat(), &session).await;
    assert_eq!((status, &body["data"][0]["status"]), (202, &json!("enabled")));
    assert_eq!((&body["total"], &body["max_total_cost"]), (&json!(1), &json!(10)));
    let raid = json!({"to_broadcaster_user_id": DEMO});
    assert_eq!(subscribe(&http, "sandbox-token", "channel.raid", raid, &session).await.0, 202);
    for kind in ["stream.online", "stream.offline"] {
        let about = json!({"broadcaster_user_id": DEMO});
        assert_eq!(subscribe(&http, "sandbox-token", kind, about, &session).await.0, 202);
    }
    let (mut owner, session) = Socket::new(&sandbox).await;
    let about = json!({"broadcaster_user_id": DEMO});
    let token = "sandbox-vigie_demo";
    assert_eq!(subscribe(&http, token, "channel.subscribe", about, &session).await.0, 202);
    let about = json!({"broadcaster_user_id": DEMO, "moderator_user_id": DEMO});
    assert_eq!(subscribe(&http, token, "channel.follow", about, &session).await.0, 202);

    let id = say(&sandbox, "vigie_demo", "hello");
    say(&sandbox, "quiet_corner", "elsewhere");
    let event = bot.next("notification").await;
    assert_eq!(event["metadata"]["subscription_type"], "channel.chat.message");
    assert_eq!(event["payload"]["event"]["message_id"], id);
    assert_eq!(event["payload"]["event"]["message"]["text"], "hello");
    assert_eq!(event["payload"]["event"]["chatter_user_login"], "ines");
    assert_eq!(event["payload"]["subscription"]["transport"]["method"], "websocket");
    twitch.raid("vigie_demo", 7).unwrap();
    assert_eq!(bot.next("notification").await["payload"]["event"]["viewers"], 7);
    twitch.go_live("vigie_demo", true).unwrap();
    assert_eq!(bot.next("notification").await["payload"]["event"]["type"], "live");
    twitch.go_live("vigie_demo", false).unwrap();
    assert_eq!(bot.next("notification").await["metadata"]["subscription_type"], "stream.offline");
    twitch.subscribe("vigie_demo", Person::Noor).unwrap();
    assert_eq!(owner.next("notification").await["payload"]["event"]["tier"], "1000");
    twitch.follow("vigie_demo", Person::Noor).unwrap();
    assert_eq!(owner.next("notification").await["payload"]["event"]["user_login"], "noor");
}

#[tokio::test]
async fn a_subscription_that_is_not_allowed() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let (_socket, session) = Socket::new(&sandbox).await;
    let try_it = async |token: &str, kind: &str, condition: Value, session: &str| {
        let (status, body) = subscribe(&http, token, kind, condition, session).await;
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    };
    let token = "sandbox-token";
    let gone = "websocket transport session does not exist or has already disconnected";
    assert_eq!(try_it(token, "channel.chat.message", chat(), "gone").await, (400, gone.into()));
    let kind = "invalid subscription type and version";
    assert_eq!(try_it(token, "channel.unheard_of", chat(), &session).await, (400, kind.into()));
    let proper = "subscription missing proper authorization";
    let foreign = json!({"broadcaster_user_id": DEMO, "user_id": DEMO});
    assert_eq!(try_it(token, "channel.chat.message", foreign, &session).await, (403, proper.into()));
    let app = http.app_token().await;
    let combination = "invalid transport and auth combination";
    assert_eq!(try_it(&app, "channel.chat.message", chat(), &session).await, (400, combination.into()));
    assert_eq!(try_it(token, "channel.chat.message", chat(), &session).await.0, 202);
    let exists = "subscription already exists";
    assert_eq!(try_it(token, "channel.chat.message", chat(), &session).await, (409, exists.into()));
    sandbox.twitch().timeout("quiet_corner", "vigie_bot", 0).unwrap();
    let banned = json!({"broadcaster_user_id": "700100200", "user_id": BOT});
    assert_eq!(try_it(token, "channel.chat.message", banned, &session).await, (403, proper.into()));
}

#[tokio::test]
async fn a_subscription_can_be_listed_and_deleted() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let (socket, session) = Socket::new(&sandbox).await;
    let (_, body) = subscribe(&http, "sandbox-token", "channel.chat.message", chat(), &session).await;
    let id = body["data"][0]["id"].as_str().unwrap().to_owned();
    let list = async |query: &str| {
        let path = format!("eventsub/subscriptions{query}");
        http.helix("sandbox-token", "GET", &path, None).await.body
    };
    assert_eq!(list("").await["data"][0]["id"], json!(id));
    assert_eq!(list("?type=channel.raid").await["data"], json!([]));
    drop(socket);
    sandbox.counters().wait("twitch.eventsub.disconnected", 1, SOON).await.unwrap();
    let listed = list("?status=websocket_disconnected").await;
    assert_eq!((&listed["data"][0]["id"], &listed["total"]), (&json!(id), &json!(0)));
    let path = format!("eventsub/subscriptions?id={id}");
    assert_eq!(http.helix("sandbox-token", "DELETE", &path, None).await.status, 204);
    assert_eq!(http.helix("sandbox-token", "DELETE", &path, None).await.status, 404);
}

#[tokio::test]
async fn a_session_moves_with_its_subscriptions() {
    let sandbox = start_with(quick()).await;
    let http = Http::new(&sandbox);
    let (mut old, session) = Socket::new(&sandbox).await;
    subscribe(&http, "sandbox-token", "channel.chat.message", chat(), &session).await;
    sandbox.twitch().reconnect_all();
    let told = old.next("session_reconnect").await;
    assert_eq!(told["payload"]["session"]["status"], "reconnecting");
    let url = told["payload"]["session"]["reconnect_url"].as_str().unwrap().to_owned();
    say(&sandbox, "vigie_demo", "still on the old one");
    assert_eq!(old.next("notification").await["payload"]["event"]["message"]["text"], "still on the old one");
    let mut new = Socket::open(&url).await;
    let welcome = new.next("session_welcome").await;
    assert_eq!(welcome["payload"]["session"]["id"], session);
    say(&sandbox, "vigie_demo", "on the new one");
    assert_eq!(new.next("notification").await["payload"]["event"]["message"]["text"], "on the new one");
    assert_eq!(old.close_code().await, Some(4004), "the old one was left open too long");
    say(&sandbox, "vigie_demo", "and still");
    assert_eq!(new.next("notification").await["payload"]["event"]["message"]["text"], "and still");

    let mut again = Socket::open(&url).await;
    assert_eq!(again.close_code().await, Some(4007), "an address is good once");
}

#[tokio::test]
async fn a_client_that_does_not_move_is_closed() {
    let sandbox = start_with(quick()).await;
    let http = Http::new(&sandbox);
    let (mut socket, session) = Socket::new(&sandbox).await;
    subscribe(&http, "sandbox-token", "channel.chat.message", chat(), &session).await;
    sandbox.twitch().reconnect_all();
    assert_eq!(socket.close_code().await, Some(4004));
}

#[tokio::test]
async fn a_subscription_is_revoked_with_its_token_or_by_a_ban() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let (mut socket, session) = Socket::new(&sandbox).await;
    subscribe(&http, "sandbox-token", "channel.chat.message", chat(), &session).await;
    sandbox.twitch().timeout("vigie_demo", "vigie_bot", 60).unwrap();
    let told = socket.next("revocation").await;
    assert_eq!(told["payload"]["subscription"]["status"], "chat_user_banned");
    let raid = json!({"to_broadcaster_user_id": DEMO});
    subscribe(&http, "sandbox-token", "channel.raid", raid, &session).await;
    assert!(sandbox.twitch().revoke_token("sandbox-token"));
    let told = socket.next("revocation").await;
    assert_eq!(told["payload"]["subscription"]["status"], "authorization_revoked");
    assert_eq!(told["metadata"]["subscription_type"], "channel.raid");
}

#[tokio::test]
async fn a_socket_can_be_closed_with_any_code_and_cut() {
    let sandbox = start().await;
    let (mut socket, _) = Socket::new(&sandbox).await;
    sandbox.twitch().close_eventsub(4000);
    assert_eq!(socket.close_code().await, Some(4000));
    let (mut socket, _) = Socket::new(&sandbox).await;
    sandbox.twitch().drop_connections();
    assert_eq!(socket.close_code().await, None);
}
