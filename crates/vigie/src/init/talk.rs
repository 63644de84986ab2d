//! The talk with the person at the terminal: questions with defaults, answers that stay hidden, and
//! an end at any moment.

use std::{
    future::Future,
    io::{self, BufRead, Read},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};

use super::End;
use crate::{cli, paint::Paint, up::Stopper};

/// The longest line that is taken, in bytes; a terminal hands over at most half of it.
const MAX_LINE: u64 = 8 * 1024;

/// A terminal with a person at it or, without one, only a place to report to.
pub(super) struct Talk {
    stopper: Stopper,
    person: bool,
    pub paint: Paint,
}

impl Talk {
    /// `person`: whether there is somebody to answer.
    pub(super) fn new(person: bool) -> Result<Self, End> {
        let stopper = Stopper::new(false).map_err(|error| End::Failed(error.into()))?;
        Ok(Self { stopper, person, paint: Paint::stdout() })
    }

    /// Whether somebody answers.
    pub(super) fn person(&self) -> bool {
        self.person
    }

    /// A line of text, for a person only.
    pub(super) fn explain(&self, line: &str) -> Result<(), End> {
        if self.person { self.say(&format!("     {line}\n")) } else { Ok(()) }
    }

    /// The head of a part, for a person only.
    pub(super) fn part(&self, number: u8, title: &str) -> Result<(), End> {
        let (number, title) = (self.paint.faint(&format!("{number}/5")), self.paint.strong(title));
        if self.person { self.say(&format!("\n{number}  {title}\n")) } else { Ok(()) }
    }

    pub(super) fn good(&self, line: &str) -> Result<(), End> {
        self.say(&format!("     {} {line}\n", self.paint.good("✓")))
    }

    pub(super) fn warn(&self, line: &str) -> Result<(), End> {
        self.say(&format!("     {} {line}\n", self.paint.warn("!")))
    }

    pub(super) fn bad(&self, line: &str) -> Result<(), End> {
        self.say(&format!("     {} {line}\n", self.paint.bad("✗")))
    }

    /// What to do about the line before.
    pub(super) fn advice(&self, line: &str) -> Result<(), End> {
        self.say(&format!("       {}\n", self.paint.strong(&format!("→ {line}"))))
    }

    pub(super) fn say(&self, text: &str) -> Result<(), End> {
        cli::say(text).map_err(|error| End::Failed(error.into()))
    }

    /// Asks until `read` takes the answer; it says what it expected instead. Nothing but Enter is
    /// the default.
    pub(super) async fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, End> {
        let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        loop {
            self.say(&format!("     {question}{} {} ", self.paint.faint(&shown), self.paint.strong("›")))?;
            let line = self.line().await?;
            let answer = Some(line.trim()).filter(|line| !line.is_empty()).unwrap_or(default);
            match read(answer) {
                Ok(value) => return Ok(value),
                Err(expected) => self.bad(&expected)?,
            }
        }
    }

    /// Asks for what must not be seen; nothing but Enter is `None`.
    pub(super) async fn ask_hidden(&mut self, question: &str) -> Result<Option<SecretString>, End> {
        loop {
            self.say(&format!("     {question} {} ", self.paint.strong("›")))?;
            let hidden = Hidden::new().map_err(|error| End::Failed(error.into()))?;
            let line = self.line().await;
            drop(hidden);
            let line = line?;
            let line = line.trim();
            if line.is_empty() {
                return Ok(None);
            }
            match token(line) {
                Ok(token) => return Ok(Some(token)),
                Err(expected) => self.bad(&expected)?,
            }
        }
    }

    pub(super) async fn confirm(&mut self, question: &str, default: bool) -> Result<bool, End> {
        let (choices, default) = if default { ("Y/n", "y") } else { ("y/N", "n") };
        loop {
            self.say(&format!(
                "     {question} {} {} ",
                self.paint.faint(&format!("[{choices}]")),
                self.paint.strong("›")
            ))?;
            let line = self.line().await?;
            match Some(line.trim()).filter(|line| !line.is_empty()).unwrap_or(default) {
                "y" | "Y" | "yes" => return Ok(true),
                "n" | "N" | "no" => return Ok(false),
                _ => self.bad("expected y or n")?,
            }
        }
    }

    /// The next line of standard input, hidden from nobody because nobody types it.
    pub(super) async fn secret_line(&mut self) -> Result<SecretString, End> {
        let line = self.line().await?;
        token(line.trim()).map_err(|expected| End::Unusable(format!("standard input: {expected}")))
    }

    /// Waits for something, and ends when the person wants to.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            biased;
            () = self.stopper.asked() => Err(End::Stopped),
            done = work => Ok(done),
        }
    }

    /// A line of standard input; its end is the end of the talk.
    async fn line(&mut self) -> Result<String, End> {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().take(MAX_LINE).read_line(&mut line).map(|count| (count, line))
        });
        let read = self.unless_stopped(read).await?.map_err(|error| End::Failed(error.into()))?;
        match read {
            Ok((0, _)) => Err(End::Stopped),
            Ok((_, line)) => Ok(line),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok("\u{fffd}".to_owned()),
            Err(error) => Err(End::Failed(error.into())),
        }
    }
}

/// A secret is what can be sent in the head of a request.
pub(super) fn token(text: &str) -> Result<SecretString, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(text))
    } else {
        Err("expected letters, digits and signs without spaces, as copied from the page".to_owned())
    }
}

/// Whether two secrets are the same.
pub(super) fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// What is typed is not shown as long as this lives.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // Enter goes to the next line all the same.
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Where that fails the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
