//! A NATS server, services that answer, a machine made of files, and the health check.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Announcement, Bus};
use healthcheck::{Config, Pace, SETTINGS};
use protocol::{ServiceStats, VERSION};
use service::{Context, Page, Settings};
use testkit::{Nats, eventually};
use tokio::task::JoinHandle;

/// Longer than anything takes.
pub const SOON: Duration = Duration::from_secs(60);
/// Half a minute is a second and a half.
pub const PACE: Pace = Pace(20);

pub const NAMES: [&str; 3] = ["discord-gateway", "twitch-gateway", "command-worker"];

pub struct World {
    pub nats: Nats,
    pub bus: Bus,
    pub folder: tempfile::TempDir,
}

/// A service of which only the answers are there.
pub struct Fake {
    stats: Arc<Mutex<ServiceStats>>,
    announcement: Option<Announcement>,
}

/// The health check at work.
pub struct Watching {
    pub context: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn start() -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        Self::of(nats, bus)
    }

    pub fn of(nats: Nats, bus: Bus) -> Self {
        service::install_crypto();
        let world = Self { nats, bus, folder: folder() };
        world.put("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n");
        world.put("proc/loadavg", "0.25 0.20 0.10 1/100 4711\n");
        world.put("proc/uptime", "90061.5 80000.0\n");
        world.put("proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 1500000 kB\n");
        world.put("proc/diskstats", " 179 0 mmcblk0 9 9 9 9 5 5 2000 9 0 9 9\n");
        world.put("sys/block/mmcblk0/size", "62333952\n");
        world.put("sys/class/thermal/thermal_zone0/temp", "48312\n");
        world.put("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
        world
    }

    /// A file of the machine.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // In one step, so that a look sees the old or the new.
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn config(&self) -> Config {
        let mut settings = Settings::from_variables(&[SETTINGS], HashMap::new());
        let mut config = Config::read(&mut settings);
        config.nats.url = self.nats.url();
        config.data = self.data();
        config.root = self.folder.path().join("root");
        config.look_every = Duration::from_millis(200);
        config.pace = PACE;
        config
    }

    /// A service that answers from now on.
    pub async fn service(&self, name: &str) -> Fake {
        let stats = Arc::new(Mutex::new(ServiceStats {
            v: VERSION,
            service: name.to_owned(),
            instance: format!("{name}-1"),
            build: "0.1.0 (abc1234567)".to_owned(),
            uptime_s: 100,
            ready: true,
            reason: String::new(),
            resident_bytes: 10_000_000,
            metrics: BTreeMap::new(),
        }));
        let mut fake = Fake { stats, announcement: None };
        fake.resume(&self.bus).await;
        fake
    }

    pub async fn services(&self) -> Vec<Fake> {
        let mut all = Vec::new();
        for name in NAMES {
            all.push(self.service(name).await);
        }
        all
    }

    pub fn watch(&self, config: Config) -> Watching {
        let mut context = Context::new("healthcheck");
        context.instance = "health-1".to_owned();
        let task = tokio::spawn(healthcheck::run(context.clone(), config));
        Watching { context, task }
    }

    /// Waits until the file that is kept holds this.
    pub async fn keeps(&self, text: &str) {
        eventually(SOON, || async {
            let kept = std::fs::read_to_string(self.data().join("healthcheck.json")).unwrap_or_default();
            if kept.contains(text) { Ok(()) } else { Err(kept) }
        })
        .await;
    }
}

/// In memory where that is a file system of its own: the disk of this machine may itself be nearly full, which would be
/// told besides what a test is about.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Fake {
    pub async fn resume(&mut self, bus: &Bus) {
        let name = self.stats.lock().unwrap().service.clone();
        let told = self.stats.clone();
        let announced = bus.announce(&name, move || told.lock().unwrap().clone()).await.unwrap();
        bus.round_trip().await;
        self.announcement = Some(announced);
    }

    /// It is gone.
    pub fn vanish(&mut self) {
        self.announcement = None;
    }

    pub fn change(&self, change: impl FnOnce(&mut ServiceStats)) {
        change(&mut self.stats.lock().unwrap());
    }
}

impl Watching {
    pub fn page(&self, path: &str) -> Page {
        let none = Page { status: 0, content_type: "", body: String::new() };
        self.context.pages.get(path).unwrap_or(none)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.page("/health").body).unwrap_or_default()
    }

    /// Waits until `/status` begins so; gives the whole line.
    pub async fn is(&self, status: &str) -> String {
        eventually(SOON, || async {
            let page = self.page("/status");
            if page.body.starts_with(status) {
                Ok(page.body)
            } else {
                Err(format!("{}{}", page.body, self.page("/health/detailed").body))
            }
        })
        .await
    }

    /// Waits until `/metrics` has this line.
    pub async fn counts(&self, line: &str) {
        eventually(SOON, || async {
            let text = self.context.metrics.text();
            if text.lines().any(|one| one == line) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until the page for people has these words.
    pub async fn is_told_of(&self, words: &str) {
        eventually(SOON, || async {
            let text = self.page("/health/detailed").body;
            if text.contains(words) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until the page for people has this line.
    pub async fn has_line(&self, line: &str) {
        eventually(SOON, || async {
            let text = self.page("/health/detailed").body;
            if text.lines().any(|one| one.trim() == line) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until it has ended by itself; whether it is to be started again.
    pub async fn ends_to_start_again(self) -> bool {
        self.task.await.unwrap().unwrap();
        self.context.again.is_cancelled()
    }

    pub async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}
