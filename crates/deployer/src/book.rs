//! What is known of deploys: what runs, what could run again, what failed, what is wanted next. It is kept in
//! `journal`, so that a deploy survives the death of this program at any moment.

use protocol::control::{self, Audit, AuditResult, Deploy, DeployState, JobEnd};
use serde::{Deserialize, Serialize};

use crate::{
    plan::{End, Found, Job, Step, Want, Way},
    release::{Crew, Release},
    succession::Succession,
};

/// Versions that ran well and can come back, besides the one that runs.
pub const KEPT_MAX: usize = 3;
/// Versions that failed and are remembered.
const QUARANTINED_MAX: usize = 16;
/// Deploys that are remembered.
const HISTORY_MAX: usize = 100;
/// The longest words that are kept of a deploy, in characters.
const WORDS_MAX: usize = 2000;
/// What waits to be told; of more, the oldest go.
const UNTOLD_MAX: usize = 32;

/// Whoever hears of pushes.
const HEARS: &str = "webhook-deploy";

/// The version of what is written.
pub const VERSION: u16 = 1;

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The version of what is written.
    pub v: u16,
    /// How many deploys were accepted.
    number: u64,
    /// What runs, when that is known.
    pub current: Option<Release>,
    /// What ran well before, the newest first.
    pub kept: Vec<Release>,
    /// What is not tried again by itself, the newest first.
    pub quarantined: Vec<Bad>,
    /// Deploys that are over, the newest first.
    pub history: Vec<Deploy>,
    /// The one that goes on.
    pub job: Option<Job>,
    /// The one after it.
    pub next: Option<Ask>,
    /// How the last one ended, for who asked.
    pub last: Option<control::Job>,
    /// What people were not told yet, the oldest first.
    pub untold: Vec<Audit>,
    /// The day since 1970 on which it was last looked whether there is something new.
    #[serde(default)]
    pub looked_day: u64,
    /// How the deployer itself is replaced, while it is.
    #[serde(default)]
    pub succession: Option<Succession>,
    /// Whether it is to be looked once whether there is something new.
    #[serde(default)]
    pub look: bool,
    /// The version of which people were told last that it is there.
    #[serde(default)]
    pub offered: Option<String>,
}

/// A version that failed, or that a person went back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Its name.
    pub name: String,
    /// What it was made of.
    pub source: String,
}

/// A deploy that waits for another to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Its name.
    pub id: String,
    /// Who asked.
    pub by: String,
    /// What for.
    pub want: Want,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            v: VERSION,
            number: 0,
            current: None,
            kept: Vec::new(),
            quarantined: Vec::new(),
            history: Vec::new(),
            job: None,
            next: None,
            last: None,
            untold: Vec::new(),
            looked_day: 0,
            succession: None,
            look: false,
            offered: None,
        }
    }
}

impl Book {
    /// Takes an order: at once, or after what goes on. Several that wait become one, the newest; but none takes the
    /// place of a way back.
    ///
    /// # Errors
    /// Why it is not taken, in words.
    pub fn accept(&mut self, by: String, mut want: Want, now_ms: u64) -> Result<String, String> {
        if let Want::Kept { name } = &mut want {
            match &self.job {
                // Which one is the version before is not known until that is over.
                Some(job) if name.is_empty() => {
                    let id = &job.id;
                    return Err(format!("{id} goes on: name the version to go back to, or wait for its end"));
                }
                // It is one to go back to once that one is replaced.
                Some(_) if self.is_current(name) => {}
                _ => *name = self.kept_named(name)?.name.clone(),
            }
        }
        if let (Some(waiting), Want::Newest { .. }) = (&self.next, &want)
            && let Want::Kept { name } = &waiting.want
        {
            // What a person decided is not lost to a push.
            return Err(format!("a rollback to {name} waits: ask again after it"));
        }
        if let (Some(waiting), Want::Newest { force, commit }) = (&mut self.next, &want)
            && let Want::Newest { force: before, commit: heard } = &mut waiting.want
        {
            *before |= *force;
            heard.clone_from(commit);
            waiting.by = by;
            return Ok(waiting.id.clone());
        }
        self.number += 1;
        let ask = Ask { id: format!("deploy-{}", self.number), by, want };
        let id = ask.id.clone();
        if let Some(superseded) = self.next.replace(ask) {
            let job = Job::new(superseded.id, superseded.by, superseded.want, now_ms);
            let words = format!("never begun: {id} was asked for meanwhile");
            self.remember(&job, &End { state: Some(DeployState::NeverStarted), words }, now_ms);
        }
        self.take(now_ms);
        Ok(id)
    }

    /// Makes what waits the deploy that goes on, when none does.
    pub fn take(&mut self, now_ms: u64) {
        if self.job.is_none()
            && let Some(ask) = self.next.take()
        {
            self.job = Some(Job::new(ask.id, ask.by, ask.want, now_ms));
        }
    }

