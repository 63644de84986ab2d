//! Performs the steps of a deploy. Each may be begun again at any moment: it looks at what there is, and does what is
//! missing.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Bus, DISCOVERY_LIMIT, Link, RequestError};
use presence::Connection;
use protocol::{
    VERSION,
    control::{BackupOrder, BackupReply, BackupRequest},
};
use tokio::time::sleep;
use tracing::info;

use crate::{
    book::Book,
    crew::{Container, Goal, Move},
    desk::Desk,
    engine::Engine,
    gate::{Gate, Pace, Sample, Verdict, Wanted},
    plan::{Found, Job, Step, Want, Way},
    release::{Crew, Release, Role},
    source::Source,
};

/// How long a backup may take.
const BACKUP_LIMIT: Duration = Duration::from_secs(3600);
/// How long the backup service may be busy with something else, or not be heard, before it begins with ours.
const BUSY_LIMIT: Duration = Duration::from_secs(900);
/// How long the backup service may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// What to do about a backup that cannot be made.
const WITHOUT_BACKUP: &str = "or set DEPLOY_BACKUP=off to deploy without";
/// Commands to bring one service where it should be; more do not help.
const MOVES_MAX: u32 = 30;
/// How long it may take until any service answers on NATS.
const HEARD_LIMIT: Duration = Duration::from_secs(60);
/// Space for an image and its layers, in bytes.
const ROOM_MIN: u64 = 512 << 20;

