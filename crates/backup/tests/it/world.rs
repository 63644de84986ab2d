//! A NATS server, a database with rows, a folder, and the backup.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use backup::{Config, Database, Folder, SETTINGS};
use bus::{BucketName, Bus};
use protocol::{
    Catalogue, VERSION,
    control::{Backup, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus, JobEnd},
};
use rusqlite::Connection;
use service::{Context, Settings};
use testkit::{Nats, eventually};
use tokio::task::JoinHandle;

/// Longer than anything takes.
pub const SOON: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(5);

pub struct World {
    pub nats: Nats,
    /// Who asks.
    pub bus: Bus,
    pub folder: tempfile::TempDir,
}

/// The backup at work.
pub struct Service {
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
        let world = Self { nats, bus, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(world.path("gitea/repositories")).unwrap();
        std::fs::write(world.path("gitea/repositories/one.git"), "objects").unwrap();
        std::fs::create_dir_all(world.path("bot")).unwrap();
        let database = world.database();
        database
            .execute_batch(
                "PRAGMA journal_mode=WAL; CREATE TABLE people (name TEXT); CREATE TABLE points (n INTEGER);",
            )
            .unwrap();
        world.people(3);
        world
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn database(&self) -> Connection {
        let database = Connection::open(self.path("bot/vigie.db")).unwrap();
        database.busy_timeout(SOON).unwrap();
        database
    }

    /// Adds people.
    pub fn people(&self, count: usize) {
        let database = self.database();
        for number in 0..count {
            database.execute("INSERT INTO people VALUES (?1)", [format!("person {number}")]).unwrap();
        }
    }

    pub fn count(&self) -> i64 {
        self.database().query_row("SELECT count(*) FROM people", [], |row| row.get(0)).unwrap()
    }

    /// With an archive, and a repository where restic is.
    pub fn config(&self, restic: bool) -> Config {
        let mut settings = Settings::from_variables(&[SETTINGS], HashMap::new());
        let mut config = Config::read(&mut settings);
        config.nats.url = self.nats.url();
        config.database = Some(Database::Sqlite(self.path("bot/vigie.db")));
        config.folders = vec![Folder { name: "gitea".to_owned(), path: self.path("gitea") }];
        config.data = self.path("data");
        config.schedule = None;
        config.drill = None;
        config.tick = Duration::from_millis(50);
        if restic {
            std::fs::write(self.path(".env"), "DISCORD_TOKEN=hunter2\n").unwrap();
            config.repository = Some(self.path("repository").display().to_string().into());
            config.password = Some("correct horse battery".to_owned().into());
            config.settings = vec![self.path(".env")];
        } else {
            config.export = Some(self.path("export"));
        }
        config
    }

    pub async fn serve(&self, config: Config) -> Service {
        let mut service = Service::start(config);
        tokio::select! {
            ended = &mut service.task => panic!("it does not run: {ended:?}"),
            _ = self.status() => {}
        }
        service
    }

    async fn ask(&self, order: BackupOrder) -> Result<BackupReply, bus::RequestError> {
        let request = BackupRequest { v: VERSION, by: "test".to_owned(), order };
        self.bus.command("backup", &request, ANSWER).await.map(|answer: BackupAnswer| answer.reply)
    }

    pub async fn status(&self) -> BackupStatus {
        eventually(SOON, || async {
            match self.ask(BackupOrder::Status).await {
                Ok(BackupReply::Status(status)) => Ok(*status),
                other => Err(other),
            }
        })
        .await
    }

    pub async fn list(&self) -> Vec<Backup> {
        match self.ask(BackupOrder::List).await.unwrap() {
            BackupReply::Backups { backups } => backups,
            other => panic!("{other:?}"),
        }
    }

    /// Begins a job; its name, or why not.
    pub async fn order(&self, order: BackupOrder) -> Result<String, String> {
        match self.ask(order).await.unwrap() {
            BackupReply::Accepted { job } => Ok(job),
            BackupReply::Refused { reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the end of a job.
    pub async fn end_of(&self, job: &str) -> JobEnd {
        eventually(SOON, || async {
            let status = self.status().await;
            let end = status.job.clone().filter(|one| one.id == job).and_then(|one| one.end);
            end.ok_or(status)
        })
        .await
    }

    /// Does it all.
    pub async fn does(&self, order: BackupOrder) -> JobEnd {
        let job = self.order(order).await.unwrap();
        self.end_of(&job).await
    }

    /// Does it, and it must work; its words.
    pub async fn good(&self, order: BackupOrder) -> String {
        let end = self.does(order.clone()).await;
        assert!(end.good, "{order:?}: {}", end.words);
        end.words
    }

    /// A value in the bucket that lasts, which is easy to tell from others by its length.
    pub async fn set(&self, key: &str) {
        let bucket = self.bus.bucket(BucketName::Settings).await.unwrap();
        bucket.put(key, &Catalogue { v: VERSION, commands: Vec::new() }).await.unwrap();
    }

    pub async fn has(&self, key: &str) -> bool {
        let bucket = self.bus.bucket(BucketName::Settings).await.unwrap();
        bucket.entry::<Catalogue>(key).await.unwrap().is_some()
    }

    /// Nothing of a job is left behind.
    pub fn is_tidy(&self) {
        for name in ["stage", "drill", "restore", "restore.json"] {
            assert!(!self.path("data").join(name).exists(), "{name} is left behind");
        }
        for folder in ["gitea", "bot"] {
            assert!(!self.path(folder).join(".vigie-incoming").exists(), "a copy is left behind in {folder}");
        }
    }
}

impl Service {
    pub fn start(config: Config) -> Self {
        service::install_crypto();
        let mut context = Context::new("backup");
        context.instance = "backup-1".to_owned();
        let task = tokio::spawn(backup::run(context.clone(), config));
        Self { context, task }
    }

    pub async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub fn restore(backup: &str, into: Option<&Path>) -> BackupOrder {
    BackupOrder::Restore { backup: backup.to_owned(), into: into.map(|path| path.display().to_string()) }
}

/// So many bytes, as good as random for a compressor.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut x: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    };
    std::iter::repeat_with(&mut next).take(bytes).collect()
}
