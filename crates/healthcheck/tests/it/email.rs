//! E-mail, to a real SMTP receiver.

use std::sync::{Arc, Mutex};

use healthcheck::Addresses;
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::world::{SOON, World};

/// A server that takes every e-mail (RFC 5321), without TLS.
struct Mailbox {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Mailbox {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = lines.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, taken.clone()));
            }
        });
        Self { port, lines, task }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, taken: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 here\r\n").await.unwrap();
    let mut in_message = false;
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
        let said = std::mem::take(&mut line).trim_end().to_owned();
        taken.lock().unwrap().push(said.clone());
        let answer = match (in_message, said.split(' ').next().unwrap_or_default()) {
            (false, "RCPT") if said.contains("<nobody@") => "550 there is no such mailbox",
            (true, ".") => "250 taken",
            (true, _) => continue,
            (false, "DATA") => "354 go on",
            (false, "QUIT") => "221 bye",
            (false, _) => "250 fine",
        };
        in_message = answer.starts_with("354");
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_email_says_what_is_wrong() {
    let world = World::start().await;
    let mut services = world.services().await;
    let mailbox = Mailbox::start().await;
    let mut config = world.config();
    config.email = Some(Addresses {
        server: format!("smtp://127.0.0.1:{}", mailbox.port).into(),
        from: "bot@example.org".parse().unwrap(),
        // One of them is gone, which once silenced all of them for good.
        to: ["ines@example.org", "nobody@example.org", "leo@example.org"]
            .map(|to| to.parse().unwrap())
            .into(),
    });
    let watching = world.watch(config);
    watching.is("healthy").await;
    // The test sends nothing.
    world.keeps("\"tested_ms\":1").await;
    assert!(mailbox.lines().iter().any(|line| line == "NOOP"), "{:?}", mailbox.lines());
    services[0].vanish();
    eventually(SOON, || async {
        let lines = mailbox.lines();
        if lines.iter().filter(|line| *line == ".").count() == 2 { Ok(()) } else { Err(lines) }
    })
    .await;
    let lines = mailbox.lines();
    let has = |wanted: &str| lines.iter().any(|line| line.contains(wanted));
    assert!(has("MAIL FROM:<bot@example.org>") && has("RCPT TO:<ines@example.org>"), "{lines:?}");
    assert!(has("RCPT TO:<leo@example.org>"), "{lines:?}");
    assert!(has("Subject: Vigie: 1 thing wrong"), "{lines:?}");
    watching.counts("vigie_health_told_total{channel=\"email\"} 1").await;
    watching.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_of() {
    let world = World::start().await;
    let _services = world.services().await;
    let mut config = world.config();
    config.email = Some(Addresses {
        server: format!("smtp://127.0.0.1:{}", testkit::free_port()).into(),
        from: "bot@example.org".parse().unwrap(),
        to: vec!["ines@example.org".parse().unwrap()],
    });
    let watching = world.watch(config);
    assert_eq!(watching.is("degraded").await, "degraded: email: people cannot be told\n");
    watching.stop().await;
}
