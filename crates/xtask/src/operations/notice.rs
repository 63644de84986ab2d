//! From a fault until it is known: by the status of the health check, and by a message to people.

mod platforms;
mod steady;

use std::{any::Any, fmt::Write as _, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use bus::{Bus, Message, Queue};
use clap::ValueEnum;
use protocol::{Catalogue, ChannelId, CommunityId, Platform, VERSION, control::BackupOrder, subject};
use rustix::process::Signal;
use testkit::free_port;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    site::{self, POLL, Service, Site},
    watch::Watch,
};
use crate::{parts, process::Process, shell};

/// A disk that is full soon: its size, and what is put on it, in bytes.
const DISK: (usize, usize) = (16 << 20, 14 << 20);
/// Degrees, in thousandths, as the kernel tells them.
const HOT: &str = "75000\n";
const COOL: &str = "45000\n";
/// What is free of 1,000,000 kB.
const SCARCE_KB: u32 = 70_000;
const PLENTY_KB: u32 = 600_000;
/// What the firmware of a Pi says of its power.
const POWER: &str = "platform/soc/soc:firmware/get_throttled";
/// How long a process may take to begin, or to end when it was told to while it was frozen.
const TURN_LIMIT: Duration = Duration::from_secs(10);
/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9/";
/// How long the certificate of the trial is still valid, in days: less than the three from which on it is critical.
const DAYS: &str = "2";

/// Faults that are made together; rows are in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Faults {
    /// Dead letters, a failed backup, the machine, work that waits: 5 minutes
    Warnings,
    /// A service is killed, one hangs, NATS is killed: 3 minutes
    Services,
    /// What is found when the watch starts: certificates, and who cannot be told: 3 minutes
    Start,
    /// A drill fails: 2 minutes
    Drill,
    /// Too little power, a full stream, much memory, old backups, slow answers: 3 minutes
    Steady,
    /// A service ends again and again: 1 minute
    Again,
    /// A channel is closed, platforms are away: 5 minutes
    Platforms,
    /// NATS loses its streams: 1 minute
    Streams,
}

impl Faults {
    /// Whether it is for the first of the two sites. Both take as long.
    const fn is_first(&self) -> bool {
        matches!(self, Self::Warnings | Self::Services | Self::Again | Self::Streams)
    }
}

/// A row of the table.
#[derive(Clone, Copy, Default)]
struct Row {
    fault: &'static str,
    /// Until the status was 503, and until it was 200 again after the fault was over.
    unhealthy: Option<Duration>,
    healthy: Option<Duration>,
    told: Option<Duration>,
    over: Option<Duration>,
}

/// Everything of a trial.
struct Trial {
    site: Site,
    bus: Bus,
    watch: Watch,
    worker: Service,
    backup: Option<Service>,
    health: Service,
    /// What was started besides, and must not be missed until the end.
    kept: Vec<Service>,
    held: Vec<Box<dyn Any>>,
}

/// Makes each fault and undoes it: on one site after the other, and on two at the same time, since most of it is waiting.
///
/// # Errors
/// When one is not noticed, or a part cannot be started.
pub async fn measure([one, other]: [Site; 2], only: &[Faults]) -> anyhow::Result<String> {
    let wanted = |of: fn(&Faults) -> bool| -> Vec<Faults> {
        let all = Faults::value_variants().iter().copied();
        all.filter(|faults| of(faults) && (only.is_empty() || only.contains(faults))).collect()
    };
    let (here, there) = (wanted(Faults::is_first), wanted(|faults| !faults.is_first()));
    let (here, there) =
        tokio::try_join!(Box::pin(Trial::run(one, here)), Box::pin(Trial::run(other, there)))?;
    let mut made: Vec<(Faults, Vec<Row>)> = here.into_iter().chain(there).collect();
    made.sort_by_key(|(faults, _)| *faults);
    let rows = made.into_iter().flat_map(|(_, rows)| rows);
    let mut text =
        "`cargo xtask operations --only notice`; `-`: not measured; a warning leaves `/health` at \
                    200.\n\n\
                    | fault | `/health` is 503 after | message after | over: 200 after | message after |\n\
                    |---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        let [unhealthy, told, healthy, over] = [row.unhealthy, row.told, row.healthy, row.over].map(seconds);
        let _ = writeln!(text, "| {} | {unhealthy} | {told} | {healthy} | {over} |", row.fault);
    }
    Ok(text)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
}

