//! A client that says just what it is told to, and hears what the server refuses: one line of the protocol
//! after the other.

use std::time::Duration;

use bus::{Nkey, User};
use nkeys::KeyPair;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use testkit::Nats;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// How long something may take to come.
const LIMIT: Duration = Duration::from_secs(10);

pub struct Raw {
    stream: BufReader<TcpStream>,
    /// What came for us: subject and payload.
    pub heard: Vec<(String, Vec<u8>)>,
    subscriptions: usize,
}

impl Raw {
    /// Connects as a user.
    pub async fn connect(nats: &Nats, user: User) -> Self {
        let login = nats.login(user);
        let seed = login.nkey.unwrap();
        let (raw, refused) = Self::greet(nats, Some(seed.expose_secret())).await;
        assert_eq!(refused, Vec::<String>::new(), "{user}");
        raw
    }

    /// Connects with any key, or with none; what the server says to that.
    pub async fn greet(nats: &Nats, seed: Option<&str>) -> (Self, Vec<String>) {
        let address = nats.url().replace("nats://", "");
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut raw = Self { stream, heard: Vec::new(), subscriptions: 0 };
        let info: Value = serde_json::from_str(raw.line().await.strip_prefix("INFO ").unwrap()).unwrap();
        let mut connect =
            json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true});
        if let Some(seed) = seed {
            let key: Nkey = seed.parse().unwrap();
            let nonce = info["nonce"].as_str().unwrap();
            let signature = KeyPair::from_seed(seed).unwrap().sign(nonce.as_bytes()).unwrap();
            connect["nkey"] = key.public().into();
            connect["sig"] =
                base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, signature).into();
        }
        let refused = raw.say(&format!("CONNECT {connect}\r\n")).await;
        (raw, refused)
    }

    /// What the server refuses of a publish.
    pub async fn publish(&mut self, subject: &str, reply: &str, payload: &str) -> Vec<String> {
        self.say(&format!("PUB {subject} {reply} {}\r\n{payload}\r\n", payload.len())).await
    }

    /// What it refuses of a subscription, which may have a group behind a space.
    pub async fn subscribe(&mut self, subject: &str) -> Vec<String> {
        self.subscriptions += 1;
        let number = self.subscriptions;
        self.say(&format!("SUB {subject} {number}\r\n")).await
    }

    /// Takes back the last subscription.
    pub async fn unsubscribe(&mut self) {
        let number = self.subscriptions;
        self.say(&format!("UNSUB {number}\r\n")).await;
    }

    /// Says something, and waits until the server has heard it; what it refuses.
    pub async fn say(&mut self, words: &str) -> Vec<String> {
        self.stream.get_mut().write_all(format!("{words}PING\r\n").as_bytes()).await.unwrap();
        let mut refused = Vec::new();
        loop {
            let line = self.line().await;
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "PONG" | "" => return refused,
                "PING" => self.stream.get_mut().write_all(b"PONG\r\n").await.unwrap(),
                "MSG" | "HMSG" => {
                    let length: usize = words.last().unwrap().parse().unwrap();
                    let mut payload = vec![0; length + 2];
                    self.stream.read_exact(&mut payload).await.unwrap();
                    payload.truncate(length);
                    self.heard.push((words[1].to_owned(), payload));
                }
                "-ERR" => refused.push(line),
                _ => {}
            }
        }
    }

    /// Waits until so many messages came.
    pub async fn until(&mut self, count: usize) {
        let came = async {
            while self.heard.len() < count {
                self.say("").await;
            }
        };
        tokio::time::timeout(LIMIT, came).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}
