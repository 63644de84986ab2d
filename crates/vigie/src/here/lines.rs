//! Lines of logs, from a program that follows them or from files.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, BufReader},
    process::{Child, Command},
    time::sleep,
};

/// A longer line is passed on in pieces, in bytes.
const MAX_LINE_BYTES: u64 = 16 * 1024;
/// How often a file is looked at for more.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Some versions of Compose clear the line before they write one, also where there is no terminal.
const CLEARED: &str = "\x1b[2K";

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Of these parts; of all when there is none.
    pub names: Vec<String>,
    /// How many of those that are there, of each part or of all.
    pub lines: u32,
    /// Those that come, too.
    pub follow: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LogLine {
    /// Whose it is; empty where that is not known.
    pub part: String,
    /// What it says.
    pub line: String,
}

/// Reads a line of the program, or passes it by.
type Read = fn(&str) -> Option<LogLine>;

/// Lines as they come.
pub(crate) struct Logs {
    from: From,
    read: Read,
}

enum From {
    Program { out: BufReader<tokio::process::ChildStdout>, child: Box<Child>, shown: String },
    File(Box<Followed>),
}

/// A file that grows, and is replaced by a new one of the same name when it is long.
struct Followed {
    path: PathBuf,
    file: BufReader<tokio::fs::File>,
    /// The new one, to be gone on with at the end of the old.
    newer: Option<BufReader<tokio::fs::File>>,
    before: std::collections::VecDeque<LogLine>,
    wanted: Wanted,
}

impl LogLine {
    /// `part | text`, as Compose and `vigie up` write it.
    pub(super) fn of_prefixed(line: &str) -> Option<Self> {
        let line = line.trim_start_matches(CLEARED);
        let (part, text) = line.split_once('|').unwrap_or(("", line));
        let text = text.strip_prefix(' ').unwrap_or(text);
        Some(Self { part: part.trim().to_owned(), line: text.to_owned() })
    }
}

impl Logs {
    /// What a program says.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(super) fn of_program(mut command: Command, read: Read) -> anyhow::Result<Self> {
        let shown = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("{shown} cannot be run"))?;
        let out = child.stdout.take().with_context(|| format!("{shown} has no output"))?;
        Ok(Self { from: From::Program { out: BufReader::new(out), child: Box::new(child), shown }, read })
    }

    /// The end of `path`, after that of `earlier`, and what is added to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of_file(path: PathBuf, earlier: PathBuf, wanted: &Wanted) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let file = std::fs::File::open(&path).with_context(|| format!("{shown} cannot be read"))?;
        let mut before = std::collections::VecDeque::new();
        let old = std::fs::File::open(earlier).ok().into_iter();
        for file in old.chain([file.try_clone().with_context(|| format!("{shown} cannot be read"))?]) {
            use std::io::BufRead as _;
            // Files are bounded by who writes them.
            for line in std::io::BufReader::new(file).split(b'\n').map_while(Result::ok) {
                let line = LogLine::of_prefixed(&String::from_utf8_lossy(&line));
                before.extend(line.filter(|line| wanted.takes(&line.part)));
                if before.len() > wanted.lines as usize {
                    before.pop_front();
                }
            }
        }
        let file = BufReader::new(tokio::fs::File::from_std(file));
        let wanted = wanted.clone();
        let followed = Followed { path, file, newer: None, before, wanted };
        Ok(Self { from: From::File(Box::new(followed)), read: LogLine::of_prefixed })
    }

    /// The next line; `None` when there is no more.
    ///
    /// # Errors
    /// When the program that has them failed.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<LogLine>> {
        loop {
            let line = match &mut self.from {
                From::File(followed) => return followed.next().await,
                From::Program { out, child, shown } => match read_line(out).await? {
                    Some(line) => line,
                    None => {
                        let status = child.wait().await?;
                        anyhow::ensure!(status.success(), "{shown} failed ({status})");
                        return Ok(None);
                    }
                },
            };
            if let Some(line) = (self.read)(line.trim_end()) {
                return Ok(Some(line));
            }
        }
    }
}

