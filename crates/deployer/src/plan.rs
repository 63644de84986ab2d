//! One deploy as a state machine: which step comes next, what a failure at each of them means, and how it ends.
//! It touches nothing: who performs the steps is in `driver` and `hands`, where it is kept is in `book`.
//!
//! ```text
//!  forth   resolve fetch backup preflight │ prepare canary workers gateways rest gate ─▶ rolled_out
//!                 └─ fails: never_started │ └─ fails:
//!  back                                   │ prepare workers gateways rest gate ─▶ rolled_back_to | rollback_failed
//! ```
//!
//! Every step may be begun again: after a death of this process it is, up to [`STARTS_MAX`] times.

use protocol::control::DeployState;
use serde::{Deserialize, Serialize};

use crate::release::{Crew, Release};

/// So often a step is begun before it counts as failed.
pub const STARTS_MAX: u8 = 3;

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Find out which version is wanted.
    Resolve,
    /// Have its image here.
    Fetch,
    /// Have everything saved.
    Backup,
    /// See whether it can run here, and whether what runs now could come back.
    Preflight,
    /// From here on things change: the tag, the keys, the streams.
    Prepare,
    /// One worker of the new version beside the others.
    Canary,
    /// The other workers.
    Workers,
    /// The gateways, which hand over.
    Gateways,
    /// What cannot run twice.
    Rest,
    /// Whether all of it works.
    Gate,
}

/// Which way a deploy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// To the version that is wanted.
    Forth,
    /// To the one that ran before.
    Back,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// The newest there is.
    Newest {
        /// Also when nothing changed.
        force: bool,
        /// The commit of which the asker heard.
        commit: Option<String>,
    },
    /// One that ran well before.
    Kept {
        /// Its name.
        name: String,
    },
}

/// A deploy that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// Who asked.
    pub by: String,
    /// What for.
    pub want: Want,
    /// When it began, in Unix milliseconds.
    pub began_ms: u64,
    /// Which way it goes.
    pub way: Way,
    /// What is done now.
    pub step: Step,
    /// How often that was begun.
    pub starts: u8,
    /// The version that is wanted, once it is known.
    pub target: Option<Release>,
    /// What ran before, once that is known.
    pub from: Option<Release>,
    /// The services, as they were then.
    pub crew: Vec<Crew>,
    /// Why it goes back.
    pub cause: Option<String>,
    /// What could not be brought back.
    pub lost: Vec<String>,
}

/// What a step found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is done.
    Done,
    /// More is known of the version that is wanted.
    Target(Release),
    /// What runs now, and where.
    Before {
        /// The version.
        from: Release,
        /// The services.
        crew: Vec<Crew>,
    },
}

/// How a deploy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// In one word; `None` when there was nothing to do.
    pub state: Option<DeployState>,
    /// In more.
    pub words: String,
}

const NEWEST: &[Step] = &[
    Step::Resolve,
    Step::Fetch,
    Step::Backup,
    Step::Preflight,
    Step::Prepare,
    Step::Canary,
    Step::Workers,
    Step::Gateways,
    Step::Rest,
    Step::Gate,
];
/// A way back that a person asks for waits for no backup, which may be what is broken.
const KEPT: &[Step] = &[
    Step::Resolve,
    Step::Preflight,
    Step::Prepare,
    Step::Canary,
    Step::Workers,
    Step::Gateways,
    Step::Rest,
    Step::Gate,
];
const BACK: &[Step] = &[Step::Prepare, Step::Workers, Step::Gateways, Step::Rest, Step::Gate];

impl Step {
    /// One word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Backup => "backup",
            Self::Preflight => "preflight",
            Self::Prepare => "prepare",
            Self::Canary => "canary",
            Self::Workers => "workers",
            Self::Gateways => "gateways",
            Self::Rest => "rest",
            Self::Gate => "gate",
        }
    }
}

