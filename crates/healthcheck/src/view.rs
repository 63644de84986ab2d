//! What one look found. Every answer over HTTP is made of the last one.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    backups::Backups,
    certificates,
    host::Machine,
    nats::NatsState,
    rules::{Alert, Level},
    services::ServiceView,
    silences::Silences,
};

/// The last look; `None` before the first one.
pub type Views = watch::Receiver<Option<Arc<View>>>;

/// What a look found, before it is judged.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The machine.
    pub machine: Machine,
    /// NATS.
    pub nats: NatsState,
    /// Services, by name.
    pub services: Vec<ServiceView>,
    /// Dead letters of the last hour.
    pub letters: u64,
    /// Certificates that were looked at, by server.
    pub certificates: BTreeMap<String, certificates::Known>,
    /// How backups stood when the service that makes them said so last.
    pub backups: Option<Backups>,
    /// The ways in which people are told.
    pub channels: BTreeMap<&'static str, Condition>,
    /// Who outside is told that all is well; `None` when nobody is.
    pub witness: Option<Condition>,
}

/// Whether somebody can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It has not been tried yet.
    #[default]
    Untried,
    /// When it was tried last, it worked.
    Fine,
    /// Why it did not work.
    Trouble(String),
}

impl Condition {
    /// Why it does not work.
    pub fn trouble(&self) -> &str {
        match self {
            Self::Untried | Self::Fine => "",
            Self::Trouble(reason) => reason,
        }
    }
}

/// What a look found, and what of it is wrong.
#[derive(Clone, Debug)]
pub struct View {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// When.
    pub taken: Instant,
    /// How long this service runs.
    pub uptime: Duration,
    /// What was found.
    pub found: Findings,
    /// What is wrong, the worst first.
    pub alerts: Vec<Alert>,
    /// Of what nobody is told for a while.
    pub silences: Silences,
    /// How long services took to answer, in milliseconds, in the last five minutes.
    pub latency_ms: Option<f64>,
    /// The memory of all services together, in MB, in the last five minutes.
    pub memory_mb: Option<f64>,
    /// What people asked of the bot.
    pub requests: f64,
    /// Errors that services counted.
    pub errors: f64,
    /// Tasks that failed in the last hour.
    pub failures: u64,
    /// When a service answered last, in Unix milliseconds.
    pub heartbeat_ms: Option<u64>,
    /// Whether every service has answered, or had the time to.
    pub settled: bool,
}

/// How it is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no look yet, or not every service had the time to answer.
    Starting,
    /// Nothing is wrong.
    Healthy,
    /// The bot works; somebody should look at it all the same.
    Degraded,
    /// Something critical.
    Unhealthy,
    /// The last look is too old to tell.
    Stuck,
}

impl Verdict {
    /// Of the last look, when it may be so old.
    pub fn of(view: Option<&View>, oldest: Duration) -> Self {
        let Some(view) = view else { return Self::Starting };
        if view.taken.elapsed() > oldest {
            return Self::Stuck;
        }
        match view.alerts.iter().map(|alert| alert.level).max().unwrap_or_default() {
            Level::Critical => Self::Unhealthy,
            _ if !view.settled => Self::Starting,
            Level::Warning => Self::Degraded,
            Level::Fine => Self::Healthy,
        }
    }

    /// Whether a monitor should be content.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Stuck => "stuck",
        }
    }
}