/// Everything that a step needs.
#[derive(Debug)]
pub struct Hands {
    /// What runs the bot.
    pub engine: Engine,
    /// Where new versions come from.
    pub source: Source,
    /// NATS.
    pub connection: Connection,
    /// Whether everything is saved before.
    pub backup: bool,
    /// As which instance we answer.
    pub instance: String,
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
            Want::Kept { name } => Ok(Found::Target(self.engine.wanted(book.kept_named(name)?))),
            Want::Newest { commit, .. } => self.look(commit.as_deref(), book).await.map(Found::Target),
        }
    }

    /// The newest version there is.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn newest(&self, book: &Book) -> Result<Release, String> {
        self.look(None, book).await
    }

    async fn look(&self, heard: Option<&str>, book: &Book) -> Result<Release, String> {
        let platform = self.engine.platform().await?;
        self.source.newest(heard, &platform, book.last_signed()).await.map_err(words)
    }

    async fn fetch(&self, job: &Job) -> Result<Found, String> {
        self.room()?;
        let target = target(job)?.clone();
        Ok(Found::Target(self.engine.fetch(&self.source, target).await?))
    }

    async fn back_up(&self) -> Result<Found, String> {
        if !self.backup {
            info!("no backup before this deploy: DEPLOY_BACKUP=off");
            return Ok(Found::Done);
        }
        let job = self.begin_backup().await?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.backup_job().await.filter(|status| status.id == job) {
                match status.end {
                    Some(end) if end.good => return Ok(Found::Done),
                    Some(end) => {
                        return Err(format!("nothing was saved: {}; mend it, {WITHOUT_BACKUP}", end.words));
                    }
                    None => self.desk.note(&status.step),
                }
            }
            if began.elapsed() > BACKUP_LIMIT {
                return Err(format!(
                    "the backup took more than {} min; {WITHOUT_BACKUP}",
                    BACKUP_LIMIT.as_secs() / 60
                ));
            }
            sleep(self.pace.look).await;
        }
    }

    /// Has a backup begin, after what the service is busy with now; its name.
    async fn begin_backup(&self) -> Result<String, String> {
        let began = Instant::now();
        // What it was busy with may end before it is asked for that.
        let mut refused = false;
        loop {
            let waits = match self.ask_backup(BackupOrder::Create).await {
                Some(Ok(BackupReply::Accepted { job })) => return Ok(job),
                Some(Ok(BackupReply::Refused { reason })) if refused => {
                    return Err(format!("backup refused: {reason}; mend it, {WITHOUT_BACKUP}"));
                }
                Some(Ok(BackupReply::Refused { reason })) => {
                    refused = !self.backup_was_busy(began).await;
                    reason
                }
                Some(Ok(_)) => return Err(format!("backup answered what was not asked; {WITHOUT_BACKUP}")),
                Some(Err(error @ (RequestError::TimedOut { .. } | RequestError::NotSent { .. }))) => {
                    words(error)
                }
                Some(Err(error)) => {
                    return Err(format!("{}; start the service backup, {WITHOUT_BACKUP}", words(error)));
                }
                None => "NATS does not answer".to_owned(),
            };
            if began.elapsed() > BUSY_LIMIT {
                let minutes = BUSY_LIMIT.as_secs() / 60;
                return Err(format!(
                    "no backup began within {minutes} min: {waits}; mend it, {WITHOUT_BACKUP}"
                ));
            }
            self.desk.note(&waits);
            sleep(self.pace.look).await;
        }
    }

    /// Waits as long as the backup service does something else; whether it did.
    async fn backup_was_busy(&self, began: Instant) -> bool {
        let mut was_busy = false;
        while began.elapsed() <= BUSY_LIMIT
            && let Some(job) = self.backup_job().await.filter(|job| job.end.is_none())
        {
            was_busy = true;
            self.desk.note(&format!("{} goes on first", job.verb));
            sleep(self.pace.look).await;
        }
        was_busy
    }

    /// What the backup service does, or did last; `None` also when it does not answer: it may be busy, or start again.
    async fn backup_job(&self) -> Option<protocol::control::Job> {
        match self.ask_backup(BackupOrder::Status).await {
            Some(Ok(BackupReply::Status(status))) => status.job,
            _ => None,
        }
    }

    /// `None` while NATS is away.
    async fn ask_backup(&self, order: BackupOrder) -> Option<Result<BackupReply, RequestError>> {
        let request = BackupRequest { v: VERSION, by: "deployer".to_owned(), order };
        let answer = self.bus()?.command("backup", &request, ANSWER_LIMIT).await;
        Some(answer.map(|answer| answer.reply))
    }

    async fn preflight(&self, job: &Job, book: &Book) -> Result<Found, String> {
        self.room()?;
        let target = target(job)?;
        self.engine.proved(target).await?;
        let services = self.engine.services(target).await?;
        self.heard().await?;
        let containers = self.engine.standing().await?;
        let mut crew: Vec<Crew> = services.iter().filter_map(|it| crew_of(it, &containers)).collect();
        let works = |it: &&Container| {
            it.state == "running"
                && crew.iter().any(|crew| crew.role == Role::Worker && crew.service == it.service)
        };
        let running = containers.iter().find(works);
        let running = running.ok_or("no worker of the bot runs: start it first")?;
        let mut from = match book.current.iter().chain(&book.kept).find(|it| it.image == running.image) {
            Some(known) => known.clone(),
            None => self.engine.by_hand(running, target),
        };
        from.operations = self.engine.second_of_now(target, &crew, &containers).await?;
        self.engine.proved(&from).await?;
        self.engine.fits(&from, target).await?;
        let before = self.engine.services(&from).await?;
        // What nobody started stays so; what is new in this version begins.
        crew.retain(|crew| crew.before > 0 || before.iter().all(|it| it.name != crew.service));
        Ok(Found::Before { from, crew })
    }

    /// That services can be asked how they are. A machine that has just built an image may be slow for a while.
    async fn heard(&self) -> Result<(), String> {
        let began = Instant::now();
        while self.sample().await?.stats.is_none_or(|stats| stats.is_empty()) {
            if began.elapsed() > HEARD_LIMIT.min(self.pace.limit) {
                let words = "NATS does not answer: it could not be seen whether the new version works";
                return Err(words.to_owned());
            }
            self.desk.note("NATS does not answer yet");
            sleep(self.pace.look).await;
        }
        Ok(())
    }

    async fn prepare(&self, job: &Job) -> Result<Found, String> {
        let goal = job.goal().ok_or("no version is known")?;
        self.engine.prepare(goal).await?;
        self.replace(job, Role::Provision).await
    }

    async fn canary(&self, job: &Job) -> Result<Found, String> {
        let Some(crew) = job.crew.iter().find(|crew| crew.role == Role::Worker) else {
            return Ok(Found::Done);
        };
        let image = &target(job)?.image;
        let goal = Goal { crew, image, count: 1, old_count: false, beside: true };
        self.bring(&goal, target(job)?).await?;
        let wanted = Wanted { units: self.engine.units(&goal), count: 1, ..wanted(job, crew, image) };
        self.watch(Gate::new(vec![wanted], self.pace.limit, self.pace.canary)).await
    }

    async fn replace(&self, job: &Job, role: Role) -> Result<Found, String> {
        let release = job.goal().ok_or("no version is known")?;
        let back = job.way == Way::Back;
        let mut trouble = Vec::new();
        for crew in job.crew.iter().filter(|crew| crew.role == role) {
            let count = if back { crew.before } else { crew.after };
            let image = release.image_of(crew);
            let goal = Goal { crew, image, count, old_count: back, beside: false };
            match self.bring(&goal, release).await {
                Ok(()) => {}
                // What can be brought back is, whatever becomes of the others.
                Err(words) if back => trouble.push(words),
                Err(words) => return Err(words),
            }
        }
        if trouble.is_empty() { Ok(Found::Done) } else { Err(trouble.join("\n")) }
    }

    /// Brings one service where it should be, as it is in this version.
    ///
    /// # Errors
    /// Why it does not come there.
    pub async fn bring(&self, goal: &Goal<'_>, release: &Release) -> Result<(), String> {
        let began = Instant::now();
        let service = &goal.crew.service;
        let mut moves = 0;
        loop {
            let all = self.engine.containers().await?;
            let all: Vec<Container> = all.into_iter().filter(|it| it.service == *service).collect();
            match self.engine.next(goal, &all) {
                Move::Arrived => return Ok(()),
                Move::Fail(words, id) => return Err(self.with_log(words, &id).await),
                Move::Wait(words, id) if began.elapsed() > self.pace.limit => {
                    let words = format!("not within {} s: {words}", self.pace.limit.as_secs());
                    return Err(self.with_log(words, &id).await);
                }
                Move::Wait(words, _) => {
                    self.desk.note(&words);
                    sleep(self.pace.look).await;
                    continue;
                }
                what => self.engine.obey(&what, goal, release).await?,
            }
            moves += 1;
            if moves > MOVES_MAX {
                return Err(format!(
                    "{service}: {MOVES_MAX} commands did not bring it to where it should be"
                ));
            }
        }
    }

    async fn gate(&self, job: &Job) -> Result<Found, String> {
        let release = job.goal().ok_or("no version is known")?;
        let wanted = job.crew.iter().map(|crew| {
            let wanted = wanted(job, crew, release.image_of(crew));
            let goal = Goal { crew, image: &wanted.image, count: 0, old_count: false, beside: false };
            Wanted { units: self.engine.units(&goal), ..wanted }
        });
        let wanted = wanted.filter(|wanted| wanted.count > 0);
        self.watch(Gate::new(wanted.collect(), self.pace.limit, self.pace.watch)).await
    }

    /// Looks at a gate until it is open.
    ///
    /// # Errors
    /// Why it stays closed.
    pub async fn watch(&self, mut gate: Gate) -> Result<Found, String> {
        let began = Instant::now();
        loop {
            // An engine that does not answer for a moment is no verdict.
            let sample = self.sample().await.unwrap_or_default();
            match gate.look(began.elapsed(), &sample) {
                Verdict::Open => return Ok(Found::Done),
                Verdict::Closed(words, None) => return Err(words),
                Verdict::Closed(words, Some(id)) => return Err(self.with_log(words, &id).await),
                Verdict::Wait(words) => self.desk.note(&words),
            }
            sleep(self.pace.look).await;
        }
    }

    /// What went wrong with a container, and what it said: afterwards it is gone, with its log.
    async fn with_log(&self, words: String, id: &str) -> String {
        format!("{words}; its last words:\n{}", self.engine.last_words(id).await)
    }

    async fn sample(&self) -> Result<Sample, String> {
        let containers = self.engine.containers().await?;
        let stats = match self.bus() {
            Some(bus) => Some(bus.stats(DISCOVERY_LIMIT).await),
            None => None,
        };
        Ok(Sample { containers, stats })
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
        self.engine.keep(&releases, &self.source).await;
    }
}

/// A service as it stands. `None` for one that somebody stopped, which stays stopped.
fn crew_of(service: &crate::stack::Service, containers: &[Container]) -> Option<Crew> {
    let ours: Vec<&Container> = containers.iter().filter(|it| it.service == service.name).collect();
    // `starting` is a unit whose service is not there yet.
    let is_on = |it: &&&Container| matches!(it.state.as_str(), "running" | "restarting" | "starting");
    let running = ours.iter().filter(is_on).count();
    if running == 0 && !ours.is_empty() {
        return None;
    }
    let before = u32::try_from(running).unwrap_or(u32::MAX);
    Some(Crew {
        service: service.name.clone(),
        answers_as: service.answers_as.clone(),
        role: service.role,
        operations: service.operations,
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
        units: None,
        known: if back { crew.old.clone() } else { Vec::new() },
    }
}

fn target(job: &Job) -> Result<&Release, String> {
    job.target.as_ref().ok_or_else(|| "no version is known".to_owned())
}

fn words(error: impl std::error::Error) -> String {
    service::chain(&error)
}
