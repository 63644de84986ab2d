//! What `vigie` says where it is called.

use std::{
    any::Any,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use bus::Bus;
use protocol::Outcome;
use serde_json::json;
use testkit::Nats;

use super::mask;
use crate::{
    commit,
    folder::{Folder, signal},
};

/// Longer than anything here takes, on a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(60);
/// A program that is named in a call is looked for there only.
const NOWHERE: &str = "programs";

/// A place that is there.
pub(super) struct There {
    pub folder: Folder,
    variables: Vec<(String, String)>,
    url: Option<String>,
    /// Where something passes that is to be seen.
    pub bus: Option<Bus>,
    /// What is there for as long as this is.
    pub kept: Vec<Box<dyn Any + Send>>,
}

impl There {
    pub(super) fn at(folder: Folder) -> Self {
        let programs = folder.path().join(NOWHERE).display().to_string();
        let there = Self { folder, variables: Vec::new(), url: None, bus: None, kept: Vec::new() };
        there.with("PATH", &programs)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn in_reach_of(mut self, nats: Nats) -> Self {
        let url = nats.url();
        self.kept.push(Box::new(nats));
        self.url = Some(url.clone());
        self.with("NATS_URL", &url)
    }

    /// The call, what it says, and how it ends. Words with `=` before the verb are variables.
    pub(super) async fn call(&mut self, call: &'static str) -> String {
        let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
        let variables: Vec<(&str, &str)> =
            call.split(' ').take_while(is_variable).filter_map(|word| word.split_once('=')).collect();
        let arguments: Vec<&str> = call.split(' ').skip_while(is_variable).collect();
        let mut command = self.folder.vigie(&arguments);
        commit::quiet(&mut command);
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).envs(variables);
        let (code, out, err) = match arguments[..] {
            ["events"] | ["events", "--json"] if self.bus.is_some() => self.passing(command).await,
            ["up", ..] => live(command, "\"vigie\",\"state\":\"ready\"", "everything is ready").await,
            _ => finished(command).await,
        };
        let (out, err) = match arguments[0] {
            "check" => (mask::findings(&out, mask::OF_THE_MACHINE), err),
            "doctor" => (mask::findings(&out, mask::OF_THE_DISK), err),
            "up" => (mask::reports(&out), mask::reports(&err)),
            "completions" => (mask::beginning(&out), err),
            _ => (out, err),
        };
        let hidden = |text: &str| self.committed(&mask::said(text, &self.folder, self.url.as_deref()));
        let (out, err) = (hidden(&out), hidden(&err));
        let aside = if err.is_empty() { String::new() } else { format!("-- standard error\n{err}") };
        format!("$ vigie {call}\n{out}{aside}-- exit code {code}\n\n")
    }

    /// Without the name of the newest commit.
    fn committed(&self, text: &str) -> String {
        let mut command = Command::new("git");
        command.args(["rev-parse", "--short", "HEAD"]).current_dir(self.folder.path());
        // The folder is below the repository of the project.
        command.env("GIT_CEILING_DIRECTORIES", self.folder.path().parent().unwrap());
        let name = command.output().unwrap().stdout;
        match String::from_utf8(name).unwrap().trim() {
            "" => text.to_owned(),
            name => text.replace(name, "<commit>"),
        }
    }

    /// What is printed of what passes while it listens.
    async fn passing(&mut self, command: Command) -> (i32, String, String) {
        let bus = self.bus.as_ref().unwrap();
        let mut listening = Listening::start(command);
        let mut listening = tokio::task::spawn_blocking(move || {
            listening.wait_for(|said| said.1.contains("following NATS"));
            listening
        })
        .await
        .unwrap();
        for body in [
            json!({ "sent": { "message": "10", "platform_us": 4200, "total_us": 9100 } }),
            json!({ "dropped": { "reason": "forbidden", "detail": "Missing Access" } }),
        ] {
            let outcome: Outcome = serde_json::from_value(json!({ "v": 1, "action": "discord:9:0",
                "platform": "discord", "community": "42", "at_ms": 1_700_000_000_150_u64, "body": body }))
            .unwrap();
            bus.notify("outcome.discord.42".to_owned(), &outcome, None).await.unwrap();
        }
        tokio::task::spawn_blocking(move || {
            listening.wait_for(|said| said.0.contains("dropped"));
            listening.interrupt()
        })
        .await
        .unwrap()
    }
}

async fn finished(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// One that goes on until Ctrl-C, which is pressed once one of these was said.
async fn live(command: Command, one: &'static str, other: &'static str) -> (i32, String, String) {
    tokio::task::spawn_blocking(move || {
        let mut listening = Listening::start(command);
        listening.wait_for(|said| said.0.contains(one) || said.0.contains(other));
        listening.interrupt()
    })
    .await
    .unwrap()
}

/// A program that goes on; killed when dropped.
struct Listening {
    child: Child,
    lines: Receiver<(bool, String)>,
    /// What it said, and what it said on standard error.
    said: (String, String),
    over: bool,
}

impl Listening {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let follow = |stream: Box<dyn Read + Send>, aside: bool| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send((aside, line)).is_err() {
                        return;
                    }
                }
            });
        };
        follow(Box::new(out), false);
        follow(Box::new(err), true);
        Self { child, lines, said: Default::default(), over: false }
    }

    /// Waits until it has said something, or has ended.
    fn wait_for(&mut self, fits: impl Fn(&(String, String)) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.over && !fits(&self.said) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not say so: {:?}", self.said);
            match self.lines.recv_timeout(left) {
                Ok((aside, line)) => {
                    let said = if aside { &mut self.said.1 } else { &mut self.said.0 };
                    *said += &line;
                    said.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.over = true,
            }
        }
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) -> (i32, String, String) {
        if !self.over {
            signal(self.child.id(), "INT");
        }
        self.wait_for(|_| false);
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, std::mem::take(&mut self.said.0), std::mem::take(&mut self.said.1))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
