//! What is asked of the services that operate the bot, on `control.<service>.<verb>`, and what they answer.
//!
//! Every question is answered at once. What takes longer is accepted as a [`Job`], which `status` shows until
//! the next one begins. Questions carry no authority: who may ask what is held by NATS, subject by subject, so
//! a server takes a question only where its [`verb`](Order::verb) is the one of the subject.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{VERSION, wire::Versioned, wire::versioned};

mod health;

pub use health::{
    Alert, AlertLevel, HealthAnswer, HealthOrder, HealthReply, HealthRequest, SILENCE_MAX_S, SILENCE_MIN_S,
    Silence,
};

/// The longest text that anyone writes into a question, in characters. Longer ones are cut by who writes them.
pub const WORDS_MAX: usize = 500;

/// Something that one service obeys.
pub trait Order: Versioned {
    /// What it is answered with.
    type Answer: Versioned;

    /// The last token of the subject.
    fn verb(&self) -> &'static str;

    /// The answer to what is not taken, and why.
    fn refused(reason: String) -> Self::Answer;
}

/// `control.<service>.restart`: end in order, so that the supervisor starts the service again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// The version of this payload.
    pub v: u16,
    /// Who asks: `cli`, `healthcheck`, `discord:<user id>`, …
    pub by: String,
    /// Why, in words for the log.
    pub reason: String,
    /// Which instance; without it each one that hears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}
versioned!(Restart, "restart");

/// The answer of an instance that ends now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restarting {
    /// The version of this payload.
    pub v: u16,
    /// Which instance.
    pub instance: String,
}
versioned!(Restarting, "restarting");

/// Something that takes longer than an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its name, told when it was accepted.
    pub id: String,
    /// The verb that began it.
    pub verb: String,
    /// Who asked.
    pub by: String,
    /// What it does now, or did last, in a word or two.
    pub step: String,
    /// How much of `total` is done, in bytes or steps.
    pub done: u64,
    /// How much there is to do, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// Set once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<JobEnd>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnd {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether what was asked for is so now.
    pub good: bool,
    /// What came out, or what failed and what to do.
    pub words: String,
}

/// `control.backup.<verb>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupRequest {
    /// The version of this payload.
    pub v: u16,
    /// Who asks: `cli`, `schedule`, `deployer`, `discord:<user id>`, …
    pub by: String,
    /// What for.
    pub order: BackupOrder,
}
versioned!(BackupRequest, "backup-request");

/// What is asked of `backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum BackupOrder {
    /// Save everything now. A job.
    Create,
    /// Which backups there are.
    List,
    /// Read what is stored, and say whether it is whole. A job.
    Verify,
    /// Bring a backup back. A job.
    Restore {
        /// Which one, `latest` for the newest.
        backup: String,
        /// An empty folder to restore into. Without it what is there is replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<String>,
    },
    /// Restore the newest into a scratch place and look whether it is whole. A job.
    Drill,
    /// What goes on, and what was last.
    Status,
}

/// The answer of `backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupAnswer {
    /// The version of this payload.
    pub v: u16,
    /// What it is.
    pub reply: BackupReply,
}
versioned!(BackupAnswer, "backup-answer");

/// What `backup` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum BackupReply {
    /// The job has begun.
    Accepted {
        /// Its name.
        job: String,
    },
    /// Nothing is done, and why.
    Refused {
        /// What was expected.
        reason: String,
    },
    /// The answer to `list`, the newest first.
    Backups {
        /// At most some hundred.
        backups: Vec<Backup>,
    },
    /// The answer to `status`.
    Status(Box<BackupStatus>),
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// Its name.
    pub id: String,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much it holds, in bytes, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What is in it: `database`, `streams`, `settings`, …
    pub parts: Vec<String>,
    /// When it was last restored and found whole, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved_ms: Option<u64>,
}

/// How backups stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupStatus {
    /// The job that runs, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// When the last good backup was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_ms: Option<u64>,
    /// How the last drill ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<JobEnd>,
    /// When the next one is due, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// The backup whose restore in place is neither done nor undone, also while one runs: nobody may use what it exchanges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
}

/// `control.deploy.<verb>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployRequest {
    /// The version of this payload.
    pub v: u16,
    /// Who asks: `cli`, `hook:<id>`, `schedule`, `discord:<user id>`, …
    pub by: String,
    /// What for.
    pub order: DeployOrder,
}
versioned!(DeployRequest, "deploy-request");

/// What is asked of `deployer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum DeployOrder {
    /// Look whether there is something new where this bot comes from, and roll it out. What is new is never
    /// taken from the question. A job.
    Request {
        /// The commit of which the asker heard: shown, and used to know one push from another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Also where nothing changed. Skips nothing else. It is asked on `control.deploy.force`, which whoever may
        /// only say that there is something new is not granted.
        #[serde(default)]
        force: bool,
    },
    /// Go back to a version that ran well. A job.
    Rollback {
        /// Which one; without it the one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// What goes on, and what runs.
    Status,
    /// What was rolled out, the newest first.
    History,
}

