//! Backups of two sizes: how long each job takes, and in how much memory.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use bus::Bus;
use protocol::control::{BackupOrder, Job};

use super::{
    rest::mebibytes,
    site::{self, Service, Site},
};
use crate::{parts, process, shell};

/// The sizes, in MB.
const SIZES: [usize; 2] = [100, 1000];
/// This part of it, in percent, is a database, the rest files of one MB.
const DATABASE_PERCENT: usize = 40;
/// Blobs that do not compress, in a table like that of a bot.
const FILL: &str = "import os, sqlite3, sys\n\
    db = sqlite3.connect(sys.argv[1])\n\
    db.execute('PRAGMA journal_mode=WAL')\n\
    db.execute('CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB)')\n\
    for _ in range(int(sys.argv[2])):\n    \
    db.executemany('INSERT INTO message (body) VALUES (?)', ((os.urandom(1000),) for _ in range(1000)))\n\
    db.commit()\n";

/// Measures all sizes.
///
/// # Errors
/// When a job fails, or restic or Python are not there.
pub async fn measure(site: Site) -> anyhow::Result<String> {
    let bus = site.bus().await?;
    let mut text = "`cargo xtask operations --only saving`; a database (40 %) and files (60 %) that do not \
                    compress, in a repository of restic on the same disk.\n\n\
                    | what | size | takes | most memory: backup | restic | both at once |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for size in SIZES {
        text += &of(&site, &bus, size).await?;
    }
    bus.drain().await;
    Ok(text)
}

async fn of(site: &Site, bus: &Bus, size: usize) -> anyhow::Result<String> {
    let home = format!("{size}");
    let path = |below: &str| site.path(&format!("{home}/{below}"));
    fs::create_dir_all(path("media"))?;
    fill(&path("media"), &path("bot.db"), size)?;
    let service = site.service(
        "backup",
        &[
            ("DATABASE_URL", format!("sqlite://{}", path("bot.db"))),
            ("BACKUP_FOLDERS", format!("media={}", path("media"))),
            ("BACKUP_REPOSITORY", path("repository")),
            ("BACKUP_PASSWORD", "correct horse battery".to_owned()),
            ("BACKUP_DATA", path("work")),
            ("BACKUP_SCHEDULE", "off".to_owned()),
            ("BACKUP_DRILL", "off".to_owned()),
        ],
    )?;
    parts::ready(&service.url).await.context("backup")?;
    let into = path("restored");
    fs::create_dir_all(&into)?;
    let restore = BackupOrder::Restore { backup: "latest".to_owned(), into: Some(into.clone()) };
    let mut text = String::new();
    for (what, order) in [
        ("the first backup", BackupOrder::Create),
        ("the next one, 1 % new", BackupOrder::Create),
        ("a drill", BackupOrder::Drill),
        ("a restore elsewhere", restore),
    ] {
        if what.starts_with("the next") {
            // It has the name of one that is there: the size stays as it is.
            for number in 0..size.div_ceil(100) {
                random_file(&Path::new(&path("media")).join(format!("{number}.bin")))?;
            }
        }
        let measured = Measured::of(&service, bus, order).await?;
        shell::complain(&format!("{size} MB: {what}: {:.1} s", measured.took.as_secs_f64()));
        text += &measured.row(what, size);
    }
    ensure!(fs::read_dir(&into)?.next().is_some(), "nothing was restored");
    drop(service);
    fs::remove_dir_all(site.folder.join(home))?;
    Ok(text)
}

fn fill(media: &str, database: &str, size: usize) -> anyhow::Result<()> {
    let in_database = size * DATABASE_PERCENT / 100;
    for number in 0..size - in_database {
        random_file(&Path::new(media).join(format!("{number}.bin")))?;
    }
    let count = in_database.to_string();
    shell::run(Command::new("python3").args(["-c", FILL, database, &count]))
}

fn random_file(path: &Path) -> anyhow::Result<()> {
    let mut bytes = vec![0; 1_000_000];
    fastrand::fill(&mut bytes);
    Ok(fs::write(path, bytes)?)
}

/// A job that went well.
#[derive(Default)]
struct Measured {
    took: Duration,
    /// The most that each had, and both together, in bytes.
    own: u64,
    restic: u64,
    together: u64,
}

impl Measured {
    async fn of(service: &Service, bus: &Bus, order: BackupOrder) -> anyhow::Result<Self> {
        service.process.forget_peak()?;
        let mut measured = Self::default();
        let pid = service.process.id();
        let job = site::job(bus, order, || measured.look(pid)).await?;
        measured.took = took(&job)?;
        measured.own = service.process.peak()?;
        Ok(measured)
    }

    /// A child that is gone meanwhile had its say before.
    fn look(&mut self, pid: u32) {
        let mut together = process::memory(pid, "VmRSS").unwrap_or_default();
        for child in process::children(pid) {
            self.restic = self.restic.max(process::memory(child, "VmHWM").unwrap_or_default());
            together += process::memory(child, "VmRSS").unwrap_or_default();
        }
        self.together = self.together.max(together);
    }

    fn row(&self, what: &str, size: usize) -> String {
        let size = if size < 1000 { format!("{size} MB") } else { format!("{} GB", size / 1000) };
        let [own, restic, together] = [self.own, self.restic, self.together].map(mebibytes);
        format!("| {what} | {size} | {:.1} s | {own} | {restic} | {together} |\n", self.took.as_secs_f64())
    }
}

/// By the clock of the service.
fn took(job: &Job) -> anyhow::Result<Duration> {
    let end = job.end.as_ref().context("it is not over")?;
    ensure!(end.good, "{} failed: {}", job.verb, end.words);
    Ok(Duration::from_millis(end.at_ms.saturating_sub(job.began_ms)))
}
