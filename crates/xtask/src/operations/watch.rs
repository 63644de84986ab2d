//! Who is told by the health check: a webhook that notes when which message came, and a reader of its status.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::site::POLL;
use crate::http;

/// A message of the health check is at most this long, in bytes.
const MESSAGE_MAX: u64 = 256 * 1024;
/// How long anything may take that is to be noticed.
const LIMIT: Duration = Duration::from_secs(240);

/// What was noticed, and when.
#[derive(Debug, Default)]
struct Noted {
    messages: Vec<(Instant, Value)>,
    /// Whether it said that the bot works: each change of that.
    status: Vec<(Instant, bool)>,
}

impl Noted {
    fn says(&mut self, works: bool) {
        if self.status.last().is_none_or(|(_, before)| *before != works) {
            self.status.push((Instant::now(), works));
        }
    }
}

/// One health check, watched.
#[derive(Debug)]
pub struct Watch {
    noted: Arc<Mutex<Noted>>,
    /// Where messages are to be sent to.
    pub webhook: String,
    /// They end with this.
    tasks: JoinSet<()>,
}

impl Watch {
    /// Takes messages.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let noted = Arc::<Mutex<Noted>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let webhook = format!("http://{}/", listener.local_addr()?);
        let told = noted.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(message) = receive(stream).await {
                    lock(&told).messages.push((Instant::now(), message));
                }
            }
        });
        Ok(Self { noted, webhook, tasks })
    }

    /// Reads the status at `url` from now on.
    pub fn read(&mut self, url: &str) {
        let (noted, url) = (self.noted.clone(), url.to_owned());
        self.tasks.spawn(async move {
            loop {
                let works = http::get(&url, "/status", Duration::from_secs(2)).await.is_ok();
                lock(&noted).says(works);
                sleep(POLL).await;
            }
        });
    }

    /// From `since` until the message came that `rule` is broken, at this level.
    ///
    /// # Errors
    /// When it did not come in time.
    pub async fn told(&self, since: Instant, rule: &str, level: &str) -> anyhow::Result<Duration> {
        let wrong = |one: &Value| one["rule"] == rule && one["level"] == level;
        self.message(since, "wrong", wrong).await.with_context(|| format!("{rule} was not told"))
    }

    /// From `since` until the message came that it is over.
    ///
    /// # Errors
    /// When it did not come in time.
    pub async fn over(&self, since: Instant, rule: &str) -> anyhow::Result<Duration> {
        let over = |one: &Value| one["rule"] == rule;
        self.message(since, "over", over).await.with_context(|| format!("the end of {rule} was not told"))
    }

    async fn message(
        &self,
        since: Instant,
        list: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Duration> {
        self.until(|noted| {
            let later = noted.messages.iter().filter(|(at, _)| *at >= since);
            let holds = |message: &Value| message[list].as_array().into_iter().flatten().any(&wanted);
            later.filter(|(_, message)| holds(message)).map(|(at, _)| *at - since).next()
        })
        .await
    }

    /// From `since` until the status said that the bot works, or that it does not.
    ///
    /// # Errors
    /// When it did not in time.
    pub async fn says(&self, since: Instant, works: bool) -> anyhow::Result<Duration> {
        let said = self.until(|noted| {
            let later = noted.status.iter().filter(|(at, _)| *at >= since);
            later.filter(|(_, now)| *now == works).map(|(at, _)| *at - since).next()
        });
        said.await.with_context(|| format!("/status did not become {works}"))
    }

    /// Waits until the bot works.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn works(&self) -> anyhow::Result<()> {
        let works = self.until(|noted| noted.status.last().is_some_and(|(_, works)| *works).then_some(()));
        works.await.context("it did not become healthy")
    }

    async fn until<T>(&self, look: impl Fn(&Noted) -> Option<T>) -> anyhow::Result<T> {
        let found = async {
            loop {
                if let Some(found) = look(&lock(&self.noted)) {
                    return found;
                }
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, found).await.with_context(|| format!("not within {} s", LIMIT.as_secs()))
    }
}

fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one request with JSON, and says that it came.
async fn receive(stream: TcpStream) -> anyhow::Result<Value> {
    let mut stream = BufReader::new(stream.take(MESSAGE_MAX));
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse()?;
        }
    }
    let mut body = Vec::new();
    (&mut stream).take(length).read_to_end(&mut body).await?;
    let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    stream.into_inner().into_inner().write_all(answer).await?;
    Ok(serde_json::from_slice(&body)?)
}
