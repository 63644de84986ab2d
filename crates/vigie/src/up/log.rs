//! The log of all parts as files in the data folder, for `vigie logs`: never more than two of a bounded length.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::data;

/// What is written to.
pub(crate) const NAME: &str = "vigie.log";
/// What was written to before.
pub(crate) const EARLIER: &str = "vigie.log.1";
/// A file that is longer becomes the earlier one, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Logs may hold what people said.
const PRIVATE: u32 = 0o600;

/// Takes lines; each is written as a whole, at its flush.
pub(crate) struct Log {
    path: PathBuf,
    earlier: PathBuf,
    file: File,
    bytes: u64,
    line: Vec<u8>,
}

impl Log {
    /// Goes on with what is there.
    ///
    /// # Errors
    /// When it cannot be written; the message says what to do.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let (path, earlier) = (folder.join(NAME), folder.join(EARLIER));
        let file = open(&path).map_err(|error| data::advice(error, &path))?;
        let bytes = file.metadata().map_err(|error| data::advice(error, &path))?.len();
        Ok(Self { path, earlier, file, bytes, line: Vec::new() })
    }

    fn turn(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.earlier)?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // On a full disk a line is lost, and the next one may not be.
        let line = std::mem::take(&mut self.line);
        if self.bytes + line.len() as u64 > MAX_BYTES {
            self.turn()?;
        }
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(PRIVATE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_becomes_the_earlier_one_and_nothing_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        let line = "x".repeat(64 * 1024 - 1);
        for number in 0..100 {
            write!(log, "{number:03} ").and_then(|()| writeln!(log, "{}", &line[4..])).unwrap();
            log.flush().unwrap();
        }
        drop(log);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read(EARLIER).len() as u64, MAX_BYTES);
        assert!(read(NAME).starts_with("064 ") && read(NAME).lines().last().unwrap().starts_with("099 "));
        let more = Log::open(folder.path()).unwrap();
        assert_eq!(more.bytes, read(NAME).len() as u64);
    }
}