/// The answer of `deployer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployAnswer {
    /// The version of this payload.
    pub v: u16,
    /// What it is.
    pub reply: DeployReply,
}
versioned!(DeployAnswer, "deploy-answer");

/// What `deployer` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum DeployReply {
    /// The job has begun, or is done after the one that runs: several of those become one.
    Accepted {
        /// Its name.
        job: String,
    },
    /// Nothing is done, and why.
    Refused {
        /// What was expected.
        reason: String,
    },
    /// The answer to `status`.
    Status(Box<DeployStatus>),
    /// The answer to `history`, the newest first.
    History {
        /// At most some hundred.
        deploys: Vec<Deploy>,
    },
}

/// How deploys stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployStatus {
    /// The job that runs, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// The version that runs, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Versions that ran well and can be gone back to, the newest first.
    pub kept: Vec<String>,
    /// Versions that failed and are not tried again by themselves.
    pub quarantined: Vec<String>,
}

/// One deploy that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deploy {
    /// The name of its job.
    pub id: String,
    /// Who asked.
    pub by: String,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that was to run.
    pub to: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it was over, in milliseconds since 1970.
    pub ended_ms: u64,
    /// How it ended.
    pub state: DeployState,
    /// What came out, or what failed at which step.
    pub words: String,
}

/// How a deploy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeployState {
    /// The new version runs everywhere.
    RolledOut,
    /// It failed, and the version before runs everywhere.
    RolledBackTo,
    /// Nothing was changed.
    NeverStarted,
    /// It failed, and so did going back: a person is needed.
    RollbackFailed,
}

/// Something that was done, or refused, by a service that operates the bot. In the stream `AUDIT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// The version of this payload.
    pub v: u16,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who did it: the name of a service.
    pub service: String,
    /// On whose behalf: `schedule`, `cli`, `hook:<id>`, `rule:<name>`, …
    pub by: String,
    /// What, as in [`Order::verb`].
    pub verb: String,
    /// To what: an instance, a backup, a version.
    pub object: String,
    /// How it came out.
    pub result: AuditResult,
    /// In words.
    pub words: String,
}
versioned!(Audit, "audit");

/// How something came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was begun.
    Begun,
    /// It is so now.
    Done,
    /// It was tried, and is not so.
    Failed,
    /// It was not tried.
    Refused,
}

impl Order for BackupRequest {
    type Answer = BackupAnswer;

    fn verb(&self) -> &'static str {
        match self.order {
            BackupOrder::Create => "create",
            BackupOrder::List => "list",
            BackupOrder::Verify => "verify",
            BackupOrder::Restore { .. } => "restore",
            BackupOrder::Drill => "drill",
            BackupOrder::Status => "status",
        }
    }

    fn refused(reason: String) -> BackupAnswer {
        BackupAnswer { v: VERSION, reply: BackupReply::Refused { reason } }
    }
}

impl Order for DeployRequest {
    type Answer = DeployAnswer;

    fn verb(&self) -> &'static str {
        match self.order {
            DeployOrder::Request { force: false, .. } => "request",
            DeployOrder::Request { force: true, .. } => "force",
            DeployOrder::Rollback { .. } => "rollback",
            DeployOrder::Status => "status",
            DeployOrder::History => "history",
        }
    }

    fn refused(reason: String) -> DeployAnswer {
        DeployAnswer { v: VERSION, reply: DeployReply::Refused { reason } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn the_verb_of_the_subject_is_that_of_the_payload() {
        let restore = BackupOrder::Restore { backup: "latest".to_owned(), into: None };
        for order in [BackupOrder::Create, BackupOrder::List, BackupOrder::Verify, restore] {
            let request = BackupRequest { v: VERSION, by: "cli".to_owned(), order };
            let json: serde_json::Value = serde_json::from_slice(&encode(&request).unwrap()).unwrap();
            assert_eq!(json["order"]["verb"], request.verb());
        }
        for order in [DeployOrder::Request { commit: None, force: false }, DeployOrder::Rollback { to: None }]
        {
            let request = DeployRequest { v: VERSION, by: "cli".to_owned(), order };
            let json: serde_json::Value = serde_json::from_slice(&encode(&request).unwrap()).unwrap();
            assert_eq!(json["order"]["verb"], request.verb());
        }
    }

    #[test]
    fn who_insists_asks_on_a_subject_of_its_own() {
        let order = DeployOrder::Request { commit: None, force: true };
        assert_eq!(DeployRequest { v: VERSION, by: "hook:site".to_owned(), order }.verb(), "force");
    }

    #[test]
    fn a_worker_in_another_language_may_leave_out_what_is_optional() {
        let bytes = br#"{"v":1,"by":"hook:site","order":{"verb":"request"}}"#;
        let request: DeployRequest = decode(bytes).unwrap();
        assert_eq!(request.order, DeployOrder::Request { commit: None, force: false });
    }
}
