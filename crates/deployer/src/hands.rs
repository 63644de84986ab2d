//! Performs the steps of a deploy. Each may be begun again at any moment: it looks at what there is, and does what is
//! missing.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Bus, DISCOVERY_LIMIT, Link};
use presence::Connection;
use protocol::{
    VERSION,
    control::{BackupOrder, BackupReply, BackupRequest},
};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    book::Book,
    crew::{self, Container, Goal, Move},
    desk::Desk,
    docker::{Docker, KEPT},
    gate::{Gate, Pace, Sample, Verdict, Wanted},
    lint::Allowed,
    plan::{Found, Job, Step, Want, Way},
    release::{Crew, Release, Role},
    source::{self, Source},
    stack::Stack,
};

/// How long a backup may take.
const BACKUP_LIMIT: Duration = Duration::from_secs(3600);
/// How long the backup service may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Commands to bring one service where it should be; more do not help.
const MOVES_MAX: u32 = 30;
/// Space for an image and its layers, in bytes.
const ROOM_MIN: u64 = 512 << 20;

/// Everything that a step needs.
#[derive(Debug)]
pub struct Hands {
    /// Docker.
    pub docker: Docker,
    /// Where new versions come from.
    pub source: Source,
    /// What a compose file may hold.
    pub allowed: Allowed,
    /// NATS.
    pub connection: Connection,
    /// Whether everything is saved before.
    pub backup: bool,
    /// How long things must and may take.
    pub pace: Pace,
    /// Where the journal is; the disk below it is looked at.
    pub data: PathBuf,
    /// Where it is said what is waited for.
    pub desk: Arc<Desk>,
}

impl Hands {
    /// Performs the step at which the deploy is.
    ///
    /// # Errors
    /// What failed, and what to do, in words.
    pub async fn perform(&self, job: &Job, book: &Book) -> Result<Found, String> {
        self.desk.note("");
        match job.step {
            Step::Resolve => self.resolve(job, book).await,
            Step::Fetch => self.fetch(job).await,
            Step::Backup => self.back_up().await,
            Step::Preflight => self.preflight(job, book).await,
            Step::Prepare => self.prepare(job).await,
            Step::Canary => self.canary(job).await,
            Step::Workers => self.replace(job, Role::Worker).await,
            Step::Gateways => self.replace(job, Role::Gateway).await,
            Step::Rest => self.replace(job, Role::Rest).await,
            Step::Gate => self.gate(job).await,
        }
    }

    async fn resolve(&self, job: &Job, book: &Book) -> Result<Found, String> {
        match &job.want {
            Want::Kept { name } => Ok(Found::Target(book.kept_named(name)?.clone())),
            Want::Newest { commit, .. } => {
                let platform = self.docker.platform().await.map_err(words)?;
                let newest = self.source.newest(commit.as_deref(), &platform, book.last_signed());
                Ok(Found::Target(newest.await.map_err(words)?))
            }
        }
    }

    async fn fetch(&self, job: &Job) -> Result<Found, String> {
        self.room()?;
        let target = target(job)?.clone();
        Ok(Found::Target(self.source.fetch(&self.docker, &self.allowed, target).await.map_err(words)?))
    }

    async fn back_up(&self) -> Result<Found, String> {
        if !self.backup {
            info!("no backup before this deploy: DEPLOY_BACKUP=off");
            return Ok(Found::Done);
        }
        let bus = self.bus().ok_or("NATS does not answer, so that nothing can be saved before")?;
        let ask = |order| BackupRequest { v: VERSION, by: "deployer".to_owned(), order };
        let advice = "or set DEPLOY_BACKUP=off to deploy without";
        let answer = bus.command("backup", &ask(BackupOrder::Create), ANSWER_LIMIT).await;
        let job = match answer.map(|answer| answer.reply) {
            Ok(BackupReply::Accepted { job }) => job,
            Ok(BackupReply::Refused { reason }) => {
                return Err(format!("backup refused: {reason}; mend it, {advice}"));
            }
            Ok(_) => return Err(format!("backup answered what was not asked; {advice}")),
            Err(error) => return Err(format!("{}; start the service backup, {advice}", words(error))),
        };
        let began = Instant::now();
        loop {
            let answer = bus.command("backup", &ask(BackupOrder::Status), ANSWER_LIMIT).await;
            let status = match answer.map(|answer| answer.reply) {
                Ok(BackupReply::Status(status)) => status.job,
                // It may be busy, or start again.
                Ok(_) | Err(_) => None,
            };
            if let Some(status) = status.filter(|status| status.id == job) {
                match status.end {
                    Some(end) if end.good => return Ok(Found::Done),
                    Some(end) => return Err(format!("nothing was saved: {}; mend it, {advice}", end.words)),
                    None => self.desk.note(&status.step),
                }
            }
            if began.elapsed() > BACKUP_LIMIT {
                return Err(format!(
                    "the backup took more than {} min; {advice}",
                    BACKUP_LIMIT.as_secs() / 60
                ));
            }
            sleep(self.pace.look).await;
        }
    }