impl Job {
    /// A deploy before its first step.
    #[must_use]
    pub fn new(id: String, by: String, want: Want, now_ms: u64) -> Self {
        Self {
            id,
            by,
            want,
            began_ms: now_ms,
            way: Way::Forth,
            step: Step::Resolve,
            starts: 0,
            target: None,
            from: None,
            crew: Vec::new(),
            cause: None,
            lost: Vec::new(),
        }
    }

    /// The steps of its way.
    #[must_use]
    pub const fn steps(&self) -> &'static [Step] {
        match (self.way, &self.want) {
            (Way::Back, _) => BACK,
            (Way::Forth, Want::Newest { .. }) => NEWEST,
            (Way::Forth, Want::Kept { .. }) => KEPT,
        }
    }

    /// How many steps of its way are done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.steps().iter().position(|step| *step == self.step).unwrap_or_default()
    }

    /// The version that its way leads to.
    #[must_use]
    pub const fn goal(&self) -> Option<&Release> {
        match self.way {
            Way::Forth => self.target.as_ref(),
            Way::Back => self.from.as_ref(),
        }
    }

    /// Notes that the step begins. `Err` when it was begun too often: nobody lived to say how it ended.
    pub fn begin(&mut self) -> Result<(), String> {
        if self.starts >= STARTS_MAX {
            let word = self.step.word();
            return Err(format!("`{word}` was begun {STARTS_MAX} times, and this program ended each time"));
        }
        self.starts += 1;
        Ok(())
    }

    /// Notes how the step ended, and goes on to the next; the end when there is none.
    pub fn advance(&mut self, result: Result<Found, String>) -> Option<End> {
        match (self.way, result) {
            (Way::Forth, Ok(found)) => {
                self.learn(found);
                if self.next() { None } else { Some(self.rolled_out()) }
            }
            (Way::Forth, Err(words)) if self.step < Step::Prepare || self.from.is_none() => {
                let words = format!("{}: {words}", self.step.word());
                Some(End { state: Some(DeployState::NeverStarted), words })
            }
            (Way::Forth, Err(words)) => {
                self.cause = Some(format!("{}: {words}", self.step.word()));
                (self.way, self.step, self.starts) = (Way::Back, Step::Prepare, 0);
                None
            }
            (Way::Back, Ok(_)) => self.next_back(),
            // It is tried again: there is no other way left.
            (Way::Back, Err(_)) if self.starts < STARTS_MAX => None,
            (Way::Back, Err(words)) => {
                // What can be brought back is.
                self.lost.push(format!("{}: {words}", self.step.word()));
                self.next_back()
            }
        }
    }

    fn learn(&mut self, found: Found) {
        match found {
            Found::Done => {}
            Found::Target(target) => self.target = Some(target),
            Found::Before { from, crew } => {
                self.from = Some(from);
                self.crew = crew;
            }
        }
    }

    fn next(&mut self) -> bool {
        let Some(next) = self.steps().get(self.done() + 1) else { return false };
        (self.step, self.starts) = (*next, 0);
        true
    }

    fn next_back(&mut self) -> Option<End> {
        if self.next() {
            return None;
        }
        let cause = self.cause.clone().unwrap_or_default();
        let name = |release: &Option<Release>| release.as_ref().map_or("?", |it| &it.name).to_owned();
        let (to, from) = (name(&self.target), name(&self.from));
        Some(if self.lost.is_empty() {
            let words = format!("{to} failed at {cause}\n{from} runs again");
            End { state: Some(DeployState::RolledBackTo), words }
        } else {
            let lost = self.lost.join("\n");
            let words =
                format!("{to} failed at {cause}\ngoing back to {from} failed too, look at once:\n{lost}");
            End { state: Some(DeployState::RollbackFailed), words }
        })
    }

    fn rolled_out(&self) -> End {
        let name = self.target.as_ref().map_or("?", |target| &target.name);
        let commit = self.target.as_ref().and_then(|target| target.commit.as_deref());
        let commit = commit.map(|commit| format!(" ({})", commit.get(..12).unwrap_or(commit)));
        let words = format!("updated to {name}{}", commit.unwrap_or_default());
        End { state: Some(DeployState::RolledOut), words }
    }
}
