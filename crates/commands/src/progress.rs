//! How an order to a service that operates the bot goes, in words for whoever gave it.

use std::time::Duration;

use protocol::control::{Backup, Deploy, DeployState, Job, JobEnd};

use crate::{Answer, Language, Office, Order, Silence, harmless, units};

/// The longest part of what a service says that is repeated, in characters.
const SAID: usize = 300;
/// The longest name that is repeated, in characters.
const NAMED: usize = 60;
/// From how many digits on a name is a hash, and how many of them say which.
const HASH: (usize, usize) = (40, 12);
/// In such parts of a hundred progress is told: each part changes a message.
const PERCENT: u64 = 10;

/// The words of one order.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The language of who gave it.
    pub language: Language,
    /// What is to be done.
    pub order: &'a Order,
    /// What the commands start with that tell more: `!`, `/`.
    pub prefix: &'a str,
}

/// How it stands.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// Another one goes before it.
    Waits(&'a Job),
    /// It goes on.
    GoesOn(&'a Job),
    /// It is over, and this was noted of it.
    Deployed(&'a Deploy),
    /// It is over, and this was made.
    Saved(&'a Backup, &'a Job),
    /// There was nothing to do.
    NothingNew {
        /// The version that runs.
        current: Option<&'a str>,
    },
    /// It is over.
    Over(&'a Job, &'a JobEnd),
    /// It is over, and the end was not seen.
    Missed,
    /// Nobody looks any longer.
    GivenUp {
        /// For how long somebody did.
        after: Duration,
    },
}

impl Words<'_> {
    /// It is taken, and the message that says so will say how it goes.
    #[must_use]
    pub fn accepted(&self, job: &str) -> String {
        self.say("job-accepted", job)
    }

    /// It is taken, and another message will say how it goes; where the bot may not write, a command does.
    #[must_use]
    pub fn told_here(&self, job: &str) -> Answer {
        Answer::note(self.say("job-told-here", job))
    }

    /// It is taken, and only its end will be told.
    #[must_use]
    pub fn told_at_the_end(&self, job: &str) -> String {
        self.say("job-told-at-end", job)
    }

    /// It is not taken.
    #[must_use]
    pub fn silence(&self, silence: &Silence) -> Answer {
        Answer::note(silence_of(self.language, self.order.office(), silence))
    }

    /// Nobody answered in time, so that it may have been taken.
    #[must_use]
    pub fn uncertain(&self) -> Answer {
        Answer::note(self.language.say("job-uncertain", &[("more", self.more().into())]))
    }

    /// So many go on already that no more are looked after.
    #[must_use]
    pub fn too_many(&self) -> Answer {
        Answer::note(self.language.say("job-too-many", &[("more", self.more().into())]))
    }

    /// How the job of this name stands.
    #[must_use]
    pub fn look(&self, job: &str, look: Look<'_>) -> String {
        let (language, what, name) = (self.language, self.what(), harmless(job, NAMED));
        let begin = [("what", what.into()), ("job", name.into())];
        let (id, more): (&str, Vec<(&str, String)>) = match look {
            Look::Waits(other) => ("job-waits", vec![("other", harmless(&other.id, NAMED))]),
            Look::GoesOn(job) => ("job-goes-on", vec![("step", step(language, job)), ("far", far(job))]),
            Look::Deployed(deploy) => return self.deployed(deploy),
            Look::Saved(backup, job) => {
                let size = backup.bytes.map(|bytes| units::memory(language, bytes));
                let parts = harmless(&backup.parts.join(", "), SAID);
                let holds = size.map_or_else(|| parts.clone(), |size| format!("{size} ({parts})"));
                let took =
                    took(language, job.began_ms, job.end.as_ref().map_or(backup.at_ms, |end| end.at_ms));
                let id = harmless(&backup.id, NAMED);
                ("job-saved", vec![("backup", id), ("holds", holds), ("took", took)])
            }
            Look::NothingNew { current } => {
                ("job-nothing-new", vec![("version", current.map_or_else(|| "?".to_owned(), version))])
            }
            Look::Over(_, end) => {
                let id = if end.good { "job-done" } else { "job-failed" };
                (id, vec![("words", harmless(&end.words, SAID))])
            }
            Look::Missed => ("job-missed", vec![("more", self.more())]),
            Look::GivenUp { after } => {
                ("job-given-up", vec![("time", units::duration(language, after)), ("more", self.more())])
            }
        };
        let more = more.into_iter().map(|(name, value)| (name, value.into()));
        language.say(id, &begin.into_iter().chain(more).collect::<Vec<_>>())
    }

    fn deployed(&self, deploy: &Deploy) -> String {
        let from = deploy.from.as_deref().map_or_else(|| "?".to_owned(), version);
        let values = [
            ("what", self.what().into()),
            ("job", harmless(&deploy.id, NAMED).into()),
            ("from", from.into()),
            ("to", version(&deploy.to).into()),
            ("took", took(self.language, deploy.began_ms, deploy.ended_ms).into()),
            ("words", harmless(&deploy.words, SAID).into()),
        ];
        let id = match deploy.state {
            DeployState::RolledOut => "job-rolled-out",
            DeployState::RolledBackTo => "job-rolled-back",
            DeployState::NeverStarted => "job-never-started",
            DeployState::RollbackFailed => "job-rollback-failed",
        };
        self.language.say(id, &values)
    }

    fn what(&self) -> String {
        let id = match self.order {
            Order::Update { .. } => "job-update",
            Order::Rollback { .. } => "job-rollback",
            Order::Backup => "job-backup",
        };
        self.language.say(id, &[])
    }

    /// The command that tells more.
    fn more(&self) -> String {
        let name = match self.order.office() {
            Office::Deploy => "deploys",
            Office::Backup => "backups",
        };
        format!("{}{name}", self.prefix)
    }

    fn say(&self, id: &str, job: &str) -> String {
        let (what, job, more) = (self.what().into(), harmless(job, NAMED).into(), self.more().into());
        self.language.say(id, &[("what", what), ("job", job), ("more", more)])
    }
}

/// Why a service has nothing to say, and what to do.
pub(crate) fn silence_of(language: Language, office: Office, silence: &Silence) -> String {
    match (silence, office) {
        (Silence::Nobody, Office::Deploy) => language.say("job-no-deployer", &[]),
        (Silence::Nobody, Office::Backup) => language.say("job-no-backup", &[]),
        (Silence::Late, _) => language.say("job-late", &[]),
        (Silence::Refused(reason), _) => {
            language.say("job-refused", &[("reason", harmless(reason, SAID).into())])
        }
    }
}

/// A version; a hash is known by its first digits.
pub(crate) fn version(name: &str) -> String {
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    let is_hash = bare.len() >= HASH.0 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { bare[..HASH.1].to_owned() } else { harmless(name, NAMED) }
}

/// How long something took.
pub(crate) fn took(language: Language, began_ms: u64, ended_ms: u64) -> String {
    units::duration(language, Duration::from_millis(ended_ms.saturating_sub(began_ms)))
}

/// What a job does now: `back: gateways: one is not ready`.
fn step(language: Language, job: &Job) -> String {
    let (back, rest) = match job.step.strip_prefix("back: ") {
        Some(rest) => (true, rest),
        None => (false, job.step.as_str()),
    };
    let (word, note) = rest.split_once(": ").unwrap_or((rest, ""));
    let mut text = match id_of(word) {
        Some(id) => language.say(id, &[]),
        None => harmless(word, NAMED),
    };
    if back {
        text = language.say("job-back", &[("step", text.into())]);
    }
    if note.is_empty() { text } else { format!("{text} · {}", harmless(note, SAID)) }
}

/// The text of a step of `deployer` or `backup`.
fn id_of(step: &str) -> Option<&'static str> {
    Some(match step {
        "resolve" | "look" | "begin" => "job-step-look",
        "fetch" => "job-step-fetch",
        "backup" => "job-step-backup",
        "preflight" => "job-step-preflight",
        "prepare" => "job-step-prepare",
        "canary" => "job-step-canary",
        "workers" => "job-step-workers",
        "gateways" => "job-step-gateways",
        "rest" => "job-step-rest",
        "gate" => "job-step-gate",
        "streams" => "job-step-streams",
        "database" => "job-step-database",
        "folders" => "job-step-folders",
        "settings" => "job-step-settings",
        "hashes" => "job-step-hashes",
        "repository" => "job-step-repository",
        "archive" => "job-step-archive",
        "old backups" => "job-step-old-backups",
        _ => return None,
    })
}

/// How much of it is done: steps of a deploy, and of what is counted in bytes the tenth.
fn far(job: &Job) -> String {
    match job.total {
        Some(total) if total <= 100 => format!(" ({}/{total})", job.done.min(total)),
        Some(total) => {
            // Both fit, or it is no number of bytes.
            let percent = 100_u64.saturating_mul(job.done.min(total)) / total;
            format!(" ({} %)", percent / PERCENT * PERCENT)
        }
        None => String::new(),
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
