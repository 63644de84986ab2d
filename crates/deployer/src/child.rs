//! One short-lived program: its arguments are a list, its environment is what it needs, its time and what it writes
//! are bounded. Never a shell.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

/// The most that is read of what a program answers, in bytes: a merged compose file, some hundred containers.
const OUTPUT_MAX: u64 = 8 << 20;
/// The most that is kept of what it complains about, in bytes.
const COMPLAINT_MAX: usize = 4096;
/// Variables that tell where the engine is, and as whom to ask it. Nothing else of the environment is handed on: it
/// holds secrets of this service, and a compose file could ask for them.
const HANDED_ON: &[&str] = &["PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"];

/// A program to be run.
#[derive(Clone, Debug)]
pub struct Program {
    name: &'static str,
    environment: Vec<(String, OsString)>,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    limit: Duration,
}

/// What a program wrote, when it ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To its standard output.
    pub text: String,
    /// The end of what it wrote to standard error.
    pub complaint: String,
}

/// Why a program did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It is not here, or may not be run.
    #[error("`{name}` cannot be started: is it installed?")]
    Start {
        /// Its name.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("`{shown}` failed ({status}): {complaint}")]
    Failed {
        /// Its name and first arguments.
        shown: String,
        /// How it ended.
        status: String,
        /// What it complained about.
        complaint: String,
    },
    /// It did not end.
    #[error("`{shown}` did not end within {} s", limit.as_secs())]
    Slow {
        /// Its name and first arguments.
        shown: String,
        /// How long was waited.
        limit: Duration,
    },
    /// What it wrote cannot be used.
    #[error("`{shown}` wrote more than {OUTPUT_MAX} bytes, or no UTF-8")]
    Output {
        /// Its name and first arguments.
        shown: String,
    },
}

impl Program {
    /// A program on `PATH`, with the environment that [`environment`] gives.
    #[must_use]
    pub const fn new(name: &'static str, environment: Vec<(String, OsString)>, limit: Duration) -> Self {
        Self { name, environment, arguments: Vec::new(), folder: None, limit }
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
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// In a folder.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs it. It is killed when nobody waits for it any more.
    ///
    /// # Errors
    /// [`ChildError`]
    pub async fn run(self) -> Result<Output, ChildError> {
        let shown = self.shown();
        let limit = self.limit;
        match timeout(limit, self.finish(&shown)).await {
            Ok(done) => done,
            Err(_) => Err(ChildError::Slow { shown, limit }),
        }
    }

    async fn finish(self, shown: &str) -> Result<Output, ChildError> {
        let mut command = Command::new(self.name);
        command.args(&self.arguments).env_clear().envs(self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let start = |source| ChildError::Start { name: self.name, source };
        let mut child = command.spawn().map_err(start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (text, complaint) = tokio::join!(all_of(stdout), end_of(stderr));
        let status = child.wait().await.map_err(start)?;
        if !status.success() {
            let status = status.to_string();
            return Err(ChildError::Failed { shown: shown.to_owned(), status, complaint });
        }
        match text {
            Some(text) => Ok(Output { text, complaint }),
            None => Err(ChildError::Output { shown: shown.to_owned() }),
        }
    }

    /// Its name and the first words that are no options.
    fn shown(&self) -> String {
        let words = self.arguments.iter().map(|argument| argument.to_string_lossy());
        let words = words.filter(|word| !word.starts_with('-') && !word.contains(['/', '=', '{'])).take(3);
        words.fold(self.name.to_owned(), |shown, word| shown + " " + &word)
    }
}

/// What a program is told of this one's environment.
#[must_use]
pub fn environment() -> Vec<(String, OsString)> {
    let handed_on = |name: &str| HANDED_ON.contains(&name) || name.starts_with("DOCKER_");
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.filter(|(name, _)| handed_on(name)).collect()
}

/// `None` when it is more than may be read, or no text.
async fn all_of(from: Option<impl AsyncRead + Unpin>) -> Option<String> {
    let mut from = from?.take(OUTPUT_MAX + 1);
    let mut bytes = Vec::new();
    // An error is seen in how the program ended.
    let _ = from.read_to_end(&mut bytes).await;
    if bytes.len() as u64 > OUTPUT_MAX {
        return None;
    }
    String::from_utf8(bytes).ok()
}

async fn end_of(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let over = kept.len().saturating_sub(COMPLAINT_MAX);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &'static str) -> Program {
        let path = std::env::var_os("PATH").unwrap();
        Program::new(name, vec![("PATH".to_owned(), path)], Duration::from_secs(5))
    }

    #[tokio::test]
    async fn arguments_stay_what_they_are_and_secrets_stay_here() {
        let odd = "; touch x $(id) `id` \"'";
        let output = program("printf").args(["%s", odd]).run().await.unwrap();
        assert_eq!(output.text, odd);
        let output = program("env").env("ONLY", "this").run().await.unwrap();
        let names: Vec<&str> = output.text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert_eq!(names, ["ONLY", "PATH"]);
    }

    #[tokio::test]
    async fn what_fails_is_said_by_name() {
        let missing = program("no-such-program").run().await.unwrap_err();
        assert_eq!(missing.to_string(), "`no-such-program` cannot be started: is it installed?");
        let failed = program("ls").args(["--", "/no/such"]).run().await.unwrap_err().to_string();
        assert!(
            failed.starts_with("`ls` failed (exit status: 2): ") && failed.contains("No such file"),
            "{failed}"
        );
        let mut slow = program("sleep").arg("60");
        slow.limit = Duration::from_millis(50);
        assert!(matches!(slow.run().await, Err(ChildError::Slow { .. })));
        let endless = program("yes").run().await.unwrap_err();
        assert!(matches!(endless, ChildError::Output { .. } | ChildError::Failed { .. }), "{endless}");
    }
}