    async fn preflight(&self, job: &Job, book: &Book) -> Result<Found, String> {
        self.room()?;
        let target = target(job)?;
        self.proved(target).await?;
        let stack = self.stack(target).await?;
        let platform = self.docker.platform().await.map_err(words)?;
        let image = self.docker.image(&target.image).await.map_err(words)?;
        if let Some(image) = image.filter(|image| image.platform != platform) {
            return Err(format!("{} is for {}, this machine is {platform}", target.name, image.platform));
        }
        if self.sample().await?.stats.is_none_or(|stats| stats.is_empty()) {
            return Err("NATS does not answer: it could not be seen whether the new version works".to_owned());
        }
        let containers = self.docker.containers().await.map_err(words)?;
        let mut crew: Vec<Crew> = stack.services.iter().filter_map(|it| crew_of(it, &containers)).collect();
        let works = |it: &&Container| {
            it.state == "running"
                && crew.iter().any(|crew| crew.role == Role::Worker && crew.service == it.service)
        };
        let running = containers.iter().find(works);
        let running = running.ok_or("no worker of the bot runs: start it first, with docker compose up")?;
        let from = match book.current.iter().chain(&book.kept).find(|it| it.image == running.image) {
            Some(known) => known.clone(),
            // It was started by hand.
            None => Release {
                name: format!("before-{}", short(&running.image)),
                source: running.image.clone(),
                commit: None,
                pull: String::new(),
                image: running.image.clone(),
                folder: if running.folder.is_empty() {
                    target.folder.clone()
                } else {
                    running.folder.clone()
                },
            },
        };
        self.proved(&from).await?;
        let before = self.stack(&from).await?;
        // The tag is moved to this version: it must not be that of something else on this machine.
        if before.image != stack.image {
            return Err(format!(
                "expected the image {} as before, found {}: do this update by hand",
                before.image, stack.image
            ));
        }
        // What nobody started stays so; what is new in this version begins.
        crew.retain(|crew| crew.before > 0 || before.services.iter().all(|it| it.name != crew.service));
        let changed = before.changed_in(&stack);
        if !changed.is_empty() {
            let changed = changed.join(", ");
            return Err(format!(
                "{changed}: changed, which stops the bot for a while: do this update by hand"
            ));
        }
        Ok(Found::Before { from, crew })
    }

    /// That the image of a version is here, and stays.
    async fn proved(&self, release: &Release) -> Result<(), String> {
        let image = self.docker.image(&release.image).await.map_err(words)?;
        if image.is_none() {
            return Err(format!("the image of {} is not on this machine any more", release.name));
        }
        self.docker.tag(&release.image, &format!("{KEPT}:{}", release.name)).await.map_err(words)?;
        Ok(())
    }

    async fn prepare(&self, job: &Job) -> Result<Found, String> {
        let goal = job.goal().ok_or("no version is known")?;
        let stack = self.stack(goal).await?;
        // Whoever types `docker compose up` from here on gets this version too.
        self.docker.tag(&goal.image, &stack.image).await.map_err(words)?;
        if let Some(keys) = &stack.keys {
            self.docker.run_once(&goal.folder, keys).await.map_err(words)?;
            if let Some(nats) = &stack.nats {
                self.docker.reload_nats(&goal.folder, nats).await.map_err(words)?;
            }
        }
        self.replace(job, Role::Provision).await
    }

    async fn canary(&self, job: &Job) -> Result<Found, String> {
        let Some(crew) = job.crew.iter().find(|crew| crew.role == Role::Worker) else {
            return Ok(Found::Done);
        };
        let image = &target(job)?.image;
        let goal = Goal { crew, image, count: 1, old_count: false, beside: true };
        self.bring(&goal, job).await?;
        let wanted = Wanted { count: 1, ..wanted(job, crew, image) };
        self.watch(Gate::new(vec![wanted], self.pace.limit, self.pace.canary)).await
    }

    async fn replace(&self, job: &Job, role: Role) -> Result<Found, String> {
        let image = &job.goal().ok_or("no version is known")?.image;
        let back = job.way == Way::Back;
        let mut trouble = Vec::new();
        for crew in job.crew.iter().filter(|crew| crew.role == role) {
            let count = if back { crew.before } else { crew.after };
            let goal = Goal { crew, image, count, old_count: back, beside: false };
            match self.bring(&goal, job).await {
                Ok(()) => {}
                // What can be brought back is, whatever becomes of the others.
                Err(words) if back => trouble.push(words),
                Err(words) => return Err(words),
            }
        }
        if trouble.is_empty() { Ok(Found::Done) } else { Err(trouble.join("\n")) }
    }

