//! A real SMTP receiver (RFC 5321), with or without TLS.

use std::sync::{Arc, Mutex};

use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::world::SOON;

/// A server that takes every e-mail, but for nobody's, and every login.
pub struct Mailbox {
    pub port: u16,
    shared: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    lines: Vec<String>,
    is_full: bool,
    lets_nobody_in: bool,
}

impl Mailbox {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Speaks TLS from the first byte, where it is given how.
    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Inner::default()));
        let taken = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, taken) = (tls.clone(), taken.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, taken).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, taken).await,
                            Err(error) => taken.lock().unwrap().lines.push(format!("no TLS: {error}")),
                        },
                    }
                });
            }
        });
        Self { port, shared, task }
    }

    /// Whether it has no room, for anybody.
    pub fn is_full(&self, is_full: bool) {
        self.shared.lock().unwrap().is_full = is_full;
    }

    /// No password is the right one.
    pub fn lets_nobody_in(&self) {
        self.shared.lock().unwrap().lets_nobody_in = true;
    }

    /// What it was told.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().unwrap().lines.clone()
    }

    /// How often it was told what begins so.
    pub fn count(&self, words: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(words)).count()
    }

    /// Waits until it was told so often what begins so.
    pub async fn is_told(&self, words: &str, times: usize) {
        eventually(2 * SOON, || async {
            if self.count(words) >= times { Ok(()) } else { Err(self.lines()) }
        })
        .await;
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, taken: Arc<Mutex<Inner>>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 here\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut in_message = false;
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
        let said = std::mem::take(&mut line).trim_end().to_owned();
        let answer = {
            let mut inner = taken.lock().unwrap();
            inner.lines.push(said.clone());
            match (in_message, said.split(' ').next().unwrap_or_default()) {
                (false, "EHLO") => "250-here\r\n250 AUTH PLAIN",
                (false, "AUTH") if inner.lets_nobody_in => "535 that is not your password",
                (false, "AUTH") => "235 come in",
                (false, "RCPT") if inner.is_full => "552 there is no room",
                (false, "RCPT") if said.contains("<nobody@") => "550 there is no such mailbox",
                (true, ".") => "250 taken",
                (true, _) => continue,
                (false, "DATA") => "354 go on",
                (false, "QUIT") => "221 bye",
                (false, _) => "250 fine",
            }
        };
        in_message = answer.starts_with("354");
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err()
            || stream.flush().await.is_err()
        {
            return;
        }
    }
}
