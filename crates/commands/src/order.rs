//! What a command has done by a service that operates the bot. The command says what; who carries it out, and tells
//! how it goes, is the worker.

use serde::{Deserialize, Serialize};

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Look whether there is something new, and roll it out.
    Update {
        /// Also where nothing changed.
        force: bool,
    },
    /// Go back to a version that ran well.
    Rollback {
        /// Which one; without it the one before.
        to: Option<String>,
    },
    /// Save everything.
    Backup,
}

/// Who carries orders out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Office {
    /// The service `deployer`.
    Deploy,
    /// The service `backup`.
    Backup,
}

impl Order {
    /// Who carries it out.
    #[must_use]
    pub const fn office(&self) -> Office {
        match self {
            Self::Update { .. } | Self::Rollback { .. } => Office::Deploy,
            Self::Backup => Office::Backup,
        }
    }
}

impl Office {
    /// As in `control.<name>.<verb>`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Backup => "backup",
        }
    }
}
