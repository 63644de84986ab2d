//! Programs of others that are run for a while: bounded in time and in what they say, and ended with this process's
//! work. Never a shell: arguments are a list.
//!
//! What is secret goes to them through their standard input or their environment, never on the command line, which
//! everybody on the machine can read. Of the environment of this process they get only what is named.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

/// The longest line, and the most that [`Child::text`] gives, in bytes.
pub const TEXT_MAX: usize = 8 << 20;
/// How much of its complaints is kept, in bytes: the end.
pub const COMPLAINT_MAX: usize = 4096;
/// How many words of its arguments are shown in errors.
const SHOWN_WORDS: usize = 3;

/// Variables with their values.
pub type Environment = Vec<(OsString, OsString)>;

/// A program that is about to run.
#[derive(Debug)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Environment,
    folder: Option<PathBuf>,
    input: Option<SecretString>,
    limit: Duration,
}

/// What a program said, when it ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To its standard output.
    pub text: String,
    /// The end of what it wrote to standard error.
    pub complaint: String,
}

/// Why it did not do its work. Programs are shown with their first arguments that are words.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It is not installed.
    #[error("the program {program} is not there: expected it to be installed and on PATH")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or heard.
    #[error("`{shown}` could not be run")]
    Run {
        /// What was run.
        shown: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("`{shown}` was ended: it took longer than {} s", limit.as_secs())]
    Slow {
        /// What was run.
        shown: String,
        /// How long it was given.
        limit: Duration,
    },
    /// It said that it failed.
    #[error("`{shown}` failed ({status}): {complaint}")]
    Failed {
        /// What was run.
        shown: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to standard error, its lines parted by `; `.
        complaint: String,
    },
    /// What it said cannot be used.
    #[error("`{shown}` said more than {TEXT_MAX} bytes, or no UTF-8")]
    Text {
        /// What was run.
        shown: String,
    },
}

/// What a program is handed on of this process's environment: the variables that are named, and those that begin as
/// said. Everything else may be a secret of ours.
#[must_use]
pub fn environment(names: &[&str], starts: &[&str]) -> Environment {
    let handed_on = |name: &OsStr| {
        let name = name.to_string_lossy();
        names.contains(&&*name) || starts.iter().any(|start| name.starts_with(start))
    };
    std::env::vars_os().filter(|(name, _)| handed_on(name)).collect()
}

impl Child {
    /// A program, by its path or its name on `PATH`, with this environment and no other.
    #[must_use]
    pub fn new(program: impl AsRef<Path>, environment: Environment, limit: Duration) -> Self {
        let program = program.as_ref().to_owned();
        Self { program, arguments: Vec::new(), environment, folder: None, input: None, limit }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// In a folder.
    #[must_use]
    pub fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// With a line on its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, line: SecretString) -> Self {
        self.input = Some(line);
        self
    }

    /// Runs it to its end, and gives what it said. It is killed, with all that it started, when nobody waits for it any
    /// more.
    ///
    /// # Errors
    /// [`ChildError`]
    pub async fn text(self) -> Result<Output, ChildError> {
        let (shown, mut bytes) = (self.shown(), Vec::new());
        let keep = |piece: &[u8]| {
            let room = TEXT_MAX.saturating_sub(bytes.len());
            bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
            piece.len() <= room
        };
        let complaint = self.bounded(keep).await?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Output { text, complaint }),
            Err(_) => Err(ChildError::Text { shown }),
        }
    }

    /// Runs it to its end; `line` is given each line that it says. It is killed, with all that it started, when nobody
    /// waits for it any more.
    ///
    /// # Errors
    /// [`ChildError`]
    pub async fn lines(self, mut line: impl FnMut(&str)) -> Result<(), ChildError> {
        let mut held = Vec::new();
        let split = |piece: &[u8]| {
            let mut parts = piece.split(|byte| *byte == b'\n');
            held.extend_from_slice(parts.next().unwrap_or_default());
            for part in parts {
                line(String::from_utf8_lossy(&held).trim_end());
                held.clear();
                held.extend_from_slice(part);
            }
            held.len() <= TEXT_MAX
        };
        self.bounded(split).await?;
        if !held.is_empty() {
            line(String::from_utf8_lossy(&held).trim_end());
        }
        Ok(())
    }

    /// Gives its complaints. `take` is given what it says, and tells whether more may come.
    async fn bounded(self, take: impl FnMut(&[u8]) -> bool) -> Result<String, ChildError> {
        let (shown, limit) = (self.shown(), self.limit);
        match timeout(limit, self.run(&shown, take)).await {
            Ok(ended) => ended,
            Err(_) => Err(ChildError::Slow { shown, limit }),
        }
    }

    async fn run(self, shown: &str, take: impl FnMut(&[u8]) -> bool) -> Result<String, ChildError> {
        let failed = |source: io::Error| ChildError::Run { shown: shown.to_owned(), source };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment).kill_on_drop(true);
        // So that what it started ends with it: `docker` has its plugins do the work.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ChildError::Missing { program: name(&self.program) },
            _ => failed(error),
        })?;
        let group = Group::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = self.input;
        let told = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // One that ends before it reads says why on its standard error.
                let _ = stdin.write_all(format!("{}\n", input.expose_secret()).as_bytes()).await;
            }
        };
        let ((), heard, complaint) = tokio::join!(told, hear(stdout, take), end_of(stderr));
        if heard.as_ref().is_ok_and(|whole| !whole) {
            // It is killed when `group` and `child` are dropped.
            return Err(ChildError::Text { shown: shown.to_owned() });
        }
        let status = child.wait().await.map_err(failed)?;
        group.ended();
        if !status.success() {
            let complaint = one_line(&complaint);
            return Err(ChildError::Failed { shown: shown.to_owned(), status, complaint });
        }
        heard.map_err(failed)?;
        Ok(complaint)
    }

    /// Its name and the first words that are neither options nor paths nor values.
    fn shown(&self) -> String {
        let words = self.arguments.iter().map(|argument| argument.to_string_lossy());
        let words = words.filter(|word| !word.starts_with('-') && !word.contains(['/', '=', '{', ' ']));
        words.take(SHOWN_WORDS).fold(name(&self.program), |shown, word| shown + " " + &word)
    }
}