impl Followed {
    async fn next(&mut self) -> anyhow::Result<Option<LogLine>> {
        if let Some(line) = self.before.pop_front() {
            return Ok(Some(line));
        }
        if !self.wanted.follow {
            return Ok(None);
        }
        let mut begun = String::new();
        loop {
            match read_line(&mut self.file).await? {
                // The rest of a line may not have been written yet.
                Some(piece) if !piece.ends_with('\n') && (piece.len() as u64) < MAX_LINE_BYTES => {
                    begun += &piece;
                }
                Some(piece) => {
                    let line = LogLine::of_prefixed((begun + &piece).trim_end());
                    begun = String::new();
                    if let Some(line) = line.filter(|line| self.wanted.takes(&line.part)) {
                        return Ok(Some(line));
                    }
                }
                None => match self.newer.take() {
                    Some(newer) => self.file = newer,
                    None => {
                        sleep(LOOK_EVERY).await;
                        self.turn().await?;
                    }
                },
            }
        }
    }

    /// Finds the new file when there is one: only then is the old one known to be whole.
    async fn turn(&mut self) -> anyhow::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        // Between the old and the new one there is none for a moment.
        let Ok(now) = tokio::fs::metadata(&self.path).await else { return Ok(()) };
        let ours = self.file.get_ref().metadata().await?;
        if now.ino() != ours.ino() {
            self.newer = Some(BufReader::new(tokio::fs::File::open(&self.path).await?));
        } else if now.len() < self.file.stream_position().await? {
            self.file.rewind().await?;
        }
        Ok(())
    }
}

impl Wanted {
    /// Whether lines of this part are. `command-worker` stands for each of them.
    fn takes(&self, part: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| is_called(part, name))
    }
}

/// Whether a part is meant by a name: `command-worker` is each of `command-worker-1`, `command-worker@2`.
pub(crate) fn is_called(part: &str, name: &str) -> bool {
    let numbered = |rest: &str| {
        rest.strip_prefix(['-', '@'])
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    part.strip_prefix(name).is_some_and(|rest| rest.is_empty() || numbered(rest))
}

/// A line with its end, or a piece of it; `None` at the end.
async fn read_line(from: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let count = from.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    Ok((count > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_the_name_is_still_the_same_part() {
        assert!(
            is_called("command-worker-2", "command-worker")
                && is_called("command-worker@1", "command-worker")
        );
        assert!(is_called("nats", "nats") && is_called("command-worker-2", "command-worker-2"));
        assert!(!is_called("command-worker-2", "command") && !is_called("nats-exporter", "nats"));
    }

    #[tokio::test]
    async fn what_was_written_before_a_turn_is_read_before_what_came_after() {
        use std::{fs, io::Write as _};
        let folder = tempfile::tempdir().unwrap();
        let (path, earlier) = (folder.path().join("log"), folder.path().join("log.1"));
        fs::write(&path, "nats | 1\n").unwrap();
        let wanted = Wanted { names: Vec::new(), lines: 10, follow: true };
        let mut logs = Logs::of_file(path.clone(), earlier.clone(), &wanted).unwrap();
        let From::File(followed) = &mut logs.from else { panic!("it is a file") };
        assert_eq!(followed.next().await.unwrap().unwrap().line, "1");
        assert!(read_line(&mut followed.file).await.unwrap().is_none(), "it has seen the end");
        let mut old = fs::File::options().append(true).open(&path).unwrap();
        old.write_all(b"nats | 2\nnats | 3\n").unwrap();
        fs::rename(&path, &earlier).unwrap();
        fs::write(&path, "nats | 4\n").unwrap();
        followed.turn().await.unwrap();
        for expected in ["2", "3", "4"] {
            assert_eq!(logs.next().await.unwrap().unwrap().line, expected);
        }
    }

    #[test]
    fn whose_a_line_is_stands_before_it() {
        let line = |text| LogLine::of_prefixed(text).map(|line| (line.part, line.line)).unwrap();
        assert_eq!(line("nats-1  | a | b"), ("nats-1".to_owned(), "a | b".to_owned()));
        assert_eq!(line("\x1b[2Knats-1 | a"), ("nats-1".to_owned(), "a".to_owned()));
        assert_eq!(line("no name"), (String::new(), "no name".to_owned()));
    }
}
