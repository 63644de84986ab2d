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
    /// It says nothing.
    Silent,
}

/// Looks at one process of a part.
pub(crate) enum Probe {
    /// NATS, which is provisioned when it answers for the first time.
    Nats {
        /// Where, and with which storage.
        server: ExternalNats,
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
            Readiness::Nats { url, storage } => Self::Nats {
                server: ExternalNats { url: url.clone(), storage: *storage },
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
                timeout(PATIENCE, readyz(address)).await.ok().flatten().unwrap_or(Answer::Silent)
            }
            Self::Nats { server, provisioned } => {
                let address = server.url.trim_start_matches("nats://");
                if !timeout(PATIENCE, greets(address)).await.unwrap_or(false) {
                    return Answer::Silent;
                }
                if !*provisioned {
                    if let Err(reason) = server.provision().await {
                        return Answer::NotReady(format!("{reason:#}"));
                    }
                    *provisioned = true;
                }
                Answer::Ready(String::new())
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

async fn readyz(address: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
    read(&String::from_utf8_lossy(&answer))
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
    fn an_answer_is_read_with_its_note() {
        let ok = |body: &str| read(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}\n"));
        assert_eq!(ok("ready"), Some(Answer::Ready(String::new())));
        assert_eq!(ok("ready (discord: no token)"), Some(Answer::Ready("discord: no token".to_owned())));
        let not = read("HTTP/1.1 503 Service Unavailable\r\n\r\nnats: starting\n");
        assert_eq!(not, Some(Answer::NotReady("nats: starting".to_owned())));
        assert_eq!(read("HTTP/1.1"), None);
    }
}
