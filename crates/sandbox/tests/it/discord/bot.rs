//! What the tests of the local Discord share: a running one, a REST client and a gateway client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode, header::HeaderMap};
use sandbox::{
    counters::Counters,
    discord::{Discord, Options, ids},
    feed::{Feed, Item, Line},
    people::Person,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(30);
/// Everything but the privileged intents, and message content.
pub const INTENTS: u64 = 0x7efd | (1 << 15);

/// A running local Discord.
pub struct Harbour {
    pub discord: Discord,
    pub counters: Counters,
    pub feed: Feed,
    pub base: String,
    client: reqwest::Client,
}

/// An answer of the REST API.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and Discord's code.
    pub fn refusal(&self) -> (u16, u64) {
        (self.status.as_u16(), self.body["code"].as_u64().unwrap_or(u64::MAX))
    }

    /// The code of the first problem at a dotted path of error 50035.
    pub fn problem(&self, path: &str) -> &str {
        assert_eq!(self.refusal(), (400, 50035), "{}", self.body);
        let at = path.split('.').fold(&self.body["errors"], |at, part| &at[part]);
        at["_errors"][0]["code"].as_str().unwrap_or_else(|| panic!("no problem at {path}: {}", self.body))
    }
}

impl Harbour {
    pub async fn open() -> Self {
        // Tests reconnect more often than real bots may.
        Self::with(Options { identify_window: Duration::ZERO, ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let (counters, feed) = (Counters::default(), Feed::default());
        let discord = Discord::new(counters.clone(), feed.clone(), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        discord.set_base_url(&base);
        let router = discord.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        // Fails when another test has installed it already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
        Self { discord, counters, feed, base, client }
    }

    pub async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Reply {
        let mut request = self.client.request(method, format!("{}/api/v10{path}", self.base));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bot {token}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let reply = request.send().await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        let text = reply.text().await.unwrap();
        // What is no JSON is not Discord's, and shown as it is.
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(json!(text)) };
        Reply { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, Some("sandbox-token"), None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, Some("sandbox-token"), Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.ask(Method::PUT, path, Some("sandbox-token"), Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.ask(Method::PATCH, path, Some("sandbox-token"), Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path, Some("sandbox-token"), None).await
    }

    /// Sends a message to #general as the bot.
    pub async fn send(&self, body: Value) -> Reply {
        self.post(&format!("/channels/{}/messages", ids::GENERAL), body).await
    }

    pub fn say(&self, text: &str) -> String {
        self.discord.say(Person::Ines, &ids::GENERAL.to_string(), text).unwrap()
    }

    pub fn slash(&self, name: &str, options: Value) -> String {
        self.discord.slash(Person::Ines, &ids::GENERAL.to_string(), name, options).unwrap()
    }

    /// Registers commands in the demo guild.
    pub async fn register(&self, commands: Value) -> Reply {
        let path = format!("/applications/{}/guilds/{}/commands", ids::APPLICATION, ids::GUILD);
        self.put(&path, commands).await
    }

    /// A gateway client right after HELLO.
    pub async fn connect(&self) -> Bot {
        self.connect_with("?v=10&encoding=json").await
    }

    pub async fn connect_with(&self, query: &str) -> Bot {
        Bot::connect(&format!("{}/gateway/{query}", self.base.replacen("http", "ws", 1))).await
    }

    /// A gateway client after READY and its GUILD_CREATEs.
    pub async fn identified(&self, intents: u64) -> Bot {
        let mut bot = self.connect().await;
        bot.identify(intents).await;
        bot.dispatch("READY").await;
        if intents & 1 != 0 {
            bot.dispatch("GUILD_CREATE").await;
        }
        bot
    }
}

/// Waits for the line that the feed shows next.
pub async fn next_line(feed: &mut tokio::sync::broadcast::Receiver<Item>) -> Line {
    let shown = async {
        loop {
            if let Item::Message { line, .. } | Item::Edited { line, .. } = feed.recv().await.unwrap() {
                return line;
            }
        }
    };
    tokio::time::timeout(SOON, shown).await.expect("a line is shown soon")
}

/// What a gateway connection gave.
#[derive(Debug)]
pub enum Got {
    Payload(Value),
    Binary(Vec<u8>),
    Closed(Option<u16>),
}

/// A gateway client that does nothing by itself.
pub struct Bot {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub session: String,
    pub resume_url: String,
    pub seq: u64,
}

impl Bot {
    pub async fn connect(url: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut bot = Self { socket, session: String::new(), resume_url: String::new(), seq: 0 };
        if !url.contains("compress") && !url.contains("v=1&") {
            let hello = bot.payload().await;
            assert_eq!(hello["op"], 10);
            assert!(hello["d"]["heartbeat_interval"].is_u64());
        }
        bot
    }

    pub async fn send(&mut self, payload: Value) {
        self.send_text(payload.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn identify(&mut self, intents: u64) {
        self.send(identify("sandbox-token", intents, None)).await;
    }

    pub async fn resume(&mut self, session: &str, seq: u64) {
        self.send(json!({ "op": 6, "d": { "token": "sandbox-token", "session_id": session, "seq": seq } }))
            .await;
    }

    /// The next thing, whatever it is.
    pub async fn next(&mut self) -> Got {
        let next = tokio::time::timeout(SOON, self.socket.next()).await.expect("something comes soon");
        match next {
            Some(Ok(Message::Text(text))) => Got::Payload(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Binary(bytes))) => Got::Binary(bytes.into()),
            Some(Ok(Message::Close(frame))) => Got::Closed(frame.map(|frame| frame.code.into())),
            Some(Ok(other)) => panic!("unexpected {other:?}"),
            Some(Err(_)) | None => Got::Closed(None),
        }
    }

    /// The next payload; remembers the sequence and the session.
    pub async fn payload(&mut self) -> Value {
        let payload = match self.next().await {
            Got::Payload(payload) => payload,
            other => panic!("expected a payload, got {other:?}"),
        };
        self.seq = payload["s"].as_u64().unwrap_or(self.seq);
        if payload["t"] == "READY" {
            self.session = payload["d"]["session_id"].as_str().unwrap().to_owned();
            self.resume_url = payload["d"]["resume_gateway_url"].as_str().unwrap().to_owned();
        }
        payload
    }

    /// The data of the next payload, which has to be this event.
    pub async fn dispatch(&mut self, name: &str) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["t"], name, "{payload}");
        payload["d"].clone()
    }

    /// The next payload, which has to have this opcode.
    pub async fn op(&mut self, op: u8) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["op"], op, "{payload}");
        payload["d"].clone()
    }

    /// How the connection ends; nothing else may come before.
    pub async fn closed(&mut self) -> Option<u16> {
        match self.next().await {
            Got::Closed(code) => code,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// Cuts the connection as a crash would.
    pub fn vanish(self) -> (String, u64) {
        (self.session, self.seq)
    }

    /// Closes with a code.
    pub async fn close(mut self, code: u16) {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.socket.close(Some(frame)).await.unwrap();
        while self.socket.next().await.is_some_and(|next| next.is_ok()) {}
    }
}

/// IDENTIFY.
pub fn identify(token: &str, intents: u64, shard: Option<(u32, u32)>) -> Value {
    let properties = json!({ "os": "linux", "browser": "test", "device": "test" });
    let mut data = json!({ "token": token, "intents": intents, "properties": properties });
    if let Some(shard) = shard {
        data["shard"] = json!(shard);
    }
    json!({ "op": 2, "d": data })
}
