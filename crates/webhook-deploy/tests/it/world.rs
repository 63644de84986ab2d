//! A NATS server, a deployer that only answers, the service, and forges that deliver to it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bus::Bus;
use protocol::{
    VERSION,
    control::{DeployAnswer, DeployOrder, DeployReply, DeployRequest},
};
use ring::hmac;
use service::{Context, Settings};
use testkit::{Nats, eventually, free_port};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use webhook_deploy::{Config, SETTINGS};

/// Longer than anything takes.
pub const SOON: Duration = Duration::from_secs(20);
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const GITEA_SECRET: &str = "fedcba9876543210fedcba9876543210";
pub const GITLAB_SECRET: &str = "a-token-of-gitlab-that-is-long-enough";
/// The key behind the signing token below.
pub const SIGNING_KEY: [u8; 32] = [7; 32];
pub const SIGNING_TOKEN: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
pub const COMMIT: &str = "bffeb74224043ba2feb48d137756c8a9331c449a";

pub const HOOKS: &str = r#"
[github]
forge = "github"
repository = "ines/vigie"
branch = "main"
secret_file = "github.secret"

[near]
forge = "github"
repository = "ines/vigie"
branch = "main"
secret_file = "near.secret"
networks = ["192.0.2.0/24"]

[gitea]
forge = "gitea"
repository = "ines/vigie"
branch = "main"
secret_file = "gitea.secret"

[forgejo]
forge = "forgejo"
repository = "ines/vigie"
branch = "main"
secret_file = "forgejo.secret"

[gitlab]
forge = "gitlab"
repository = "ines/vigie"
branch = "main"
secret_file = "gitlab.secret"

[signed]
forge = "gitlab-signed"
repository = "ines/vigie"
branch = "main"
secret_file = "signed.secret"

[ci]
forge = "ci"
secret_file = "ci.secret"
"#;

pub struct World {
    pub nats: Nats,
    pub bus: Bus,
    pub folder: tempfile::TempDir,
}

/// The service at work.
pub struct Serving {
    pub context: Context,
    pub address: SocketAddr,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A deployer of which only the answers are there.
pub struct Deployer {
    pub heard: Arc<Mutex<Vec<DeployRequest>>>,
    task: JoinHandle<()>,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl World {
    pub async fn start() -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        Self::of(nats, bus)
    }

    pub fn of(nats: Nats, bus: Bus) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let near = "n".repeat(32);
        let forgejo = "f".repeat(32);
        let ci = "c".repeat(32);
        for (name, text) in [
            ("hooks.toml", HOOKS),
            ("github.secret", SECRET),
            ("near.secret", &near),
            ("gitea.secret", GITEA_SECRET),
            ("forgejo.secret", &forgejo),
            ("gitlab.secret", GITLAB_SECRET),
            ("signed.secret", SIGNING_TOKEN),
            ("ci.secret", &ci),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { nats, bus, folder }
    }

    pub fn config(&self, more: &[(&str, &str)]) -> Config {
        let mut variables: HashMap<String, String> = HashMap::new();
        let hooks = self.folder.path().join("hooks.toml");
        variables.insert("WEBHOOK_HOOKS_FILE".to_owned(), hooks.to_str().unwrap().to_owned());
        variables.insert("WEBHOOK_ADDR".to_owned(), format!("127.0.0.1:{}", free_port()));
        variables.insert("NATS_URL".to_owned(), self.nats.url());
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut settings = Settings::from_variables(&[SETTINGS], variables);
        let config = Config::read(&mut settings);
        assert_eq!(settings.problems(), []);
        config
    }

    pub async fn serve(&self) -> Serving {
        self.serve_with(self.config(&[])).await
    }

    pub async fn serve_with(&self, config: Config) -> Serving {
        let mut context = Context::new("webhook-deploy");
        context.instance = "webhook-1".to_owned();
        let address = config.address;
        let task = tokio::spawn(webhook_deploy::run(context.clone(), config));
        let serving = Serving { context, address, task };
        eventually(SOON, || async {
            let ready = serving.context.health.readiness();
            // Of a service whose hooks are not there yet only the link is known.
            if ready.ready && TcpStream::connect(address).await.is_ok() { Ok(()) } else { Err(ready) }
        })
        .await;
        serving
    }

    /// One that takes all it is told.
    pub async fn deployer(&self) -> Deployer {
        Deployer::start(&self.bus, |_| Some(DeployReply::Accepted { job: "job-1".to_owned() })).await
    }
}

impl Deployer {
    /// `None` is silence.
    pub async fn start(
        bus: &Bus,
        answer: impl Fn(&DeployRequest) -> Option<DeployReply> + Send + 'static,
    ) -> Self {
        let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
        bus.round_trip().await;
        let heard: Arc<Mutex<Vec<DeployRequest>>> = Arc::default();
        let all = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(ordered) = orders.next().await {
                all.lock().unwrap().push(ordered.order.clone());
                if let Some(reply) = answer(&ordered.order) {
                    ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
                }
            }
        });
        Self { heard, task }
    }

    /// By whom, and of which commit.
    pub fn heard(&self) -> Vec<(String, Option<String>)> {
        let of = |request: &DeployRequest| match &request.order {
            DeployOrder::Request { commit, force: false } => (request.by.clone(), commit.clone()),
            other => panic!("{other:?}"),
        };
        self.heard.lock().unwrap().iter().map(of).collect()
    }

    pub async fn stop(self, bus: &Bus) {
        self.task.abort();
        let _ = self.task.await;
        bus.round_trip().await;
    }
}

impl Serving {
    pub async fn send(&self, request: &[u8]) -> Reply {
        send(self.address, request).await
    }

    /// A number of `/metrics`.
    pub fn number(&self, name: &str) -> f64 {
        self.context.metrics.snapshot().get(name).copied().unwrap_or_default()
    }

    pub async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Waits until it ended by itself.
    pub async fn ended(self) {
        timeout(SOON, self.task).await.expect("it ends").unwrap().unwrap();
    }
}

/// Sends it, and reads all that comes.
pub async fn send(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read(&mut stream).await
}

/// Reads all that comes. Status 0 is the end without an answer.
pub async fn read(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("it is answered or closed");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A request as it is on the wire.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: bot.example.org\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub fn push(commit: &str) -> String {
    format!(r#"{{"ref":"refs/heads/main","after":"{commit}","repository":{{"full_name":"ines/vigie"}}}}"#)
}

pub fn hex(key: &[u8], signed: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id that was not used before.
pub fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("72d3162e-cc78-11e3-81ab-{:012}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A commit that was not used before.
pub fn fresh_commit() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:040x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A delivery of GitHub as it is on the wire, with more headers.
pub fn github(hook: &str, secret: &str, event: &str, body: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let signature = format!("sha256={}", hex(secret.as_bytes(), body.as_bytes()));
    let id = fresh();
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("User-Agent", "GitHub-Hookshot/044aadd"),
        ("X-GitHub-Event", event),
        ("X-GitHub-Delivery", &id),
        ("X-Hub-Signature-256", &signature),
    ];
    headers.extend(more);
    request("POST", &format!("/hooks/{hook}"), &headers, body.as_bytes())
}