impl Trial {
    async fn start(site: Site) -> anyhow::Result<Self> {
        let bus = site.bus().await?;
        let worker = worker(&site)?;
        fs::create_dir_all(site.folder.join("files"))?;
        fs::write(site.folder.join("files/one"), "one")?;
        let settings = [
            ("DATABASE_URL", "none".to_owned()),
            ("BACKUP_FOLDERS", format!("files={}", site.path("files"))),
            ("BACKUP_REPOSITORY", site.path("repository")),
            ("BACKUP_PASSWORD", "correct horse battery".to_owned()),
            ("BACKUP_DATA", site.path("backup")),
            ("BACKUP_SCHEDULE", "off".to_owned()),
            ("BACKUP_DRILL", "off".to_owned()),
        ];
        let backup = site.service("backup", &settings)?;
        for service in [&worker, &backup] {
            parts::ready(&service.url).await.with_context(|| service.process.name.clone())?;
        }
        saved(&bus, true).await?;
        let mut watch = Watch::start().await?;
        let health = health(&site, &watch.webhook)?;
        parts::ready(&health.url).await.context("healthcheck")?;
        watch.read(&health.url);
        watch.works().await?;
        let (kept, held) = (Vec::new(), Vec::new());
        Ok(Self { site, bus, watch, worker, backup: Some(backup), health, kept, held })
    }

    async fn run(site: Site, all: Vec<Faults>) -> anyhow::Result<Vec<(Faults, Vec<Row>)>> {
        let mut made = Vec::new();
        if all.is_empty() {
            return Ok(made);
        }
        let mut trial = Self::start(site).await?;
        for faults in all {
            made.push((faults, trial.make(faults).await?));
        }
        Ok(made)
    }

    async fn make(&mut self, faults: Faults) -> anyhow::Result<Vec<Row>> {
        Ok(match faults {
            Faults::Warnings => self.together().await?,
            Faults::Services => {
                vec![self.killed().await?, self.frozen().await?, self.without_nats().await?]
            }
            Faults::Start => self.at_the_start().await?,
            Faults::Drill => vec![self.drill().await?],
            Faults::Steady => self.steady().await?,
            Faults::Again => self.again_and_again().await?,
            Faults::Platforms => self.platforms().await?,
            Faults::Streams => vec![self.streams().await?],
        })
    }

    /// What is a warning, at the same time: each has a rule of its own.
    async fn together(&self) -> anyhow::Result<Vec<Row>> {
        let (watch, folder) = (&self.watch, &self.site.folder);
        let payload = Catalogue { v: VERSION, commands: Vec::new() };
        let (channel, community) = (ChannelId::from(1), CommunityId::from(1));
        let waiting = subject::action(Platform::Twitch, &channel, &community);
        let lag = Instant::now();
        self.bus.store(&Message::new(waiting, "waits", &payload)?).await?;
        fs::rename(folder.join("files"), folder.join("away"))?;
        saved(&self.bus, false).await?;
        let failed = Instant::now();
        let machine = Instant::now();
        fs::write(self.disk().join("fill"), vec![1; DISK.1])?;
        fs::write(folder.join("meminfo"), meminfo(SCARCE_KB))?;
        fs::write(folder.join("thermal/thermal_zone0/temp"), HOT)?;
        let dead = Instant::now();
        self.bus.store(&Message::new(subject::dead("EVENTS"), "dead", &payload)?).await?;
        let warning = async |since, rule| watch.told(since, rule, "warning").await.map(Some);
        let dead = Row { fault: "a dead letter", told: warning(dead, "dead").await?, ..Row::default() };
        let backup =
            Row { fault: "a backup failed", told: warning(failed, "backup").await?, ..Row::default() };
        let lagging = warning(lag, "lag").await?;
        let mut rows = vec![dead, backup];
        for (fault, rule) in [
            ("the disk is 87 % full", "disk"),
            ("93 % of the machine's memory is used", "machine-memory"),
            ("the processor has 75 °C", "temperature"),
        ] {
            rows.push(Row { fault, told: warning(machine, rule).await?, ..Row::default() });
        }
        let machine = Instant::now();
        fs::remove_file(self.disk().join("fill"))?;
        fs::write(folder.join("meminfo"), meminfo(PLENTY_KB))?;
        fs::write(folder.join("thermal/thermal_zone0/temp"), COOL)?;
        fs::rename(folder.join("away"), folder.join("files"))?;
        saved(&self.bus, true).await?;
        let mended = Instant::now();
        rows[1].over = Some(watch.over(mended, "backup").await?);
        for (row, rule) in rows[2..].iter_mut().zip(["disk", "machine-memory", "temperature"]) {
            row.over = Some(watch.over(machine, rule).await?);
        }
        let unhealthy = Some(watch.says(lag, false).await?);
        let worse = Some(watch.told(lag, "lag", "critical").await?);
        let taken = self.take(subject::partition(&channel)).await?;
        let (healthy, over) = (Some(watch.says(taken, true).await?), Some(watch.over(taken, "lag").await?));
        rows.push(Row {
            fault: "an answer waits and nobody takes it: a warning",
            told: lagging,
            ..Row::default()
        });
        rows.push(Row { fault: "the same: critical", unhealthy, told: worse, healthy, over });
        Ok(rows)
    }

