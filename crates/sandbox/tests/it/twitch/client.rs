//! A bare IRC client, an HTTP client and a running sandbox, for the tests beside.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use sandbox::{Sandbox, people::Person, twitch};
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(30);

/// The bot's capabilities as most bots ask for them.
pub const CAPS: &str = "CAP REQ :twitch.tv/tags twitch.tv/commands";

pub async fn start() -> Sandbox {
    start_with(twitch::Options::default()).await
}

pub async fn start_with(twitch: twitch::Options) -> Sandbox {
    Sandbox::start(sandbox::Options { twitch, ..Default::default() }).await.unwrap()
}

/// Options under which tests need not wait for what takes Twitch seconds.
pub fn without_limits() -> twitch::Options {
    twitch::Options { limits: twitch::Limits::none(), ..Default::default() }
}

pub struct Irc {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    writer: Box<dyn AsyncWrite + Unpin + Send>,
    markers: u32,
}

impl Irc {
    pub async fn connect(address: SocketAddr) -> Self {
        let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
        Self::over(reader, writer)
    }

    pub fn over(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        Self { reader: Box::new(BufReader::new(reader)), writer: Box::new(writer), markers: 0 }
    }

    /// The demo's bot, logged in with tags and commands.
    pub async fn bot(sandbox: &Sandbox) -> Self {
        let mut irc = Self::connect(sandbox.irc_addr()).await;
        irc.login("vigie_bot", "oauth:sandbox-token").await;
        irc
    }

    /// The same, sitting in a channel.
    pub async fn bot_in(sandbox: &Sandbox, channel: &str) -> Self {
        let mut irc = Self::bot(sandbox).await;
        irc.join(channel).await;
        irc
    }

    pub async fn login(&mut self, nick: &str, pass: &str) {
        self.send(CAPS).await;
        self.send(&format!("PASS {pass}")).await;
        self.send(&format!("NICK {nick}")).await;
        self.expect(" 376 ").await;
    }

    pub async fn join(&mut self, channel: &str) {
        self.send(&format!("JOIN #{channel}")).await;
        self.expect(&format!("ROOMSTATE #{channel}")).await;
    }

    pub async fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
        self.writer.flush().await.unwrap();
    }

    /// The next line; `None` when the connection ended.
    pub async fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(SOON, self.reader.read_until(b'\n', &mut bytes)).await;
        match read.expect("no line came in time") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        }
    }

    /// Reads up to the first line that contains `part`.
    pub async fn expect(&mut self, part: &str) -> String {
        let (since, mut seen) = (Instant::now(), Vec::new());
        while since.elapsed() < SOON {
            match tokio::time::timeout(SOON, self.line()).await {
                Ok(Some(line)) if line.contains(part) => return line,
                Ok(Some(line)) => seen.push(line),
                Ok(None) => panic!("the connection ended before {part:?}; seen: {seen:#?}"),
                Err(_) => break,
            }
        }
        panic!("no {part:?} in time; seen: {seen:#?}")
    }

    /// Every line that the server had for this client up to now.
    pub async fn so_far(&mut self) -> Vec<String> {
        self.markers += 1;
        let marker = format!("marker-{}", self.markers);
        self.send(&format!("PING :{marker}")).await;
        let mut seen = Vec::new();
        loop {
            let line = self.line().await.expect("the connection ended");
            if line.ends_with(&marker) {
                return seen;
            }
            seen.push(line);
        }
    }

    /// Reads to the end of the connection.
    pub async fn until_end(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(line) = self.line().await {
            seen.push(line);
        }
        seen
    }
}

/// The value of a tag of a received line.
pub fn tag(line: &str, key: &str) -> Option<String> {
    let tags = line.strip_prefix('@')?.split_once(' ')?.0;
    let value = tags.split(';').find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.replace("\\s", " ").replace("\\:", ";"))
}

/// An HTTP client with the demo's credentials.
pub struct Http {
    base: String,
    client: reqwest::Client,
}

/// Status, rate limit headers and body.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Http {
    pub fn new(sandbox: &Sandbox) -> Self {
        // Another test of this process may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: sandbox.http_url(), client }
    }

    pub async fn helix(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}/helix/{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .header("client-id", "sandbox-client");
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    pub async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        answer(self.client.post(format!("{}{path}", self.base)).form(form)).await
    }

    /// An app access token.
    pub async fn app_token(&self) -> String {
        let form = [
            ("client_id", "sandbox-client"),
            ("client_secret", "sandbox-secret"),
            ("grant_type", "client_credentials"),
        ];
        self.post_form("/oauth2/token", &form).await.body["access_token"].as_str().unwrap().to_owned()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

/// Says something as a viewer and returns the message id.
pub fn say(sandbox: &Sandbox, channel: &str, text: &str) -> String {
    sandbox.twitch().say(Person::Ines, channel, text).unwrap()
}
