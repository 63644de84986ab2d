//! A real nats-server as a child of the test, that can be stopped and started again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bus::{Bus, Options, Storage};
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
}

impl Nats {
    /// Starts one, with nothing in it.
    ///
    /// # Panics
    /// When there is no nats-server: `cargo xtask nats` fetches it.
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut nats = Self { folder, port: free_port(), child: None, provisioned: AtomicBool::new(false) };
        nats.resume().await;
        nats
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

    /// A connection, with all streams, consumers and buckets in place.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn bus(&self, name: &str) -> Bus {
        let options = Options { url: self.url(), name: name.to_owned() };
        let bus = Bus::connect(options).await.expect("the server answers");
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
        format!(
            "listen: \"127.0.0.1:{}\"\nmax_payload: 256KB\njetstream {{ store_dir: {:?}, \
             max_memory_store: 64MB, max_file_store: 1GB, sync_interval: \"1s\" }}\n",
            self.port,
            self.folder.path().join("jetstream")
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
