//! One process that `vigie up` looks after: what it is, not how it is doing.

use std::{ffi::OsString, path::PathBuf};

use bus::Keeping;

use crate::settings::PLATFORMS;

/// How the settings of backups begin, and the variables that open the stores they go to.
const BACKUPS: [&str; 8] = ["BACKUP_", "AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "RCLONE_", "ST_"];

/// When a part starts and ends, in the order of starting. They end from the gateways, which are the
/// mouths of the system, to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// NATS.
    Nats,
    /// The local Discord and Twitch.
    Sandbox,
    /// What takes events.
    Worker,
    /// What talks to a platform.
    Gateway,
}

impl Stage {
    /// The order of ending.
    pub(crate) const ENDING: [Self; 4] = [Self::Gateway, Self::Worker, Self::Sandbox, Self::Nats];
}

/// How to see that a part works.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    /// NATS takes requests, and has what the services need.
    Nats {
        /// Where it is.
        url: String,
        /// Where it says how it is.
        monitor: String,
        /// How its streams are kept.
        keeping: Keeping,
    },
    /// `/readyz` at a fixed address.
    Http {
        /// The address.
        address: String,
    },
    /// `/readyz` at a free address, which it is told with each start.
    OwnHttp,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What it is called in logs and reports.
    pub name: String,
    /// When it starts and ends.
    pub stage: Stage,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables that it gets besides those of this process.
    pub variables: Vec<(String, String)>,
    /// The platform that it talks to, as one of [`PLATFORMS`].
    pub platform: Option<&'static str>,
    /// How to see that it works.
    pub readiness: Readiness,
    /// Lines of its log that say nothing to a person hold this.
    pub quiet: Option<&'static str>,
}

impl Part {
    /// Whether it is of the bot, which writes what a backup holds; the others only look after it.
    pub(crate) fn is_of_the_bot(&self) -> bool {
        self.stage == Stage::Worker || self.platform.is_some()
    }

    /// Whether it may be told this variable: the accounts of a platform are for its gateway alone, and what opens the
    /// backups is for the one that makes them.
    pub(crate) fn may_know(&self, variable: &str) -> bool {
        if BACKUPS.iter().any(|start| variable.starts_with(start)) {
            return self.name == "backup";
        }
        let of = PLATFORMS.iter().find(|start| variable.starts_with(**start));
        of.is_none_or(|start| self.platform == Some(*start))
    }
}
