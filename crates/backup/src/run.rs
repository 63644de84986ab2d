//! The life of the service: it hears orders, looks at the clock, and does one job at a time.

use std::{fs::File, sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{Announcement, Ordered, Orders, User};
use presence::Connection;
use protocol::{
    VERSION,
    control::{
        Audit, AuditResult, Backup, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus,
        JobEnd,
    },
};
use rustix::fs::{FlockOperation, flock};
use service::Context;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    config::Config,
    desk::{Desk, Task},
    files,
    jobs::{self, Jobs},
    kept::{Kept, Known, Store},
    numbers::Numbers,
    restore::Journal,
    schedule::Due,
    store::Stores,
    trouble::{While as _, aside},
};

/// How long the audit trail is waited for: what was done is told anyway.
const NOTE_LIMIT: Duration = Duration::from_secs(10);
/// How long a list is waited for: who asks in chat waits 3 s, others longer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How often a backup that was due and failed is tried again,
const RETRIES: u32 = 3;
/// after so many looks at the clock: a quarter of an hour.
const RETRY_TICKS: u32 = 45;
/// How many backups are listed.
const LISTED_MAX: usize = 500;
/// Who asks when nobody does.
const SCHEDULE: &str = "schedule";

/// Runs the backup.
///
/// # Errors
/// When its folder cannot be used, or another one uses it, or the NATS client broke.
pub async fn run(context: Context, config: Config) -> anyhow::Result<()> {
    let component = context.health.component("backups");
    let Some(stores) = Stores::new(&config) else {
        component.off("expected BACKUP_REPOSITORY and BACKUP_PASSWORD, or BACKUP_EXPORT, to be set");
        let connection = presence::connecting(&context, User::Backup, &config.nats);
        return idle(&context, connection).await;
    };
    let data = config.data.clone();
    let made = aside(move || files::fresh_if_missing(&data).during(format!("making {}", data.display())));
    made.await?;
    let _lock = lock(&config)?;
    let store = Arc::new(Store::open(&config.data));
    jobs::tidy(&config, &store).await;
    let connection = presence::connecting(&context, User::Backup, &config.nats);
    let work = Work::new(&context, config, stores, store, connection).await?;
    component.up();
    work.run().await
}

/// Two of them would take each other's folders away.
fn lock(config: &Config) -> anyhow::Result<File> {
    let path = config.data.join("lock");
    let file = File::create(&path).with_context(|| format!("the lock {}", path.display()))?;
    let taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
    taken.with_context(|| {
        format!("another backup uses {}: give each its own BACKUP_DATA", config.data.display())
    })?;
    Ok(file)
}

/// Nothing is configured: it is found, and does nothing.
async fn idle(context: &Context, mut connection: Connection) -> anyhow::Result<()> {
    let mut attached: Option<Attached> = None;
    loop {
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => return Ok(()),
            changed = connection.changed() => {
                changed?;
                attached = attach(context, &connection).await?;
            }
            order = next(&mut attached) => {
                let reason = "backups are off: expected BACKUP_REPOSITORY or BACKUP_EXPORT to be set".to_owned();
                let reply = match order.order.order {
                    // The health check tells by it that there is nothing to watch.
                    BackupOrder::Status => BackupReply::Status(Box::default()),
                    _ => BackupReply::Refused { reason },
                };
                answer(order, reply).await;
            }
        }
    }
}

/// What there is once NATS is there.
struct Attached {
    orders: Orders<BackupRequest>,
    _announcement: Announcement,
}

/// A job that runs.
struct Running {
    task: Task,
    by: String,
    outcome: AbortOnDropHandle<Result<String, String>>,
}

struct Work {
    context: Context,
    config: Arc<Config>,
    jobs: Jobs,
    desk: Desk,
    store: Arc<Store>,
    connection: Connection,
    numbers: Numbers,
    create: Due,
    drill: Due,
    running: Option<Running>,
    /// Whether it is looked which backups there are.
    looking: Option<AbortOnDropHandle<()>>,
    /// Looks at the clock until the next try, and how many tries there were.
    retry: Option<(u32, u32)>,
}

