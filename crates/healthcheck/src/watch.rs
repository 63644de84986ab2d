//! One look after the other: asks NATS and the services, reads the machine, judges, and shows the result.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Announcement, Bus, Heard, Roll};
use presence::Connection;
use service::{CounterVec, clock::unix_ms};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval_at},
};
use tracing::{debug, info, warn};

use crate::{
    averages::Averages,
    backups::Answers,
    certificates::Certificates,
    config::Config,
    host::Host,
    kept::Store,
    nats::{self, NatsState},
    rules::{Change, Level, Rules, readings},
    services::{News, Services},
    tell::Board,
    view::{Findings, View},
    words::megabytes,
};

/// The first look comes this long after the start: by then all who are well have answered.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// What is told to start again has ended, and is there again, within this time.
const TOLD_FOR_MS: u64 = 2 * 60 * 1000;
/// The stream of dead letters.
const DEAD: &str = "DEAD";

/// Looks, for as long as the service runs.
pub struct Watch {
    context: service::Context,
    config: Config,
    connection: Connection,
    attached: Option<Attached>,
    store: Arc<Store>,
    board: Board,
    certificates: Certificates,
    backups: Answers,
    host: Host,
    services: Services,
    averages: Averages,
    rules: Rules,
    nats: NatsState,
    heartbeat_ms: Option<u64>,
    last_look: Instant,
    changes: CounterVec,
    report: watch::Sender<Option<Arc<View>>>,
}

/// What is held while there is a connection.
struct Attached {
    bus: Bus,
    roll: Roll,
    /// Whether the services were asked since the last look.
    asked: bool,
    _announcement: Announcement,
}

impl Watch {
    /// Goes on from what was kept.
    pub fn new(
        context: &service::Context,
        config: Config,
        connection: Connection,
        store: Arc<Store>,
        board: Board,
        backups: Answers,
        report: watch::Sender<Option<Arc<View>>>,
    ) -> Self {
        let kept = store.get();
        let now = Instant::now();
        Self {
            host: Host::new(&config.root, &config.data),
            services: Services::new(&config.expected, kept.services.iter()),
            rules: Rules::new(config.pace, &kept.alerts),
            averages: Averages::default(),
            nats: NatsState::default(),
            changes: context.metrics.counter_vec("health_changes", "Things that got worse or better", "to"),
            certificates: Certificates::start(context, &config),
            context: context.clone(),
            attached: None,
            heartbeat_ms: None,
            last_look: now,
            config,
            connection,
            store,
            board,
            backups,
            report,
        }
    }

    /// Looks until the shutdown.
    ///
    /// # Errors
    /// Never but for a broken NATS client, which a fresh start mends.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let first = self.config.pace.of(FIRST_LOOK);
        let mut looks = interval_at(tokio::time::Instant::now() + first, self.config.look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.context.shutdown.clone();
        loop {
            if self.attached.is_none() {
                self.attach().await?;
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                heard = next(&mut self.attached) => match heard {
                    Some(heard) => self.heard(heard),
                    None => self.attached = None,
                },
                _ = looks.tick() => self.look().await,
                changed = self.connection.changed(), if self.attached.is_none() => changed?,
            }
        }
        if let Some(attached) = self.attached.take() {
            let bus = attached.bus.clone();
            drop(attached);
            bus.drain().await;
        }
        Ok(())
    }

    /// Begins to use the connection when there is one.
    async fn attach(&mut self) -> anyhow::Result<()> {
        let Ok(bus) = self.connection.borrow_and_update().clone() else { return Ok(()) };
        let mut roll = bus.roll().await?;
        let announcement = presence::announce(&self.context, &bus).await?;
        roll.ask().await?;
        self.attached = Some(Attached { bus, roll, asked: true, _announcement: announcement });
        Ok(())
    }

    fn heard(&mut self, heard: Heard) {
        self.heartbeat_ms = Some(unix_ms());
        let (service, instance) = (heard.stats.service.clone(), heard.stats.instance.clone());
        match self.services.heard(heard, Instant::now()) {
            News::None => {}
            News::Service => info!(service, instance, "seen for the first time"),
            News::Restart { ordered } => {
                let ordered = ordered || self.was_told(&service);
                warn!(service, instance, ordered, "started afresh");
                if !ordered {
                    self.averages.failed(Instant::now(), 1);
                    self.services.failed(&service, Instant::now());
                }
            }
        }
    }

    /// Whether this watch itself has told a service to start again, just now.
    fn was_told(&self, service: &str) -> bool {
        let told = self.store.get().restarts;
        let last = told.get(service).and_then(|times| times.last());
        last.is_some_and(|at_ms| unix_ms().saturating_sub(*at_ms) < TOLD_FOR_MS)
    }

