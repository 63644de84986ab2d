//! One part as a process that is kept running: what ended is started again after a pause, as a
//! supervisor would.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use testkit::Proxy;
use tokio::time::Instant;

use super::kinds::{Link, Role};
use crate::process::Process;

/// Before a part that ended unasked is started again.
const PAUSE_UNASKED: Duration = Duration::from_millis(500);
/// A part that was asked to stop has so long, as Docker and systemd would be told.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What a part is started with.
#[derive(Debug)]
pub struct Recipe {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All of its environment.
    pub variables: Vec<(&'static str, String)>,
    /// Where its log is.
    pub folder: PathBuf,
}

/// The proxies that a part is behind.
#[derive(Debug, Default)]
pub struct Links {
    /// To NATS.
    pub nats: Option<Proxy>,
    /// To where chat is read.
    pub chat: Option<Proxy>,
    /// To the platform's HTTP API.
    pub api: Option<Proxy>,
}

/// A part.
pub struct Part {
    /// `worker-2`.
    pub name: String,
    /// What it is.
    pub role: Role,
    recipe: Recipe,
    links: Links,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    /// When it was asked to stop.
    asked: Option<Instant>,
    /// From its end to its next start.
    pause: Duration,
    start_at: Option<Instant>,
}

impl Part {
    /// Starts one.
    ///
    /// # Errors
    /// When its process cannot be started.
    pub fn start(name: String, role: Role, recipe: Recipe, links: Links) -> anyhow::Result<Self> {
        let part = Self { name, role, recipe, links, state: Mutex::default() };
        part.state().process = Some(part.launch()?);
        Ok(part)
    }

    /// Kills it; it is started again after `pause`.
    pub fn kill(&self, pause: Duration) {
        let mut state = self.state();
        // Dropping a process kills it and waits for its end.
        if state.process.take().is_some() {
            state.asked = None;
            state.start_at = Some(Instant::now() + pause);
        }
    }

    /// Asks it to stop; it is started again `pause` after its end.
    ///
    /// # Errors
    /// When it cannot be sent a signal.
    pub fn terminate(&self, pause: Duration) -> anyhow::Result<()> {
        let mut state = self.state();
        if let Some(process) = &state.process {
            process.signal(Signal::TERM)?;
            (state.asked, state.pause) = (Some(Instant::now()), pause);
        }
        Ok(())
    }

    /// Sends it a signal, when it runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.state().process.as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// The proxy of a link, if it has that link.
    pub fn link(&self, link: Link) -> Option<&Proxy> {
        match link {
            Link::Nats => self.links.nats.as_ref(),
            Link::Chat => self.links.chat.as_ref(),
            Link::Api => self.links.api.as_ref(),
        }
    }

    /// Whether its process runs and nobody asked it to stop.
    pub fn runs(&self) -> bool {
        let state = self.state();
        state.process.is_some() && state.asked.is_none()
    }

    /// Looks after it; what happened that nobody had asked for is told.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub fn tend(&self) -> anyhow::Result<Option<String>> {
        let mut state = self.state();
        let (now, mut news) = (Instant::now(), None);
        if let Some(status) = state.process.as_mut().map(Process::ended).transpose()?.flatten() {
            state.process = None;
            let pause = match state.asked.take() {
                Some(_) => state.pause,
                None => {
                    news = Some(format!("{} ended by itself ({status})", self.name));
                    PAUSE_UNASKED
                }
            };
            state.start_at = Some(now + pause);
        }
        if state.asked.is_some_and(|asked| now.duration_since(asked) > STOP_LIMIT) {
            state.process = None;
            state.asked = None;
            state.start_at = Some(now);
            news = Some(format!("{} did not end within {} s of SIGTERM", self.name, STOP_LIMIT.as_secs()));
        }
        if state.start_at.is_some_and(|at| at <= now) {
            state.start_at = None;
            state.process = Some(self.launch()?);
        }
        Ok(news)
    }

    /// Asks it to stop for good.
    pub fn leave(&self) {
        let mut state = self.state();
        state.start_at = None;
        if let Some(process) = &state.process {
            // One that has ended meanwhile needs no signal.
            let _ = process.signal(Signal::CONT).and_then(|()| process.signal(Signal::TERM));
        }
    }

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        self.state().process.as_mut().is_none_or(|process| !matches!(process.ended(), Ok(None)))
    }

    fn launch(&self) -> anyhow::Result<Process> {
        let arguments: Vec<&str> = self.recipe.arguments.iter().map(String::as_str).collect();
        let (program, folder): (&Path, &Path) = (&self.recipe.program, &self.recipe.folder);
        Process::start(&self.name, program, &arguments, &self.recipe.variables, folder)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
