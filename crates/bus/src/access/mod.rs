//! Who may do what on NATS: users, what each of them is granted, and how the server is told.
//!
//! | module | owns |
//! |---|---|
//! | this one | users, accounts, grants |
//! | `grants` | what a grant of each kind consists of, in subjects |
//! | `table` | who is granted what: the one place to state a new permission |
//! | `conf` | the same as the configuration of nats-server |
//! | `nkey` | the key by which NATS knows a user |
//!
//! There are two accounts. In one, a permission cannot hold back everything: whoever asks the server chooses
//! the subject of the answer, and answers are not checked. So what commands the machine (`control.*` of backup
//! and deployer) is in an account of its own, `OPS`, which sees some of `APP`, and of which `APP` is given two things:
//! the parts of snapshots that are put back, and the orders that whoever runs the bot may give in chat.

mod conf;
mod grants;
mod nkey;
mod table;

use std::fmt;

pub use conf::render;
pub use nkey::{Nkey, NkeyError};

/// Somebody NATS knows, by a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// `discord-gateway`
    DiscordGateway,
    /// `twitch-gateway`
    TwitchGateway,
    /// `command-worker`, all of them.
    CommandWorker,
    /// `vigie provision`
    Provision,
    /// `dashboard`
    Dashboard,
    /// `healthcheck`
    Healthcheck,
    /// `backup`
    Backup,
    /// `webhook-deploy`
    WebhookDeploy,
    /// `deployer`
    Deployer,
    /// The person at the command line: every other command of `vigie`.
    Operator,
}

/// Subjects of one account are not those of another, unless one is given to the other by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What the bot does: streams, buckets, gateways, workers.
    App,
    /// What is done to the machine.
    Ops,
}

/// Subjects that belong together, and what for. Patterns, with wildcards as NATS has them; a subscription
/// that is shared has the name of its group behind a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it is needed for, for people.
    pub why: String,
    /// What may be published to.
    pub publish: Vec<String>,
    /// What may be listened to.
    pub subscribe: Vec<String>,
    /// Whether these are subjects of the other account. Those of JetStream begin with `app.` in `OPS`: under their own
    /// name the server answers for the account that asks as well.
    pub across: bool,
}

/// How JetStream of `APP` is asked in `OPS`.
pub(crate) const API_OF_APP: &str = "app.$JS.API";
/// What `OPS` gives to `APP`, besides the questions of a worker. As a question across accounts it would not do: the server adds a
/// header to those, and takes it for a part of the snapshot.
const FOR_APP: &str = "$JS.SNAPSHOT.>";
/// What makes a subject of `APP` one of `OPS`.
const OF_APP: &str = "app.";

impl User {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::DiscordGateway,
        Self::TwitchGateway,
        Self::CommandWorker,
        Self::Provision,
        Self::Dashboard,
        Self::Healthcheck,
        Self::Backup,
        Self::WebhookDeploy,
        Self::Deployer,
        Self::Operator,
    ];

    /// The name, which is that of the service.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiscordGateway => "discord-gateway",
            Self::TwitchGateway => "twitch-gateway",
            Self::CommandWorker => "command-worker",
            Self::Provision => "provision",
            Self::Dashboard => "dashboard",
            Self::Healthcheck => "healthcheck",
            Self::Backup => "backup",
            Self::WebhookDeploy => "webhook-deploy",
            Self::Deployer => "deployer",
            Self::Operator => "operator",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|user| user.name() == name)
    }

    /// Where it is.
    #[must_use]
    pub const fn account(self) -> Account {
        match self {
            Self::DiscordGateway
            | Self::TwitchGateway
            | Self::CommandWorker
            | Self::Provision
            | Self::Dashboard => Account::App,
            Self::Healthcheck | Self::Backup | Self::WebhookDeploy | Self::Deployer | Self::Operator => {
                Account::Ops
            }
        }
    }

    /// How its inboxes begin, so that no other user can listen to its answers.
    #[must_use]
    pub fn inbox(self) -> String {
        format!("_INBOX_{}", self.name())
    }

    /// All that it may do.
    #[must_use]
    pub fn grants(self) -> Vec<Grant> {
        table::of(self)
    }
}

impl Account {
    /// Both.
    pub const ALL: [Self; 2] = [Self::App, Self::Ops];

    /// Its name on the server.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "APP",
            Self::Ops => "OPS",
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
