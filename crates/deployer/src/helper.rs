//! The one-shot helper, which runs in a container of its own from the new image: has the new deployer beside the old one,
//! looks whether it works, ends the old one, looks again, and otherwise goes back. It can be begun again at any moment:
//! it looks at what there is, and does what is missing.

use std::{io::Write as _, process::ExitCode, sync::Arc};

use service::Settings;
use tokio::{sync::watch, time::timeout};

use crate::{
    config::{Config, SETTINGS},
    crew::Goal,
    desk::Desk,
    docker::Docker,
    engine::Engine,
    gate::{Gate, Wanted},
    hands::Hands,
    journal::Journal,
    release::{Crew, Release, Role},
    run::hands,
    stack::DEPLOYER,
    succession::{Change, Ended, Note, Paper},
};

/// In all it takes at most so many times what one thing may take.
const LIMITS: u32 = 8;

/// The helper as a program. What is wrong is said on standard error, where the deployer finds it.
#[must_use]
pub fn program() -> ExitCode {
    let mut settings = Settings::load(&[SETTINGS]);
    let config = Config::read(&mut settings);
    let problems: Vec<String> = settings.problems().iter().map(ToString::to_string).collect();
    let outcome = if problems.is_empty() { run(config) } else { Err(problems.join("\n")) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            let _ = writeln!(std::io::stderr(), "{words}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), String> {
    service::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(help(config))
}

/// What the helper does. What came out is in its note; here only that it could not be done.
///
/// # Errors
/// When nobody asked for it, or nothing can be noted.
pub async fn help(config: Config) -> Result<(), String> {
    let config = Config { data: std::path::absolute(&config.data).map_err(words)?, ..config };
    let desk = Arc::new(Desk::open(Journal::new(&config.data), None).map_err(words)?);
    let own = desk.book().succession.ok_or("no succession goes on: this is only run by the deployer")?;
    let change = own.change.ok_or("the succession has not begun: this is only run by the deployer")?;
    let paper = Paper::new(&config.data);
    let mut note =
        paper.read(&own.deploy).unwrap_or(Note { deploy: own.deploy.clone(), back: None, end: None });
    if note.end.is_some() {
        return Ok(());
    }
    let (_, nobody) = watch::channel(Err("NATS is not asked".to_owned()));
    let hands = hands(&config, String::new(), desk, nobody).map_err(|error| error.to_string())?;
    let Engine::Docker { docker, .. } = &hands.engine else { return Err("this is for Docker".to_owned()) };
    let helper = Helper { docker, hands: &hands, folder: config.folder.display().to_string(), change };
    let limit = hands.pace.limit * LIMITS;
    if note.back.is_none() {
        let forth =
            timeout(limit, helper.forth()).await.unwrap_or_else(|_| Err("it took too long".to_owned()));
        match forth {
            Ok(()) => {
                note.end = Some(Ended::Succeeded);
                return paper.write(&note).map_err(words);
            }
            Err(words) => note.back = Some(words),
        }
        paper.write(&note).map_err(words)?;
    }
    let back = timeout(limit, helper.back()).await.unwrap_or_else(|_| Err("it took too long".to_owned()));
    note.end = Some(back.map_or_else(Ended::Lost, |()| Ended::BroughtBack));
    paper.write(&note).map_err(words)
}

struct Helper<'a> {
    docker: &'a Docker,
    hands: &'a Hands,
    folder: String,
    change: Change,
}

impl Helper<'_> {
    async fn forth(&self) -> Result<(), String> {
        self.docker.tag(&self.change.to, &self.change.tag).await.map_err(words)?;
        for beside in [true, false] {
            self.bring(&self.change.to, false, beside).await?;
            self.watch(&self.change.to, false).await?;
        }
        Ok(())
    }

    async fn back(&self) -> Result<(), String> {
        self.docker.tag(&self.change.from, &self.change.tag).await.map_err(words)?;
        self.bring(&self.change.from, true, false).await?;
        self.watch(&self.change.from, true).await
    }

    async fn bring(&self, image: &str, back: bool, beside: bool) -> Result<(), String> {
        let crew = Crew {
            service: DEPLOYER.to_owned(),
            answers_as: None,
            // It begins beside the old one, too.
            role: Role::Gateway,
            operations: true,
            old: self.change.old.clone(),
            before: 1,
            after: 1,
        };
        let release = Release {
            name: DEPLOYER.to_owned(),
            source: image.to_owned(),
            commit: None,
            pull: String::new(),
            image: image.to_owned(),
            operations: None,
            folder: self.folder.clone(),
        };
        let goal = Goal { crew: &crew, image, count: 1, old_count: back, beside };
        self.hands.bring(&goal, &release).await
    }

    /// Its health check asks whether it is ready: whether the journal can be read, NATS is there, and Docker answers.
    async fn watch(&self, image: &str, back: bool) -> Result<(), String> {
        let old = || self.change.old.clone();
        let wanted = Wanted {
            service: DEPLOYER.to_owned(),
            answers_as: None,
            image: image.to_owned(),
            count: 1,
            not: if back { Vec::new() } else { old() },
            units: None,
            known: if back { old() } else { Vec::new() },
        };
        let pace = self.hands.pace;
        self.hands.watch(Gate::new(vec![wanted], pace.limit, pace.canary)).await.map(drop)
    }
}

fn words(error: impl std::error::Error) -> String {
    service::chain(&error)
}