    /// Notes how the step of the deploy ended; gives the end when it was the last one.
    pub fn advance(&mut self, result: Result<Found, String>, now_ms: u64) -> Option<End> {
        let mut job = self.job.take()?;
        let resolved = job.way == Way::Forth && job.step == Step::Resolve;
        let end = match job.advance(result) {
            None if resolved => self.objection(&job),
            end => end,
        };
        let Some(end) = end else {
            if resolved {
                self.tell(&job, AuditResult::Begun, "rolls it out".to_owned(), now_ms);
            }
            self.job = Some(job);
            return None;
        };
        self.settle(&job, &end);
        let hears = |crew: &Crew| crew.answers_as.as_deref() == Some(HEARS) && crew.before > 0;
        self.look |=
            !matches!(end.state, None | Some(DeployState::NeverStarted)) && job.crew.iter().any(hears);
        self.remember(&job, &end, now_ms);
        self.take(now_ms);
        Some(end)
    }

    /// Why the version that was found is not rolled out.
    fn objection(&self, job: &Job) -> Option<End> {
        let (Want::Newest { force, .. }, Some(target)) = (&job.want, &job.target) else { return None };
        if self.quarantined.iter().any(|bad| bad.source == target.source) {
            let words = format!(
                "{} failed before, or somebody went back from it: it is not tried again; what comes after it is",
                target.name
            );
            return Some(End { state: Some(DeployState::NeverStarted), words });
        }
        let current = self.current.as_ref().filter(|current| current.source == target.source && !force)?;
        Some(End { state: None, words: format!("nothing new: {} was rolled out last", current.name) })
    }

    /// What the end means for the versions.
    fn settle(&mut self, job: &Job, end: &End) {
        match end.state {
            Some(DeployState::RolledOut) => {
                let Some(target) = job.target.clone() else { return };
                self.quarantined.retain(|bad| bad.source != target.source);
                if let (Want::Kept { .. }, Some(from)) = (&job.want, &job.from) {
                    // Or the next look for something new would bring it back.
                    self.quarantine(from);
                }
                self.succession = Some(Succession {
                    deploy: job.id.clone(),
                    by: job.by.clone(),
                    name: target.name.clone(),
                    image: target.operations.as_ref().map(|operations| operations.image.clone()),
                    starts: 0,
                    change: None,
                });
                let before = self.current.replace(target);
                self.keep(before);
                // What ran may be something else, which was started by hand.
                self.keep(job.from.clone());
            }
            Some(DeployState::RolledBackTo | DeployState::RollbackFailed) => {
                if let (Want::Newest { .. }, Some(target)) = (&job.want, &job.target) {
                    self.quarantine(target);
                }
                if let Some(from) = &job.from {
                    let before = self.current.replace(from.clone());
                    self.keep(before);
                }
            }
            Some(DeployState::NeverStarted) | None => {}
        }
    }

    fn keep(&mut self, before: Option<Release>) {
        let current = self.current.as_ref().map(|current| current.image.clone()).unwrap_or_default();
        if let Some(before) = before {
            self.kept.retain(|kept| kept.image != before.image && kept.name != before.name);
            self.kept.insert(0, before);
        }
        let name = self.current.as_ref().map(|current| current.name.clone()).unwrap_or_default();
        self.kept.retain(|kept| kept.image != current && kept.name != name);
        self.kept.truncate(KEPT_MAX);
    }

    fn quarantine(&mut self, bad: &Release) {
        self.quarantined.retain(|other| other.source != bad.source);
        self.quarantined.insert(0, Bad { name: bad.name.clone(), source: bad.source.clone() });
        self.quarantined.truncate(QUARANTINED_MAX);
    }

    fn remember(&mut self, job: &Job, end: &End, now_ms: u64) {
        let words: String = end.words.chars().take(WORDS_MAX).collect();
        let good = matches!(end.state, None | Some(DeployState::RolledOut));
        let mut last = shown(job);
        last.end = Some(JobEnd { at_ms: now_ms, good, words: words.clone() });
        self.last = Some(last);
        let Some(state) = end.state else { return };
        let result = match state {
            DeployState::RolledOut => AuditResult::Done,
            DeployState::NeverStarted => AuditResult::Refused,
            DeployState::RolledBackTo | DeployState::RollbackFailed => AuditResult::Failed,
        };
        self.tell(job, result, words.clone(), now_ms);
        let name = |release: &Option<Release>| release.as_ref().map(|release| release.name.clone());
        let wanted = match &job.want {
            Want::Kept { name } => name.clone(),
            Want::Newest { .. } => "the newest".to_owned(),
        };
        let deploy = Deploy {
            id: job.id.clone(),
            by: job.by.clone(),
            from: name(&job.from).or_else(|| name(&self.current)),
            to: name(&job.target).unwrap_or(wanted),
            began_ms: job.began_ms,
            ended_ms: now_ms,
            state,
            words,
        };
        self.history.insert(0, deploy);
        self.history.truncate(HISTORY_MAX);
    }