    async fn take(&self, partition: u16) -> anyhow::Result<Instant> {
        let queue = Queue::Actions(Platform::Twitch);
        let mut consumer = self.bus.take_over(queue, partition, 1, || true).await?;
        consumer.next().await.ack_sync().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Instant::now())
    }

    async fn killed(&mut self) -> anyhow::Result<Row> {
        let at = Instant::now();
        self.worker.process.signal(Signal::KILL)?;
        let mut row = self.noticed("a service is killed, and nobody starts it", "silent", at).await?;
        let at = Instant::now();
        self.worker = worker(&self.site)?;
        self.mended(&mut row, "silent", at).await?;
        Ok(row)
    }

    /// It is told to start again, which it hears when it goes on; the supervisor is this one.
    async fn frozen(&mut self) -> anyhow::Result<Row> {
        let at = Instant::now();
        self.worker.process.signal(Signal::STOP)?;
        let mut row = self.noticed("a service hangs (SIGSTOP)", "silent", at).await?;
        let at = Instant::now();
        self.worker.process.signal(Signal::CONT)?;
        let ended = async {
            while matches!(self.worker.process.ended(), Ok(None)) {
                sleep(POLL).await;
            }
        };
        if timeout(TURN_LIMIT, ended).await.is_ok() {
            self.worker = worker(&self.site)?;
        }
        self.mended(&mut row, "silent", at).await?;
        Ok(row)
    }

    async fn without_nats(&mut self) -> anyhow::Result<Row> {
        let at = Instant::now();
        self.site.kill_nats();
        let mut row = self.noticed("NATS is killed", "nats", at).await?;
        let at = Instant::now();
        self.site.resume_nats()?;
        self.mended(&mut row, "nats", at).await?;
        Ok(row)
    }

    /// From the start of another watch: certificates are looked at then, and every hour; who is told is tested then,
    /// and every day.
    async fn at_the_start(&mut self) -> anyhow::Result<Vec<Row>> {
        let (key, certificate) = (self.site.path("tls.key"), self.site.path("tls.pem"));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", DAYS];
        let mut made_by = Command::new("openssl");
        made_by.args(made).args(["-keyout", &key, "-out", &certificate]);
        shell::output(&mut made_by)?;
        let address = format!("127.0.0.1:{}", free_port());
        let openssl = shell::find("openssl").context("there is no openssl")?;
        let serve = ["s_server", "-accept", &address, "-key", &key, "-cert", &certificate, "-www", "-quiet"];
        let _server = Process::start("openssl", &openssl, &serve, &[], &self.site.folder)?;
        let listens = async {
            while TcpStream::connect(&address).await.is_err() {
                sleep(POLL).await;
            }
        };
        timeout(TURN_LIMIT, listens).await.context("openssl does not listen")?;
        let watch = Watch::start().await?;
        let settings = [
            ("HEALTHCHECK_DATA", self.site.path("other-health")),
            ("HEALTHCHECK_SERVICES", "command-worker".to_owned()),
            ("HEALTHCHECK_CERTIFICATES", address),
            ("ALERT_WEBHOOK", watch.webhook.clone()),
            ("ALERT_NTFY", format!("{NOBODY}topic")),
            ("HEALTHCHECK_URL", NOBODY.to_owned()),
            ("VIGIE_INSTANCE", "healthcheck-2".to_owned()),
        ];
        let at = Instant::now();
        let _health = self.site.service("healthcheck", &settings)?;
        let mut rows = Vec::new();
        for (fault, rule, level) in [
            ("a certificate with 2 days left, from the start of the watch on", "certificate", "critical"),
            ("ntfy cannot be reached, from the start of the watch on", "channel", "warning"),
            ("the witness outside cannot be reached, from the start of the watch on", "witness", "warning"),
        ] {
            rows.push(Row { fault, told: Some(watch.told(at, rule, level).await?), ..Row::default() });
        }
        Ok(rows)
    }

    async fn noticed(&self, fault: &'static str, rule: &str, at: Instant) -> anyhow::Result<Row> {
        let unhealthy = Some(self.watch.says(at, false).await?);
        let told = Some(self.watch.told(at, rule, "critical").await?);
        shell::complain(&format!("{fault}: known after {}", seconds(told)));
        Ok(Row { fault, unhealthy, told, ..Row::default() })
    }

    async fn mended(&self, row: &mut Row, rule: &str, at: Instant) -> anyhow::Result<()> {
        row.healthy = Some(self.watch.says(at, true).await?);
        row.over = Some(self.watch.over(at, rule).await?);
        Ok(())
    }

    /// The disk of the health check, as seen from outside.
    fn disk(&self) -> PathBuf {
        let inside = self.site.path("disk");
        PathBuf::from(format!("/proc/{}/root{inside}", self.health.process.id()))
    }
}