impl Work {
    async fn new(
        context: &Context,
        config: Config,
        stores: Stores,
        store: Arc<Store>,
        connection: Connection,
    ) -> anyhow::Result<Self> {
        let now_ms = (config.clock)();
        let kept = store.get();
        let create = Due::new(config.schedule.clone(), kept.created_at_ms, now_ms);
        let drill = Due::new(config.drill.clone(), kept.drilled_at_ms, now_ms);
        let ended = kept.job.filter(|job| job.end.is_none());
        let broken = ended.is_some_and(|job| job.verb == Task::Create.verb() && job.by == SCHEDULE);
        let desk = Desk::new(store.clone(), now_ms).await;
        let config = Arc::new(config);
        let numbers = Numbers::new(&context.metrics);
        numbers.show(&store.get());
        let jobs = Jobs {
            config: config.clone(),
            stores,
            store: store.clone(),
            connection: connection.clone(),
            progress: desk.progress(),
            turn: Arc::default(),
        };
        let context = context.clone();
        let mut work = Self {
            context,
            config,
            jobs,
            desk,
            store,
            connection,
            numbers,
            create,
            drill,
            running: None,
            looking: None,
            // A power cut in the midst of it is as good as a failure.
            retry: broken.then_some((RETRY_TICKS, 1)),
        };
        let unfinished = Journal::read(&work.config.data).context("restore.json in BACKUP_DATA")?;
        if unfinished.is_some() {
            work.begin(Task::GoBack, "start").await;
        } else if kept.backups.is_empty()
            && let Ok(turn) = work.jobs.turn.clone().try_lock_owned()
        {
            let jobs = work.jobs.clone();
            let look = tokio::spawn(async move {
                jobs.look().await;
                drop(turn);
            });
            work.looking = Some(AbortOnDropHandle::new(look));
        }
        Ok(work)
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let shutdown = self.context.shutdown.clone();
        let mut tick = tokio::time::interval(self.config.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut attached: Option<Attached> = None;
        let mut connection = self.connection.clone();
        loop {
            tokio::select! {
                // First: the connection ends with it.
                biased;
                () = shutdown.cancelled() => break,
                changed = connection.changed() => {
                    changed?;
                    attached = attach(&self.context, &connection).await?;
                }
                order = next(&mut attached) => self.obey(order).await,
                outcome = ended(&mut self.running) => self.over(outcome).await,
                _ = tick.tick() => self.look_at_the_clock().await,
            }
        }
        // A job that runs is dropped, its programs are killed, and what it began is put in order at the next start.
        drop(self.running.take());
        drop(attached);
        let bus = self.connection.borrow().clone();
        if let Ok(bus) = bus {
            bus.drain().await;
        }
        Ok(())
    }

    async fn look_at_the_clock(&mut self) {
        if self.running.is_some() {
            return;
        }
        let now_ms = (self.config.clock)();
        let again = match &mut self.retry {
            Some((left @ 1.., _)) => {
                *left -= 1;
                *left == 0
            }
            _ => false,
        };
        if self.create.is_due(now_ms) || again {
            self.store.change(|kept| kept.created_at_ms = Some(now_ms)).await;
            self.begin(Task::Create, SCHEDULE).await;
        } else if !self.store.get().backups.is_empty() && self.drill.is_due(now_ms) {
            self.store.change(|kept| kept.drilled_at_ms = Some(now_ms)).await;
            self.begin(Task::Drill, SCHEDULE).await;
        }
    }

    async fn begin(&mut self, task: Task, by: &str) -> String {
        let id = self.desk.begin(&task, by, (self.config.clock)()).await;
        info!(job = id, by, "begun");
        let (jobs, doing) = (self.jobs.clone(), task.clone());
        let outcome = tokio::spawn(async move {
            let outcome = jobs.run(doing.clone()).await;
            outcome.map_err(|trouble| jobs::told(&trouble, &doing))
        });
        self.running = Some(Running { task, by: by.to_owned(), outcome: AbortOnDropHandle::new(outcome) });
        id
    }

    async fn obey(&mut self, ordered: Ordered<BackupRequest>) {
        let BackupRequest { by, order, .. } = ordered.order.clone();
        let reply = match (Task::of(&order), self.desk.running()) {
            (None, _) if order == BackupOrder::List => self.listed().await,
            (None, _) => BackupReply::Status(Box::new(self.status())),
            // Whoever asks for what goes on already has it.
            (Some(Task::Create), Some(job)) if job.verb == Task::Create.verb() => {
                BackupReply::Accepted { job: job.id }
            }
            (Some(task), Some(job)) => {
                let reason = format!("{} is running ({}): expected it to be over first", job.verb, job.step);
                self.note(&task, &by, AuditResult::Refused, reason.clone()).await;
                BackupReply::Refused { reason }
            }
            (Some(task), None) => {
                let job = self.begin(task.clone(), &by).await;
                answer(ordered, BackupReply::Accepted { job }).await;
                self.note(&task, &by, AuditResult::Begun, String::new()).await;
                return;
            }
        };
        answer(ordered, reply).await;
    }

    async fn over(&mut self, outcome: (Task, String, Result<String, String>)) {
        let (task, by, outcome) = outcome;
        let (good, words) = match outcome {
            Ok(words) => (true, words),
            Err(words) => (false, words),
        };
        let end = JobEnd { at_ms: (self.config.clock)(), good, words: words.clone() };
        let note = |kept: &mut Kept| match task {
            Task::Create => kept.create = Some(end.clone()),
            Task::Drill => kept.drill = Some(end.clone()),
            Task::Verify | Task::Restore { .. } | Task::GoBack => {}
        };
        self.store.change(note).await;
        self.desk.end(end).await;
        self.numbers.ended(good);
        self.numbers.show(&self.store.get());
        // What fails on behalf of a person takes no try away from what was due.
        if task == Task::Create && (good || by == SCHEDULE) {
            let tries = self.retry.map_or(0, |(_, tries)| tries);
            self.retry = (!good && tries < RETRIES).then_some((RETRY_TICKS, tries + 1));
        }
        if good {
            info!(job = task.verb(), words, "done");
        }
        let result = if good { AuditResult::Done } else { AuditResult::Failed };
        self.note(&task, &by, result, words).await;
    }

    fn status(&self) -> BackupStatus {
        let kept = self.store.get();
        BackupStatus {
            job: self.desk.job(),
            good_ms: kept.backups.last().map(|newest| newest.at_ms),
            drill: kept.drill,
            next_ms: self.create.next(),
            unfinished: Journal::unfinished(&self.config.data),
        }
    }

    async fn listed(&mut self) -> BackupReply {
        if let Some(looking) = &mut self.looking
            && timeout(LOOK_LIMIT, looking).await.is_ok()
        {
            self.looking = None;
        }
        let kept = self.store.get();
        let backups = kept.backups.iter().rev().take(LISTED_MAX).map(Known::shown).collect();
        BackupReply::Backups { backups }
    }

    /// In the audit trail. NATS may be away: then it is in the log only.
    async fn note(&self, task: &Task, by: &str, result: AuditResult, words: String) {
        let Ok(bus) = self.connection.borrow().clone() else { return };
        let entry = Audit {
            v: VERSION,
            at_ms: (self.config.clock)(),
            service: self.context.name.to_owned(),
            by: by.to_owned(),
            verb: task.verb().to_owned(),
            object: task.object().to_owned(),
            result,
            words,
        };
        match timeout(NOTE_LIMIT, bus.note(&entry)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = service::chain(&error), "not in the audit trail"),
            Err(_) => warn!("not in the audit trail: NATS does not answer"),
        }
    }
}

