//! A little Discord bot on the raw wire, for the tests of the page and of the control API.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

const WITHIN: Duration = Duration::from_secs(15);
/// Guilds, guild messages, message content.
const INTENTS: u64 = 1 | (1 << 9) | (1 << 15);

/// Connected and ready.
pub struct Bot {
    gateway: WebSocketStream<MaybeTlsStream<TcpStream>>,
    http: reqwest::Client,
    api: String,
    application: String,
    guild: String,
}

/// A client for plain HTTP; the crypto provider is needed to make one at all.
pub fn http_client() -> reqwest::Client {
    // An error only says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Bot {
    /// Logs in and waits for its guild.
    pub async fn connect(base: &str) -> Self {
        let url = format!("{}/gateway?v=10&encoding=json", base.replacen("http", "ws", 1));
        let (gateway, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let (api, http) = (format!("{base}/api/v10"), http_client());
        let mut bot = Self { gateway, http, api, application: String::new(), guild: String::new() };
        let identify = json!({ "op": 2, "d": {
            "token": "sandbox-token", "intents": INTENTS,
            "properties": { "os": "linux", "browser": "test", "device": "test" } } });
        bot.gateway.send(Message::text(identify.to_string())).await.unwrap();
        let ready = bot.event("READY").await;
        bot.application = ready["application"]["id"].as_str().unwrap().to_owned();
        bot.guild = bot.event("GUILD_CREATE").await["id"].as_str().unwrap().to_owned();
        bot
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        let seen = async {
            loop {
                let frame = self.gateway.next().await.unwrap().unwrap();
                let Message::Text(text) = frame else { continue };
                let mut frame: Value = serde_json::from_str(&text).unwrap();
                if frame["t"] == name {
                    return frame["d"].take();
                }
            }
        };
        tokio::time::timeout(WITHIN, seen).await.unwrap_or_else(|_| panic!("no {name} came"))
    }

    /// The next message of a person.
    pub async fn message(&mut self) -> Value {
        loop {
            let message = self.event("MESSAGE_CREATE").await;
            if message["author"]["bot"] != true {
                return message;
            }
        }
    }

    /// Answers a message.
    pub async fn reply(&self, to: &Value, mut body: Value) -> Value {
        body["message_reference"] = json!({ "message_id": to["id"] });
        self.request("POST", &format!("/channels/{}/messages", to["channel_id"].as_str().unwrap()), body)
            .await
    }

    /// Answers an interaction.
    pub async fn respond(&self, to: &Value, body: Value) {
        let path = format!(
            "/interactions/{}/{}/callback",
            to["id"].as_str().unwrap(),
            to["token"].as_str().unwrap()
        );
        self.request("POST", &path, body).await;
    }

    /// Edits the answer of an interaction.
    pub async fn edit_original(&self, of: &Value, body: Value) {
        let token = of["token"].as_str().unwrap();
        let path = format!("/webhooks/{}/{token}/messages/@original", self.application);
        self.request("PATCH", &path, body).await;
    }

    /// Registers slash commands in its guild.
    pub async fn register(&self, commands: Value) {
        let path = format!("/applications/{}/guilds/{}/commands", self.application, self.guild);
        self.request("PUT", &path, commands).await;
    }

    /// Any request of Discord's REST API; it must succeed.
    pub async fn request(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.api))
            .header("authorization", "Bot sandbox-token")
            .json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}
