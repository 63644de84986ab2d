//! What is a warning, and lasts: power, streams, the memory of the bot, the age of backups, a slow service. All at the
//! same time, since each has a rule of its own.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use bus::{Announcement, Bus, Message};
use protocol::{
    ServiceStats, VERSION,
    control::{Audit, AuditResult, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus},
    subject,
};
use tokio::{task::JoinSet, time::Instant};

use super::{Row, Trial, shell};
use crate::{
    operations::{late::Late, site},
    parts,
};

/// What a Pi says that gets too little power, and is slowed down; and that is well.
const WEAK: &str = "5\n";
const STRONG: &str = "0\n";
/// So many dead letters of this size fill their stream, which takes 16 MiB, to 83 %.
const LETTERS: (usize, usize) = (70, 200_000);
/// The memory of a bot that has too much of it, in bytes.
const MUCH: u64 = 600_000_000;
const LITTLE: u64 = 10_000_000;
/// How old the last backup is, in hours: more than the 26 of the rule.
const OLD_H: u64 = 27;
/// How late answers come: more than the 10 s of the rule.
const LATE: Duration = Duration::from_secs(11);
/// The service that answers late. It needs nothing of NATS but to be asked.
const SLOW: &str = "webhook-deploy";

/// The part of the backup that says how backups stand.
struct Stated {
    good_ms: Arc<AtomicU64>,
    resident: Arc<AtomicU64>,
    _announcement: Announcement,
    _obeys: JoinSet<()>,
}

impl Stated {
    async fn start(bus: &Bus) -> anyhow::Result<Self> {
        let (good_ms, resident) = (Arc::new(AtomicU64::new(now_ms())), Arc::new(AtomicU64::new(LITTLE)));
        let told = resident.clone();
        let announcement = bus
            .announce("backup", move || ServiceStats {
                v: VERSION,
                service: "backup".to_owned(),
                instance: "backup-2".to_owned(),
                build: "stated".to_owned(),
                uptime_s: 3600,
                ready: true,
                reason: String::new(),
                resident_bytes: told.load(Ordering::Relaxed),
                metrics: BTreeMap::new(),
            })
            .await?;
        let mut orders = bus.obey::<BackupRequest>("backup").await?;
        bus.round_trip().await;
        let good = good_ms.clone();
        let mut obeys = JoinSet::new();
        obeys.spawn(async move {
            while let Some(ordered) = orders.next().await {
                let good_ms = Some(good.load(Ordering::Relaxed));
                let status = BackupStatus { good_ms, next_ms: Some(now_ms()), ..BackupStatus::default() };
                let answer = BackupAnswer { v: VERSION, reply: BackupReply::Status(Box::new(status)) };
                if let Err(error) = ordered.answer(&answer).await {
                    shell::complain(&format!("how backups stand was not said: {error}"));
                }
            }
        });
        Ok(Self { good_ms, resident, _announcement: announcement, _obeys: obeys })
    }

    fn is(&self, hours_old: u64, resident: u64) {
        self.good_ms.store(now_ms().saturating_sub(hours_old * 3_600_000), Ordering::Relaxed);
        self.resident.store(resident, Ordering::Relaxed);
    }
}

impl Trial {
    /// The repository loses what it holds, and gets it back.
    pub(super) async fn drill(&mut self) -> anyhow::Result<Row> {
        let (data, away) =
            (self.site.folder.join("repository/data"), self.site.folder.join("repository-data"));
        fs::rename(&data, &away)?;
        fs::create_dir(&data)?;
        let end = site::job(&self.bus, BackupOrder::Drill, || {}).await?.end.context("it is not over")?;
        anyhow::ensure!(!end.good, "a drill restored what is not there: {}", end.words);
        let at = Instant::now();
        let mut row = self.noticed("a drill cannot restore the last backup", "drill", at).await?;
        fs::remove_dir_all(&data)?;
        fs::rename(&away, &data)?;
        let end = site::job(&self.bus, BackupOrder::Drill, || {}).await?.end.context("it is not over")?;
        anyhow::ensure!(end.good, "the drill failed: {}", end.words);
        self.mended(&mut row, "drill", Instant::now()).await?;
        Ok(row)
    }

    /// From here on the backup is one that says what it is told to.
    pub(super) async fn steady(&mut self) -> anyhow::Result<Vec<Row>> {
        let link = Late::start(self.site.nats_address()).await?;
        let slow = self.site.service(SLOW, &[("NATS_URL", format!("nats://{}", link.address()))])?;
        parts::ready(&slow.url).await.context(SLOW)?;
        let stated = Stated::start(&self.bus).await?;
        self.backup = None;
        self.watch.works().await?;
        let power = self.site.folder.join(super::POWER);
        let at = Instant::now();
        link.delay(LATE);
        stated.is(OLD_H, MUCH);
        fs::write(&power, WEAK)?;
        self.fill().await?;
        let mut rows = Vec::new();
        for (fault, rule) in [
            ("answers of a service come 11 s late", "latency"),
            ("the stream of dead letters is 83 % full", "full"),
            ("a service says that it holds 600 MB", "memory"),
            ("the last good backup is 27 h old", "backup"),
            ("a Raspberry Pi gets too little power", "power"),
            ("and its processor is slowed down", "slowed"),
        ] {
            rows.push(Row {
                fault,
                told: Some(self.watch.told(at, rule, "warning").await?),
                ..Row::default()
            });
        }
        let at = Instant::now();
        link.delay(Duration::ZERO);
        stated.is(0, LITTLE);
        fs::write(&power, STRONG)?;
        let letters = self.bus.dead_letters(None);
        letters.remove_through(letters.tally().await?.last).await?;
        for (row, rule) in rows.iter_mut().zip(["latency", "full", "memory", "backup"]) {
            row.over = Some(self.watch.over(at, rule).await?);
        }
        // They are there until the end: else they would be missed.
        self.kept.push(slow);
        self.held.push(Box::new((link, stated)));
        Ok(rows)
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let (count, bytes) = LETTERS;
        let letter = Audit {
            v: VERSION,
            at_ms: 0,
            service: "operations".to_owned(),
            by: "operations".to_owned(),
            verb: "fill".to_owned(),
            object: String::new(),
            result: AuditResult::Done,
            words: "x".repeat(bytes),
        };
        for number in 0..count {
            let id = format!("fill-{number}");
            self.bus.store(&Message::new(subject::dead("EVENTS"), id, &letter)?).await?;
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