impl Known {
    fn shown(&self) -> Backup {
        let Self { id, at_ms, bytes, parts, proved_ms, .. } = self.clone();
        Backup { id, at_ms, bytes, parts, proved_ms }
    }
}

/// Begins to use the connection.
async fn attach(context: &Context, connection: &Connection) -> anyhow::Result<Option<Attached>> {
    let Ok(bus) = connection.borrow().clone() else { return Ok(None) };
    let orders = bus.obey(context.name).await?;
    let announcement = presence::announce(context, &bus).await?;
    bus.round_trip().await;
    info!(server = bus.server_version(), "hears orders");
    Ok(Some(Attached { orders, _announcement: announcement }))
}

async fn next(attached: &mut Option<Attached>) -> Ordered<BackupRequest> {
    if let Some(attached) = attached
        && let Some(order) = attached.orders.next().await
    {
        return order;
    }
    std::future::pending().await
}

async fn ended(running: &mut Option<Running>) -> (Task, String, Result<String, String>) {
    let Some(job) = running else { return std::future::pending().await };
    let outcome =
        (&mut job.outcome).await.unwrap_or_else(|error| Err(format!("it did not end well: {error}")));
    let (task, by) = (job.task.clone(), job.by.clone());
    *running = None;
    (task, by, outcome)
}

async fn answer(ordered: Ordered<BackupRequest>, reply: BackupReply) {
    if let Err(error) = ordered.answer(&BackupAnswer { v: VERSION, reply }).await {
        warn!(%error, "an order was not answered");
    }
}
