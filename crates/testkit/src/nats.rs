//! A real nats-server as a child of the test, that can be stopped and started again.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bus::{Bus, Login, Nkey, Options, Storage, User, access};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::wait::{eventually, free_port};

/// A server of this test alone, on a free port, with its own folder.
#[derive(Debug)]
pub struct Nats {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// Whether it was provisioned; then it is again when it is started again, as a supervisor does.
    provisioned: AtomicBool,
    /// A key for each user; without any, nobody is asked who they are.
    keys: BTreeMap<User, Nkey>,
    /// What is added to its configuration.
    more: String,
}

impl Nats {
    /// Starts one, with nothing in it.
    ///
    /// # Panics
    /// When there is no nats-server: `cargo xtask nats` fetches it.
    pub async fn start() -> Self {
        Self::start_with(BTreeMap::new(), String::new()).await
    }

    /// Starts one that lets in nobody but the users of [`access`], each with what it is granted.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_secured() -> Self {
        let key = |user| (user, Nkey::generate().expect("a key"));
        Self::start_with(User::ALL.into_iter().map(key).collect(), String::new()).await
    }

    /// Starts one with more in its configuration.
    ///
    /// # Panics
    /// As [`start`](Self::start), and when the server does not take the configuration.
    pub async fn start_with(keys: BTreeMap<User, Nkey>, more: String) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let provisioned = AtomicBool::new(false);
        let mut nats = Self { folder, port: free_port(), child: None, provisioned, keys, more };
        nats.resume().await;
        nats
    }

    /// As whom to connect.
    ///
    /// # Panics
    /// When the user has no key here.
    #[must_use]
    pub fn login(&self, user: User) -> Login {
        let nkey = Some(self.keys.get(&user).expect("the server has users").seed().clone());
        Login { user, nkey, ca_file: None }
    }

    /// The seed of a user's key, for a process.
    ///
    /// # Panics
    /// As [`login`](Self::login).
    #[must_use]
    pub fn seed(&self, user: User) -> String {
        self.login(user).nkey.expect("the server has users").expose_secret().to_owned()
    }

    /// A connection as one of the users.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn bus_as(&self, user: User, name: &str) -> Bus {
        let options = Options { url: self.url(), name: name.to_owned() };
        Bus::connect_as(&self.login(user), options).await.expect("the server lets the user in")
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A connection, with all streams, consumers and buckets in place. Where the server has users, it is that
    /// of the one who makes them.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn bus(&self, name: &str) -> Bus {
        let bus = if self.keys.is_empty() {
            let options = Options { url: self.url(), name: name.to_owned() };
            Bus::connect(options).await.expect("the server answers")
        } else {
            self.bus_as(User::Provision, name).await
        };
        bus::provision(&bus, Storage::File).await.expect("streams can be created");
        self.provisioned.store(true, Ordering::Relaxed);
        bus
    }

    /// Kills it (`SIGKILL`), as a power cut would, but for the disk.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server ends");
        }
    }

    /// Starts it again on the same port with the same folder.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn resume(&mut self) {
        let config = self.folder.path().join("nats.conf");
        std::fs::write(&config, self.config()).expect("the configuration can be written");
        let log = std::fs::File::create(self.folder.path().join("nats.log")).expect("a log file");
        let child = Command::new(server())
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts: `cargo xtask nats` fetches it");
        self.child = Some(child);
        let port = self.port;
        eventually(Duration::from_secs(10), || tokio::net::TcpStream::connect(("127.0.0.1", port))).await;
        if self.provisioned.load(Ordering::Relaxed) {
            self.bus("provision").await.drain().await;
        }
    }

    /// The server's process id, for signals; `None` while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn config(&self) -> String {
        let public = self.keys.iter().map(|(user, key)| (*user, key.public().to_owned())).collect();
        let users = if self.keys.is_empty() { String::new() } else { access::render(&public) };
        format!(
            "listen: \"127.0.0.1:{}\"\nmax_payload: 256KB\njetstream {{ store_dir: {:?}, \
             max_memory_store: 64MB, max_file_store: 1GB, sync_interval: \"1s\" }}\n{users}{}",
            self.port,
            self.folder.path().join("jetstream"),
            self.more,
        )
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `NATS_SERVER`, else the one that `cargo xtask nats` fetched, else the one on `PATH`.
fn server() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return path.into();
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    if fetched.is_file() { fetched } else { "nats-server".into() }
}