    async fn look(&mut self) {
        let machine = self.host.look();
        self.nats = match &self.attached {
            Some(attached) => nats::look(&attached.bus, &self.nats).await,
            None => {
                let reason = self.connection.borrow().as_ref().err().cloned();
                NatsState { trouble: Some(reason.unwrap_or_default()), ..self.nats.clone() }
            }
        };
        let up = self.nats.trouble.is_none();
        let now = Instant::now();
        let since = now.saturating_duration_since(self.last_look);
        self.last_look = now;
        let asked = up && self.attached.as_ref().is_some_and(|attached| attached.asked);
        for service in self.services.look(asked, since, self.config.pace, now) {
            info!(service, "silent for a day and not among HEALTHCHECK_SERVICES: forgotten");
        }
        if up {
            self.count_letters(now);
        }
        self.averages.failed(now, self.board.take_failures());
        let services = self.services.view();
        let answers =
            services.iter().flat_map(|service| &service.instances).map(|one| one.took.as_secs_f64() * 1e3);
        let (count, sum) = answers.fold((0.0, 0.0), |(count, sum), took| (count + 1.0, sum + took));
        let used: u64 = services.iter().map(crate::services::ServiceView::memory_bytes).sum();
        self.averages.look(now, (count > 0.0).then(|| sum / count), megabytes(used));
        let found = Findings {
            machine,
            nats: self.nats.clone(),
            services,
            letters: self.averages.letters(),
            certificates: self.certificates.get(),
            backups: self.backups.borrow().clone(),
            channels: self.board.channels(),
            witness: self.board.witness(),
        };
        self.judge(found);
        self.ask(up).await;
    }

    fn judge(&mut self, found: Findings) {
        let up = found.nats.trouble.is_none();
        let at_ms = unix_ms();
        let changes = self.rules.judge(
            readings(&found, &self.config, at_ms),
            |rule| rule.needs_nats && !up,
            self.context.started.elapsed(),
            at_ms,
        );
        for change in &changes {
            self.log(change);
        }
        let alerts = self.rules.alerts();
        let settled = found.services.iter().all(|service| service.is_known(self.config.pace));
        let names = self.services.names().cloned().collect();
        self.store.change(|kept| {
            kept.services = names;
            // Their words change with every look; the disk need not know.
            if !changes.is_empty() {
                kept.alerts.clone_from(&alerts);
            }
        });
        let view = View {
            at_ms,
            taken: Instant::now(),
            uptime: self.context.started.elapsed(),
            found,
            alerts,
            silences: self.store.get().silences,
            latency_ms: self.averages.latency_ms(),
            memory_mb: self.averages.memory_mb(),
            requests: self.services.requests,
            errors: self.services.errors,
            failures: self.averages.failures(),
            heartbeat_ms: self.heartbeat_ms,
            settled,
        };
        self.report.send_replace(Some(Arc::new(view)));
    }

    /// While NATS is away a question would wait in the client, and all of them be asked when it is back.
    async fn ask(&mut self, up: bool) {
        let Some(attached) = &mut self.attached else { return };
        attached.asked = up;
        if up && let Err(error) = attached.roll.ask().await {
            warn!(%error, "the services were not asked");
            attached.asked = false;
        }
    }

    fn count_letters(&mut self, now: Instant) {
        let Some(last) = self.nats.survey.streams.iter().find(|one| one.name == DEAD).map(|one| one.last)
        else {
            return;
        };
        let before = self.store.get().last_letter;
        // The numbers begin anew when the stream does; what was there at the first look is no news.
        let new = last.saturating_sub(before.unwrap_or(last));
        if new > 0 {
            warn!(letters = new, "new dead letters");
            self.averages.died(now, new);
        }
        if before != Some(last) {
            self.store.change(|kept| kept.last_letter = Some(last));
        }
    }

    fn log(&self, change: &Change) {
        let (alert, before) = (&change.alert, change.before);
        let (rule, subject, reason) = (&alert.rule, &alert.subject, &alert.text);
        match alert.level {
            Level::Fine => {
                self.changes.with("fine").inc();
                let lasted_s = unix_ms().saturating_sub(alert.since_ms) / 1000;
                info!(rule, subject, lasted_s, "over");
            }
            Level::Warning => {
                self.changes.with("warning").inc();
                warn!(rule, subject, reason, ?before, "warning");
            }
            Level::Critical => {
                self.changes.with("critical").inc();
                warn!(rule, subject, reason, ?before, "critical");
            }
        }
        debug!(since_ms = alert.since_ms, "changed");
    }
}

async fn next(attached: &mut Option<Attached>) -> Option<Heard> {
    match attached {
        Some(attached) => attached.roll.next().await,
        None => std::future::pending().await,
    }
}
