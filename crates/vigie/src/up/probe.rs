//! Looking whether a part works.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{nats::ExternalNats, part::Readiness, ports};

/// A part that works answers within this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It works; the text is a note such as "off: no token", mostly empty.
    Ready(String),
    /// It says why it does not.
    NotReady(String),
    /// It says why it does not, and never will until it is started again.
    Broken(String),
    /// It says nothing.
    Silent,
}

/// Looks at one process of a part.
pub(crate) enum Probe {
    /// NATS, which is provisioned when it answers for the first time.
    Nats {
        /// Where, and how its streams are kept.
        server: ExternalNats,
        /// Where it says how it is.
        monitor: String,
        /// Whether it has been provisioned since it started.
        provisioned: bool,
    },
    /// `/readyz`.
    Http {
        /// Host and port.
        address: String,
    },
}

impl Probe {
    /// For a process that is about to start.
    ///
    /// # Errors
    /// When it needs a free port and there is none.
    pub(crate) fn new(readiness: &Readiness) -> anyhow::Result<Self> {
        Ok(match readiness {
            Readiness::Nats { url, monitor, keeping } => Self::Nats {
                server: ExternalNats { url: url.clone(), keeping: *keeping },
                monitor: monitor.clone(),
                provisioned: false,
            },
            Readiness::Http { address } => Self::Http { address: address.clone() },
            Readiness::OwnHttp => Self::Http { address: ports::free_address()? },
        })
    }

    /// Where the process answers.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Nats { server, .. } => server.url.clone(),
            Self::Http { address } => format!("http://{address}"),
        }
    }

    /// What the process is told about where to answer.
    pub(crate) fn address(&self) -> Option<&str> {
        match self {
            Self::Nats { .. } => None,
            Self::Http { address } => Some(address),
        }
    }

    /// Looks once.
    pub(crate) async fn look(&mut self) -> Answer {
        match self {
            Self::Http { address } => {
                let answer = timeout(PATIENCE, get(address, "/readyz")).await;
                answer.ok().flatten().and_then(|answer| read(&answer)).unwrap_or(Answer::Silent)
            }
            Self::Nats { server, monitor, provisioned } => {
                let address = server.url.trim_start_matches("nats://");
                if !timeout(PATIENCE, greets(address)).await.unwrap_or(false) {
                    return Answer::Silent;
                }
                let health = timeout(PATIENCE, get(monitor, "/healthz")).await.ok().flatten();
                let health = health.map_or(Answer::Silent, |health| of_nats(&health));
                if !*provisioned && matches!(health, Answer::Ready(_)) {
                    if let Err(reason) = server.provision().await {
                        return Answer::NotReady(format!("{reason:#}"));
                    }
                    *provisioned = true;
                }
                health
            }
        }
    }
}

/// NATS speaks first: `INFO {...}`.
async fn greets(address: &str) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let mut greeting = Vec::new();
    let read = BufReader::new(stream).take(MAX_ANSWER_BYTES).read_until(b' ', &mut greeting).await;
    read.is_ok() && greeting == b"INFO "
}

async fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// A server whose disk was full stores nothing until it is started again, also when there is room again.
fn of_nats(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match (head.starts_with("HTTP/1.1 200"), body.contains("write error")) {
        (true, _) => Answer::Ready(String::new()),
        (false, true) if body.contains("no space left") => Answer::Broken("its disk was full".to_owned()),
        (false, true) => Answer::Broken("it cannot write to its disk".to_owned()),
        (false, false) => Answer::NotReady(body.trim().to_owned()),
    }
}

/// 200 is ready, with a note in brackets when a platform is off; anything else says why not.
fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body = body.trim();
    if head.starts_with("HTTP/1.1 200") {
        let note = body.strip_prefix("ready (").and_then(|rest| rest.strip_suffix(')'));
        return Some(Answer::Ready(note.unwrap_or_default().to_owned()));
    }
    Some(Answer::NotReady(body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn a_service_is_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").unwrap();
        });
        let mut probe = Probe::Http { address };
        assert_eq!(probe.look().await, Answer::Ready(String::new()));
    }

    #[test]
    fn nats_that_cannot_write_any_more_is_told_from_nats_that_starts() {
        let unavailable = |error: &str| {
            of_nats(&format!(
                "HTTP/1.1 503 Service Unavailable\r\n\r\n{{\"status\":\"unavailable\",\"error\":\"{error}\"}}"
            ))
        };
        assert_eq!(of_nats("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}"), Answer::Ready(String::new()));
        let full = "JetStream stream 'EVENTS' write error: write 1.blk: no space left on device";
        assert_eq!(unavailable(full), Answer::Broken("its disk was full".to_owned()));
        let read_only = "JetStream stream 'EVENTS' write error: write 1.blk: read-only file system";
        assert_eq!(unavailable(read_only), Answer::Broken("it cannot write to its disk".to_owned()));
        assert!(matches!(unavailable("JetStream is not ready"), Answer::NotReady(_)));
    }

    #[test]
    fn an_answer_is_read_with_its_note() {
        let ok = |body: &str| read(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}\n"));
        assert_eq!(ok("ready"), Some(Answer::Ready(String::new())));
        assert_eq!(ok("ready (discord: no token)"), Some(Answer::Ready("discord: no token".to_owned())));
        let not = read("HTTP/1.1 503 Service Unavailable\r\n\r\nnats: starting\n");
        assert_eq!(not, Some(Answer::NotReady("nats: starting".to_owned())));
        assert_eq!(read("HTTP/1.1"), None);
    }
}
