//! The file in which the book is kept. It is the old one or the new one, whatever happens while it is written.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::book::{Book, VERSION};

/// Its name in the data folder.
const FILE: &str = "deployer.json";
/// A file that is larger was not written here, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The file.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is there, and is none. Guessing what runs would be worse than to stop.
    #[error("{} cannot be read: expected what this program wrote; move it away to begin anew", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written: is the disk full?", path.display())]
    Write {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Journal {
    /// The one in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE) }
    }

    /// What was written last; an empty one when nothing was.
    ///
    /// # Errors
    /// [`JournalError::Read`]
    pub fn read(&self) -> Result<Book, JournalError> {
        match self.try_read() {
            Ok(book) => Ok(book),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Book::default()),
            Err(source) => Err(JournalError::Read { path: self.path.clone(), source }),
        }
    }

    fn try_read(&self) -> io::Result<Book> {
        if fs::metadata(&self.path)?.len() > MAX_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
        }
        let book: Book = serde_json::from_slice(&fs::read(&self.path)?)?;
        if book.v == VERSION { Ok(book) } else { Err(io::Error::other(format!("it has version {}", book.v))) }
    }

    /// Writes it beside, then puts it in its place: a power cut leaves the old one or the new one.
    ///
    /// # Errors
    /// [`JournalError::Write`]; then the old one is as it was.
    pub fn write(&self, book: &Book) -> Result<(), JournalError> {
        self.try_write(book).map_err(|source| JournalError::Write { path: self.path.clone(), source })
    }

    fn try_write(&self, book: &Book) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let beside = self.path.with_extension("json.new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(book)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        // The name is of the folder, and lost with it.
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_half_of_it_is_no_reason_to_guess() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(&folder.path().join("not/there/yet"));
        assert_eq!(journal.read().unwrap(), Book::default());
        let mut book = Book::default();
        let want = crate::plan::Want::Newest { force: false, commit: None };
        book.accept("cli".to_owned(), want, 1).unwrap();
        journal.write(&book).unwrap();
        assert_eq!(journal.read().unwrap(), book);
        // A power cut while the next one is written.
        fs::write(journal.path.with_extension("json.new"), b"{\"v\":1,").unwrap();
        assert_eq!(journal.read().unwrap(), book);
        let text = fs::read(&journal.path).unwrap();
        for bad in [&text[..text.len() / 2], b"".as_slice(), b"{}"] {
            fs::write(&journal.path, bad).unwrap();
            let error = journal.read().unwrap_err().to_string();
            assert!(error.contains("move it away to begin anew"), "{error}");
        }
        let later = String::from_utf8(text).unwrap().replace("\"v\":1", "\"v\":2");
        fs::write(&journal.path, later).unwrap();
        assert!(journal.read().is_err());
    }

    #[test]
    fn a_disk_that_is_full_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(Journal::new(&file).write(&Book::default()), Err(JournalError::Write { .. })));
    }
}