    /// Brings one service where it should be.
    async fn bring(&self, goal: &Goal<'_>, job: &Job) -> Result<(), String> {
        let began = Instant::now();
        let folder = &job.goal().ok_or("no version is known")?.folder;
        let service = &goal.crew.service;
        let mut moves = 0;
        loop {
            let all = self.docker.containers().await.map_err(words)?;
            let all: Vec<Container> = all.into_iter().filter(|it| it.service == *service).collect();
            let done = match crew::next(goal, &all) {
                Move::Arrived => return Ok(()),
                Move::Fail(words, id) => {
                    return Err(format!("{words}; its last words:\n{}", self.docker.last_words(&id).await));
                }
                Move::Wait(words) if began.elapsed() > self.pace.limit => {
                    return Err(format!("not within {} s: {words}", self.pace.limit.as_secs()));
                }
                Move::Wait(words) => {
                    self.desk.note(&words);
                    sleep(self.pace.look).await;
                    continue;
                }
                Move::Grow(count) => self.docker.grow(folder, service, count).await.map(drop),
                Move::Renew(count) => self.docker.renew(folder, service, count).await.map(drop),
                Move::End(ids) => self.docker.end(&ids).await,
            };
            done.map_err(words)?;
            moves += 1;
            if moves > MOVES_MAX {
                return Err(format!(
                    "{service}: {MOVES_MAX} commands did not bring it to where it should be"
                ));
            }
        }
    }

    async fn gate(&self, job: &Job) -> Result<Found, String> {
        let image = &job.goal().ok_or("no version is known")?.image;
        let wanted = job.crew.iter().map(|crew| wanted(job, crew, image)).filter(|wanted| wanted.count > 0);
        self.watch(Gate::new(wanted.collect(), self.pace.limit, self.pace.watch)).await
    }

    async fn watch(&self, mut gate: Gate) -> Result<Found, String> {
        let began = Instant::now();
        loop {
            // An engine that does not answer for a moment is no verdict.
            let sample = self.sample().await.unwrap_or_default();
            match gate.look(began.elapsed(), &sample) {
                Verdict::Open => return Ok(Found::Done),
                Verdict::Closed(words) => return Err(words),
                Verdict::Wait(words) => self.desk.note(&words),
            }
            sleep(self.pace.look).await;
        }
    }

    async fn sample(&self) -> Result<Sample, String> {
        let containers = self.docker.containers().await.map_err(words)?;
        let stats = match self.bus() {
            Some(bus) => Some(bus.stats(DISCOVERY_LIMIT).await),
            None => None,
        };
        Ok(Sample { containers, stats })
    }

    async fn stack(&self, release: &Release) -> Result<Stack, String> {
        source::checked(&self.docker, &self.allowed, release).await.map_err(words)
    }

    fn bus(&self) -> Option<Bus> {
        self.connection.borrow().clone().ok().filter(|bus| *bus.link().borrow() == Link::Up)
    }

    fn room(&self) -> Result<(), String> {
        let disk = rustix::fs::statvfs(&self.data);
        let disk = disk.map_err(|error| format!("{}: {error}", self.data.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= ROOM_MIN {
            return Ok(());
        }
        Err(format!("{} MB are free, expected {} MB: make room first", free >> 20, ROOM_MIN >> 20))
    }

    /// Removes what no version that could come back needs.
    pub async fn tidy(&self, book: &Book) {
        let releases: Vec<&Release> = book.current.iter().chain(&book.kept).collect();
        match self.docker.kept().await {
            Ok(names) => {
                for name in names.iter().filter(|name| releases.iter().all(|kept| kept.name != **name)) {
                    if let Err(error) = self.docker.forget(name).await {
                        warn!(name, error = words(error), "an old image is still here");
                    }
                }
            }
            Err(error) => warn!(error = words(error), "old images are still here"),
        }
        // Files that a container was given must be there when it starts again.
        let Ok(containers) = self.docker.containers().await else { return };
        let used = containers.iter().map(|it| it.folder.clone());
        let folders: Vec<String> =
            releases.iter().map(|release| release.folder.clone()).chain(used).collect();
        self.source.prune(&folders);
    }
}

/// A service as it stands. `None` for one that somebody stopped, which stays stopped.
fn crew_of(service: &crate::stack::Service, containers: &[Container]) -> Option<Crew> {
    let ours: Vec<&Container> = containers.iter().filter(|it| it.service == service.name).collect();
    let running = ours.iter().filter(|it| it.state == "running" || it.state == "restarting").count();
    if running == 0 && !ours.is_empty() {
        return None;
    }
    let before = u32::try_from(running).unwrap_or(u32::MAX);
    Some(Crew {
        service: service.name.clone(),
        answers_as: service.answers_as.clone(),
        role: service.role,
        old: ours.iter().map(|it| it.id.clone()).collect(),
        before,
        // What is new in the compose file begins with what it says.
        after: if before == 0 { service.count } else { before },
    })
}

fn wanted(job: &Job, crew: &Crew, image: &str) -> Wanted {
    let back = job.way == Way::Back;
    Wanted {
        service: crew.service.clone(),
        answers_as: crew.answers_as.clone(),
        image: image.to_owned(),
        count: if back { crew.before } else { crew.after } as usize,
        not: if back { Vec::new() } else { crew.old.clone() },
        known: if back { crew.old.clone() } else { Vec::new() },
    }
}

fn target(job: &Job) -> Result<&Release, String> {
    job.target.as_ref().ok_or_else(|| "no version is known".to_owned())
}

fn short(image: &str) -> &str {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    hex.get(..12).unwrap_or(hex)
}

fn words(error: impl std::error::Error) -> String {
    service::chain(&error)
}
