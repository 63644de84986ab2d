//! Programs that are run for a while: bounded in time and in what they say, and ended with this process's work.
//!
//! What is secret goes to them through their standard input or their environment, never on the command line,
//! which everybody on the machine can read. Of the environment of this process they get only what is named here.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

/// The longest line, in bytes: a list of all backups is one.
const LINE_MAX: usize = 4 << 20;
/// How much of its complaints is kept, in bytes.
const WORDS_MAX: usize = 4096;
/// What is passed on: where programs and their settings are, and the credentials of the stores of restic.
const PASSED: [&str; 8] =
    ["PATH", "HOME", "USER", "LANG", "SSH_AUTH_SOCK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
/// The same, by how they begin.
const PASSED_STARTS: [&str; 7] = ["AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "ST_", "RCLONE_"];

/// A program that is about to run.
#[derive(Debug)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    folder: Option<PathBuf>,
    input: Option<SecretString>,
    limit: Duration,
}

/// Why it did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It is not installed.
    #[error("the program {program} is not there: expected it to be installed and on PATH")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or heard.
    #[error("{program} could not be run")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long and was ended.
    #[error("{program} was ended: it took longer than {} min", limit.as_secs() / 60)]
    Slow {
        /// Its name.
        program: String,
        /// How long it was given.
        limit: Duration,
    },
    /// It said that it failed.
    #[error("{program} failed: {words}")]
    Failed {
        /// Its name.
        program: String,
        /// Its exit code; `None` when it was killed.
        code: Option<i32>,
        /// The end of its complaints.
        words: String,
    },
}

impl Child {
    /// A program with nothing but what is passed on.
    pub fn new(program: &Path, limit: Duration) -> Self {
        let program = program.to_owned();
        Self { program, arguments: Vec::new(), variables: Vec::new(), folder: None, input: None, limit }
    }

    /// Adds arguments.
    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Where it runs.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// A line for its standard input.
    pub fn input(mut self, line: SecretString) -> Self {
        self.input = Some(line);
        self
    }

    /// Runs it to its end; `line` is given each line of its standard output. When this is dropped, it is killed.
    ///
    /// # Errors
    /// [`ChildError`]
    pub async fn run(self, line: impl FnMut(&str)) -> Result<(), ChildError> {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let limit = self.limit;
        match timeout(limit, self.run_unbounded(&program, line)).await {
            Ok(ended) => ended,
            Err(_) => Err(ChildError::Slow { program, limit }),
        }
    }

    async fn run_unbounded(self, program: &str, line: impl FnMut(&str)) -> Result<(), ChildError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ChildError::Missing { program: program.to_owned() },
            _ => ChildError::Run { program: program.to_owned(), source },
        };
        let passed = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            PASSED.contains(&&*name) || PASSED_STARTS.iter().any(|start| name.starts_with(start))
        });
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(passed).envs(self.variables).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let said = async {
            if let (Some(mut stdin), Some(input)) = (stdin, self.input) {
                // One that ends before it reads says why on its standard error.
                let _ = stdin.write_all(format!("{}\n", input.expose_secret()).as_bytes()).await;
            }
            Ok(())
        };
        let heard = lines(stdout, line);
        let (_, heard, words): (std::io::Result<()>, _, _) = tokio::join!(said, heard, complaints(stderr));
        let ended = child.wait().await.map_err(failed)?;
        if !ended.success() {
            return Err(ChildError::Failed { program: program.to_owned(), code: ended.code(), words });
        }
        heard.map_err(failed)
    }
}

async fn lines(stream: Option<impl AsyncRead + Unpin>, mut line: impl FnMut(&str)) -> std::io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut held = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        held.extend_from_slice(buffer.get(..read).unwrap_or_default());
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let rest = held.split_off(end + 1);
            line(String::from_utf8_lossy(&held).trim_end());
            held = rest;
        }
        if held.len() > LINE_MAX {
            return Err(std::io::Error::other("it said more on one line than was expected"));
        }
    }
    if !held.is_empty() {
        line(String::from_utf8_lossy(&held).trim_end());
    }
    Ok(())
}

/// The last of what it complained about, on one line.
async fn complaints(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 4096];
    if let Some(mut stream) = stream {
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
            let over = kept.len().saturating_sub(WORDS_MAX);
            kept.drain(..over);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Child {
        Child::new(Path::new("/bin/sh"), limit).args(["-c", script])
    }

    #[tokio::test]
    async fn it_is_heard_line_by_line_and_given_its_secret() {
        let mut lines = Vec::new();
        let child =
            shell("read secret; echo one; echo \"two $secret\"; printf three", Duration::from_secs(10));
        child.input("hunter2".to_owned().into()).run(|line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(lines, ["one", "two hunter2", "three"]);
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_and_one_that_fails_is_quoted() {
        let slow = shell("exec sleep 60", Duration::from_millis(50)).run(|_| {}).await;
        assert!(matches!(slow, Err(ChildError::Slow { .. })), "{slow:?}");
        let failed =
            shell("echo first >&2; echo last >&2; exit 3", Duration::from_secs(10)).run(|_| {}).await;
        assert_eq!(failed.unwrap_err().to_string(), "sh failed: first; last");
        let none = Child::new(Path::new("/nowhere/restic"), Duration::from_secs(1)).run(|_| {}).await;
        assert!(none.unwrap_err().to_string().contains("the program restic is not there"));
    }

    #[tokio::test]
    async fn what_it_says_is_bounded() {
        let loud = shell("head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2", Duration::from_secs(10));
        let error = loud.run(|_| {}).await.unwrap_err();
        assert!(error.to_string().len() < 2 * WORDS_MAX, "{error}");
    }

    #[tokio::test]
    async fn it_knows_nothing_of_our_settings() {
        let mut lines = Vec::new();
        shell("env", Duration::from_secs(10)).run(|line| lines.push(line.to_owned())).await.unwrap();
        assert!(!lines.iter().any(|line| line.starts_with("CARGO")), "{lines:?}");
    }
}
