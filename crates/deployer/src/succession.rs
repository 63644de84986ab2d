//! How a deployer is replaced by the next one, as a state machine: what is known of it, what comes next, how it ends. It
//! touches nothing but the note of the helper: who starts that one is `heir`, what it does is in `helper`.
//!
//! ```text
//!  deploy rolled out ─▶ due ─▶ helper: the new one beside the old ─▶ works ─▶ the old one ends ─▶ works ─▶ succeeded
//!                        ▲         │                                  └──────── fails ────────────┘
//!                        └─ dead ──┘                                              └─▶ brought back | lost
//! ```
//!
//! At every moment there is one that was not told to end. Of two, the one that holds the lock works.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use protocol::control::AuditResult;
use serde::{Deserialize, Serialize};

/// So often a helper is started for one succession.
pub const STARTS_MAX: u8 = 3;
/// The name of the note in the data folder.
const FILE: &str = "succession.json";
/// A longer one was not written here, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// A succession that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The deploy that it ends.
    pub deploy: String,
    /// Who asked for that.
    pub by: String,
    /// The name of the version.
    pub name: String,
    /// The id of its second image, when it has one.
    pub image: Option<String>,
    /// How often a helper was started.
    #[serde(default)]
    pub starts: u8,
    /// What is to be done, once that was looked at.
    #[serde(default)]
    pub change: Option<Change>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The id of the image that runs.
    pub from: String,
    /// The id of the one that is to run.
    pub to: String,
    /// By which name the compose file calls for it.
    pub tag: String,
    /// The ids of the containers that were there.
    pub old: Vec<String>,
}

/// What the helper leaves behind, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The deploy that it is about.
    pub deploy: String,
    /// Why it goes back, once it does.
    pub back: Option<String>,
    /// How it ended, once it did.
    pub end: Option<Ended>,
}

/// How a helper ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The new one works.
    Succeeded,
    /// It did not, and the old one works.
    BroughtBack,
    /// It did not, and going back failed too.
    Lost(String),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is nothing to replace.
    Nothing,
    /// This is to be done.
    Due(Change),
    /// A helper has to be started.
    Start,
    /// It is at work.
    Wait,
    /// It ended too often without a word.
    GiveUp,
    /// It is over.
    Over(AuditResult, String),
}

impl Succession {
    /// What comes next, where the helper left this note and is in this state.
    #[must_use]
    pub fn next(&self, note: Option<&Note>, helper: Option<&str>) -> Next {
        if let Some((note, end)) = note.and_then(|note| Some((note, note.end.as_ref()?))) {
            return self.over(note, end);
        }
        match helper {
            Some("running" | "restarting" | "paused") => Next::Wait,
            _ if self.starts < STARTS_MAX => Next::Start,
            _ => Next::GiveUp,
        }
    }

    fn over(&self, note: &Note, end: &Ended) -> Next {
        let (name, cause) = (&self.name, note.back.as_deref().unwrap_or_default());
        match end {
            Ended::Succeeded => Next::Over(AuditResult::Done, format!("the deployer is that of {name} too")),
            Ended::BroughtBack => Next::Over(
                AuditResult::Failed,
                format!("the deployer of {name} failed: {cause}\nthe one before works again"),
            ),
            Ended::Lost(words) => Next::Over(
                AuditResult::Failed,
                format!(
                    "the deployer of {name} failed: {cause}\ngoing back failed too, look at once: {words}"
                ),
            ),
        }
    }
}

/// Where the note is.
#[derive(Clone, Debug)]
pub struct Paper(PathBuf);

impl Paper {
    /// The one in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    /// What was noted about this deploy. What cannot be read was not noted.
    #[must_use]
    pub fn read(&self, deploy: &str) -> Option<Note> {
        let short = fs::metadata(&self.0).is_ok_and(|found| found.len() <= MAX_BYTES);
        let note: Note = serde_json::from_slice(&fs::read(&self.0).ok().filter(|_| short)?).ok()?;
        (note.deploy == deploy).then_some(note)
    }

    /// Writes it beside, then puts it in its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, note: &Note) -> io::Result<()> {
        let beside = self.0.with_extension("json.new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(note)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.0)
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it is there and stays.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succession(starts: u8) -> Succession {
        Succession {
            deploy: "deploy-7".to_owned(),
            by: "cli".to_owned(),
            name: "1.2.3".to_owned(),
            image: Some("sha256:new".to_owned()),
            starts,
            change: None,
        }
    }

    fn note(back: Option<&str>, end: Option<Ended>) -> Note {
        Note { deploy: "deploy-7".to_owned(), back: back.map(str::to_owned), end }
    }

    #[test]
    fn a_helper_that_ended_without_a_word_is_started_again_and_not_for_ever() {
        for state in [None, Some("exited"), Some("created"), Some("dead")] {
            assert_eq!(succession(0).next(None, state), Next::Start, "{state:?}");
            assert_eq!(succession(2).next(Some(&note(Some("x"), None)), state), Next::Start, "{state:?}");
            assert_eq!(succession(3).next(None, state), Next::GiveUp, "{state:?}");
        }
        assert_eq!(succession(3).next(None, Some("running")), Next::Wait);
    }

    #[test]
    fn its_last_word_holds_whatever_became_of_it() {
        for state in [None, Some("exited"), Some("running")] {
            let good = succession(3).next(Some(&note(None, Some(Ended::Succeeded))), state);
            assert_eq!(good, Next::Over(AuditResult::Done, "the deployer is that of 1.2.3 too".to_owned()));
            let back = succession(1).next(Some(&note(Some("it is sick"), Some(Ended::BroughtBack))), state);
            let Next::Over(AuditResult::Failed, words) = back else { panic!("{back:?}") };
            assert_eq!(words, "the deployer of 1.2.3 failed: it is sick\nthe one before works again");
        }
    }

    #[test]
    fn a_note_of_another_time_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let paper = Paper::new(folder.path());
        assert_eq!(paper.read("deploy-7"), None);
        let written = note(Some("it is sick"), None);
        paper.write(&written).unwrap();
        assert_eq!((paper.read("deploy-7"), paper.read("deploy-8")), (Some(written), None));
        fs::write(folder.path().join(FILE), "{\"deploy\"").unwrap();
        assert_eq!(paper.read("deploy-7"), None);
        paper.remove().unwrap();
        paper.remove().unwrap();
    }
}