/// A program that runs and all that it started, which end with this.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// It was waited for: its number may be another's from here on.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Without one there is nothing left to be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn name(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether all was taken.
async fn hear(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let Some(mut from) = from else { return Ok(true) };
    let mut piece = vec![0; 16 * 1024];
    loop {
        match from.read(&mut piece).await? {
            0 => return Ok(true),
            count if take(piece.get(..count).unwrap_or_default()) => {}
            _ => return Ok(false),
        }
    }
}

async fn end_of(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut piece) = (Vec::new(), vec![0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let over = kept.len().saturating_sub(COMPLAINT_MAX);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn program(name: &str) -> Child {
        Child::new(name, environment(&["PATH"], &[]), SOON)
    }

    fn shell(script: &str) -> Child {
        program("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn it_is_heard_line_by_line_and_given_its_secret() {
        let mut lines = Vec::new();
        let child = shell("read secret; echo one; echo; echo \"two $secret\"; printf three");
        child.input("hunter2".to_owned().into()).lines(|line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(lines, ["one", "", "two hunter2", "three"]);
    }

    #[tokio::test]
    async fn without_a_secret_it_has_nothing_to_read() {
        assert_eq!(program("cat").text().await.unwrap(), Output::default());
    }

    #[tokio::test]
    async fn arguments_stay_what_they_are_and_secrets_stay_here() {
        let odd = "; touch x $(id) `id` \"'";
        assert_eq!(program("printf").args(["%s", odd]).text().await.unwrap().text, odd);
        let output = program("env").env("ONLY", "this").within("/").text().await.unwrap();
        let mut names: Vec<&str> =
            output.text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["ONLY", "PATH"]);
    }

    #[tokio::test]
    async fn what_fails_is_said_by_name() {
        let missing = program("/nowhere/restic").text().await.unwrap_err().to_string();
        assert_eq!(missing, "the program restic is not there: expected it to be installed and on PATH");
        let failed = shell("echo first >&2; echo last >&2; exit 3").lines(|_| {}).await.unwrap_err();
        assert_eq!(failed.to_string(), "`sh` failed (exit status: 3): first; last");
        let mut slow = program("sleep").arg("60");
        slow.limit = Duration::from_millis(50);
        let slow = slow.text().await.unwrap_err();
        assert!(matches!(&slow, ChildError::Slow { shown, .. } if shown == "sleep 60"), "{slow:?}");
    }

    #[tokio::test]
    async fn what_it_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        program("mkfifo").arg(&pipe).text().await.unwrap();
        let (heard, over) = (tokio::sync::Notify::new(), tokio::sync::oneshot::channel());
        let reader = pipe.clone();
        // Its end comes when the last one that could write to it is gone.
        std::thread::spawn(move || over.0.send(std::fs::read(reader).map(|bytes| bytes.len())));
        let child = shell("exec 3>pipe; sleep 60 & echo begun; wait").within(folder.path());
        tokio::select! {
            ended = child.lines(|_| heard.notify_one()) => panic!("{ended:?}"),
            () = heard.notified() => {}
        }
        assert_eq!(timeout(SOON, over.1).await.unwrap().unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn what_it_says_is_bounded() {
        let endless = program("yes").text().await.unwrap_err();
        assert!(matches!(endless, ChildError::Text { .. }), "{endless:?}");
        let line = shell("head -c 9000000 /dev/zero").lines(|_| {}).await.unwrap_err();
        assert!(matches!(line, ChildError::Text { .. }), "{line:?}");
        let loud = shell("head -c 9000000 /dev/zero >&2; exit 1").text().await.unwrap_err().to_string();
        assert!(loud.len() < 2 * COMPLAINT_MAX, "{} bytes", loud.len());
    }
}