    fn tell(&mut self, job: &Job, result: AuditResult, words: String, now_ms: u64) {
        let shown = shown(job);
        let object = job.target.as_ref().map_or(&job.id, |target| &target.name).clone();
        self.add_notice(shown.by, shown.verb, object, result, words, now_ms);
    }

    /// Notes, once for each, that a version is there which nobody asked for yet.
    pub fn offer(&mut self, newest: &Release, now_ms: u64) {
        if self.knows(newest) || self.offered.as_ref() == Some(&newest.source) {
            return;
        }
        self.offered = Some(newest.source.clone());
        let words = format!("{} is there; `vigie deploy now` rolls it out", newest.name);
        let (by, verb) = ("schedule".to_owned(), "check".to_owned());
        self.add_notice(by, verb, newest.name.clone(), AuditResult::Done, words, now_ms);
    }

    /// Notes that it could not be looked, in a whole window, whether there is something new.
    pub fn unlooked(&mut self, words: &str, now_ms: u64) {
        let words: String = words.chars().take(WORDS_MAX).collect();
        let words = format!("it is not known whether there is something new: {words}");
        let (by, verb, object) = ("schedule".to_owned(), "request".to_owned(), "the newest".to_owned());
        self.add_notice(by, verb, object, AuditResult::Refused, words, now_ms);
    }

    /// Whether a version was rolled out last, or is not tried again.
    #[must_use]
    pub fn knows(&self, newest: &Release) -> bool {
        self.current.as_ref().is_some_and(|current| current.source == newest.source)
            || self.quarantined.iter().any(|bad| bad.source == newest.source)
    }

    /// Notes how the succession of the deployer ended.
    pub fn succeeded(&mut self, own: &Succession, result: AuditResult, words: &str, now_ms: u64) {
        self.succession = None;
        let words: String = words.chars().take(WORDS_MAX).collect();
        if let Some(deploy) = self.history.iter_mut().find(|deploy| deploy.id == own.deploy) {
            let both = format!("{}\n{words}", deploy.words);
            deploy.words = both.chars().take(WORDS_MAX).collect();
        }
        self.add_notice(own.by.clone(), "self-update".to_owned(), own.name.clone(), result, words, now_ms);
    }

    fn add_notice(
        &mut self,
        by: String,
        verb: String,
        object: String,
        result: AuditResult,
        words: String,
        at_ms: u64,
    ) {
        let over = (self.untold.len() + 1).saturating_sub(UNTOLD_MAX);
        self.untold.drain(..over);
        let service = "deployer".to_owned();
        self.untold.push(Audit { v: protocol::VERSION, at_ms, service, by, verb, object, result, words });
    }

    /// The last signed release that was rolled out, also when something was started by hand since: none that is older is
    /// taken for a new one.
    #[must_use]
    pub fn last_signed(&self) -> Option<&Release> {
        self.current.iter().chain(&self.kept).find(|release| !release.pull.is_empty())
    }

    /// The kept version of this name; without one the newest that nobody went back from.
    ///
    /// # Errors
    /// What there is instead.
    pub fn kept_named(&self, name: &str) -> Result<&Release, String> {
        let bad = |kept: &&Release| self.quarantined.iter().any(|bad| bad.source == kept.source);
        let found = if name.is_empty() {
            self.kept.iter().find(|kept| !bad(kept))
        } else {
            self.kept.iter().find(|kept| kept.name == name)
        };
        found.ok_or_else(|| {
            if self.is_current(name) {
                return format!("{name} runs already");
            }
            let names: Vec<&str> = self.kept.iter().map(|kept| kept.name.as_str()).collect();
            match names.as_slice() {
                [] => "there is no version to go back to yet: none was replaced here".to_owned(),
                names => format!("expected one of the kept versions: {}", names.join(", ")),
            }
        })
    }

    fn is_current(&self, name: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.name == name)
    }

    /// The answer to `status`.
    #[must_use]
    pub fn status(&self) -> control::DeployStatus {
        control::DeployStatus {
            job: self.job.as_ref().map(shown).or_else(|| self.last.clone()),
            current: self.current.as_ref().map(|release| release.name.clone()),
            kept: self.kept.iter().map(|release| release.name.clone()).collect(),
            quarantined: self.quarantined.iter().map(|bad| bad.name.clone()).collect(),
        }
    }
}

/// A deploy as others are shown it.
fn shown(job: &Job) -> control::Job {
    let verb = match job.want {
        Want::Newest { .. } => "request",
        Want::Kept { .. } => "rollback",
    };
    let step = match job.way {
        Way::Forth => job.step.word().to_owned(),
        Way::Back => format!("back: {}", job.step.word()),
    };
    control::Job {
        id: job.id.clone(),
        verb: verb.to_owned(),
        by: job.by.clone(),
        step,
        done: job.done() as u64,
        total: Some(job.steps().len() as u64),
        began_ms: job.began_ms,
        end: None,
    }
}
