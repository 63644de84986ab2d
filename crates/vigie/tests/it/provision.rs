//! A NATS of somebody else's that forgets its streams gets them again.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bus::Bus;
use tempfile::TempDir;

use crate::folder::{Folder, nats_server, runs, signal, wait_until_gone};

/// Longer than anything here takes, on a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A NATS that has nothing after each start.
struct Forgetful {
    port: u16,
    running: Option<(Child, TempDir)>,
}

impl Forgetful {
    fn start() -> Self {
        let mut nats = Self { port: testkit::free_port(), running: None };
        nats.restart();
        nats
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        self.end();
        let store = TempDir::new().unwrap();
        let server = nats_server();
        let port = self.port.to_string();
        let child = Command::new(server)
            .args(["-js", "-a", "127.0.0.1", "-p", &port, "-sd"])
            .arg(store.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some((child, store));
    }

    fn end(&mut self) {
        if let Some((mut child, _store)) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    async fn connect(&self) -> Bus {
        Bus::connect(bus::Options { url: self.url(), name: "test".to_owned() }).await.unwrap()
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until everything is there, the buckets last.
async fn wait_for_buckets(bus: &Bus) {
    testkit::eventually(PATIENCE, || bus.bucket(bus::BucketName::Settings)).await;
    assert_eq!(bus::backlogs(bus).await.len(), 5);
}

#[tokio::test]
async fn provision_that_stays_creates_everything_again_and_ends_when_asked() {
    let (folder, mut nats) = (Folder::new(), Forgetful::start());
    let check = |nats: &Forgetful| {
        let told = folder.vigie(&["provision", "--check"]).env("NATS_URL", nats.url()).output().unwrap();
        (told.status.code(), String::from_utf8(told.stderr).unwrap())
    };
    let bus = nats.connect().await;
    let (code, said) = check(&nats);
    assert_eq!(code, Some(1));
    assert!(said.contains("lacks EVENTS, ") && said.contains("run `vigie provision`"), "{said}");

    let mut staying = folder
        .vigie(&["provision", "--stay"])
        .envs([("NATS_URL", nats.url()), ("NATS_STORAGE", "memory".to_owned())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(staying.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert!(line.contains("holds what Vigie needs, in memory"), "{line}");
    assert_eq!(check(&nats).0, Some(0));

    nats.restart();
    wait_for_buckets(&bus).await;
    signal(staying.id(), "TERM");
    assert!(staying.wait().unwrap().success());
}

#[tokio::test]
async fn up_creates_everything_again_in_a_nats_that_is_not_its_own() {
    let (folder, mut nats) = (Folder::new(), Forgetful::start());
    let bus = nats.connect().await;
    let url = folder.path().join("nats.url");
    fs::write(&url, nats.url()).unwrap();
    // The services are told the URL itself, which they would refuse beside the file.
    let accounts = [("DISCORD_TOKEN", "secret-d"), ("TWITCH_OAUTH_TOKEN", "secret-t")];
    let mut variables = vec![("NATS_URL_FILE", url.to_str().unwrap())];
    variables.extend(accounts);
    let mut up = folder.up(&[], &variables);
    let pids = up.ready();
    wait_for_buckets(&bus).await;

    let knows = |part: &str, secret: &str| {
        let told = fs::read(format!("/proc/{}/environ", up.pid_of(part))).unwrap();
        String::from_utf8_lossy(&told).contains(secret)
    };
    let known = ["command-worker-1", "discord-gateway", "twitch-gateway"]
        .map(|part| (knows(part, "secret-d"), knows(part, "secret-t")));
    assert_eq!(known, [(false, false), (true, false), (false, true)]);

    nats.restart();
    wait_for_buckets(&bus).await;
    assert!(pids.iter().all(|pid| runs(*pid)));
    signal(up.pid(), "TERM");
    assert!(up.ended().success());
    wait_until_gone(&pids);
}
