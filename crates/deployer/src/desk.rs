//! What all parts of this service share: the book, which nobody changes without writing it down first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::control::DeployStatus;
use tokio::sync::watch;

use crate::{
    book::Book,
    journal::{Journal, JournalError},
    lock::Lock,
};

/// The desk.
#[derive(Debug)]
pub struct Desk {
    journal: Journal,
    book: Mutex<Book>,
    /// What the step that goes on waits for.
    note: Mutex<String>,
    changes: watch::Sender<u64>,
    /// As long as it is held nobody else writes.
    _lock: Option<Lock>,
}

impl Desk {
    /// Reads what was written last. Without a lock only to look at it.
    ///
    /// # Errors
    /// When the file is there and is none.
    pub fn open(journal: Journal, lock: Option<Lock>) -> Result<Self, JournalError> {
        let book = Mutex::new(journal.read()?);
        Ok(Self { journal, book, note: Mutex::default(), changes: watch::Sender::new(0), _lock: lock })
    }

    /// What is known now.
    pub fn book(&self) -> Book {
        lock(&self.book).clone()
    }

    /// Changes it; it is written before anybody sees the change.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> Result<T, JournalError> {
        let mut book = lock(&self.book);
        let mut changed = book.clone();
        let answer = change(&mut changed);
        self.journal.write(&changed)?;
        *book = changed;
        drop(book);
        self.changes.send_modify(|count| *count += 1);
        Ok(answer)
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Says what is waited for.
    pub fn note(&self, words: &str) {
        let mut note = lock(&self.note);
        words.clone_into(&mut note);
    }

    /// The answer to `status`.
    pub fn status(&self) -> DeployStatus {
        let mut status = lock(&self.book).status();
        let note = lock(&self.note);
        if let Some(job) = status.job.as_mut().filter(|job| job.end.is_none() && !note.is_empty()) {
            job.step = format!("{}: {note}", job.step);
        }
        status
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