fn worker(site: &Site) -> anyhow::Result<Service> {
    site.service("command-worker", &[])
}

/// The health check with a small disk and with sensors that can be set: in a mount namespace of its own, which is the
/// only thing that sets it apart from one that runs anywhere.
fn health(site: &Site, webhook: &str) -> anyhow::Result<Service> {
    let (disk, memory, thermal) = (site.path("disk"), site.path("meminfo"), site.path("thermal"));
    let power = site.folder.join(POWER);
    fs::create_dir_all(power.parent().context("it is in a folder")?)?;
    fs::write(power, "0\n")?;
    fs::create_dir_all(&disk)?;
    fs::create_dir_all(site.folder.join("thermal/thermal_zone0"))?;
    fs::write(site.folder.join("thermal/thermal_zone0/temp"), COOL)?;
    fs::write(&memory, meminfo(PLENTY_KB))?;
    let script = format!(
        "mount -t tmpfs -o size={} none '{disk}' && mount --bind '{memory}' /proc/meminfo && \
         mount --bind '{thermal}' /sys/class/thermal && mount --bind '{}' /sys/devices/platform && \
         exec \"$0\"",
        DISK.0,
        site.path("platform")
    );
    let unshare = shell::find("unshare").context("there is no unshare")?.display().to_string();
    let settings = [
        ("HEALTHCHECK_DATA", disk),
        ("HEALTHCHECK_SERVICES", "command-worker,backup".to_owned()),
        ("ALERT_WEBHOOK", webhook.to_owned()),
    ];
    site.wrapped("healthcheck", &[&unshare, "-Urm", "sh", "-c", &script], &settings)
}

fn meminfo(available_kb: u32) -> String {
    format!("MemTotal: 1000000 kB\nMemFree: {available_kb} kB\nMemAvailable: {available_kb} kB\n")
}

/// Makes a backup, which is to go well or not.
async fn saved(bus: &Bus, well: bool) -> anyhow::Result<()> {
    let end = site::job(bus, BackupOrder::Create, || {}).await?.end.context("it is not over")?;
    ensure!(end.good == well, "the backup ended otherwise than it should: {}", end.words);
    Ok(())
}
