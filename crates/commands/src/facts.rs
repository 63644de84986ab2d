//! What a command may ask about the world. The worker answers from NATS, tests from a table.

use std::{pin::Pin, time::Duration};

use protocol::{
    Platform, ServiceStats,
    control::{Backup, BackupStatus, Deploy, DeployStatus},
};

/// What every service says of itself, once all that live have answered.
pub type Gathering<'a> = Pin<Box<dyn Future<Output = Vec<ServiceStats>> + Send + 'a>>;

/// What one of the services that operate the bot says.
pub type Told<'a, T> = Pin<Box<dyn Future<Output = Result<T, Silence>> + Send + 'a>>;

/// What is known of the world.
pub trait Facts: Send + Sync {
    /// Now, in Unix microseconds.
    fn now_us(&self) -> u64;

    /// The worker that answers.
    fn me(&self) -> Me;

    /// How long the last answer on a platform took, if there has been one.
    fn last_latency(&self, platform: Platform) -> Option<Latency>;

    /// Asks every service for its figures; empty when none answers in time.
    fn services(&self) -> Gathering<'_>;

    /// Asks `deployer` what runs, and what was rolled out.
    fn deploys(&self) -> Told<'_, Deploys>;

    /// Asks `backup` how backups stand, and which there are.
    fn backups(&self) -> Told<'_, Backups>;
}

/// How deploys stand, and those that are over, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploys {
    /// What goes on, and what runs.
    pub status: DeployStatus,
    /// At most some hundred.
    pub history: Vec<Deploy>,
}

/// How backups stand, and which there are, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// What goes on, and what was last.
    pub status: BackupStatus,
    /// At most some hundred.
    pub list: Vec<Backup>,
}

/// Why a service that operates the bot has nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It does not run.
    Nobody,
    /// It did not answer in time, or nothing that can be read.
    Late,
    /// It does not do that, for this reason.
    Refused(String),
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Version and commit, `0.1.0 (abc1234)`.
    pub build: String,
    /// Which of several: `<host>-<process id>`.
    pub instance: String,
    /// How long it runs.
    pub uptime: Duration,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The request to the platform, in microseconds.
    pub platform_us: u64,
    /// From reading the question to the platform's answer, in microseconds.
    pub total_us: u64,
}
