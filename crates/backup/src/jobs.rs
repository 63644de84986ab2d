//! The steps of each job. What a job needs room for is below the data folder, and is gone when it is over.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use presence::Connection;
use tokio::{sync::Mutex, time::timeout};
use tracing::{debug, warn};

use crate::{
    config::{Config, Database},
    desk::{Progress, Task},
    files,
    kept::{Kept, Known, Store},
    manifest::Manifest,
    proof::Proof,
    restore::{self, Journal},
    room::{self, SPARE},
    save::{self, Plan, sqlite},
    store::{Stores, TIME},
    trouble::{Trouble, While as _},
};

/// Folders of ours below the data folder that hold nothing of worth when no job runs.
const SCRATCH: [&str; 4] = ["stage", "drill", "restore", "scratch"];

/// How long NATS is waited for at the start, to ask who runs: without it nobody does anything that counts.
const NATS_LIMIT: Duration = Duration::from_secs(5);
/// After a power cut all that starts by itself has run no longer than this; a bot that has was started by somebody.
const TOGETHER: Duration = Duration::from_secs(120);

/// After every drill the room of old backups is given back. A backup does it where there is no drill: when that was so
/// long ago.
const PRUNE_AFTER: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What cannot be read when it fails.
const JOURNAL: &str = "reading restore.json in BACKUP_DATA";

/// All that jobs work with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The settings.
    pub config: Arc<Config>,
    /// Where backups are.
    pub stores: Stores,
    /// What is kept.
    pub store: Arc<Store>,
    /// NATS.
    pub connection: Connection,
    /// How far the job is.
    pub progress: Progress,
    /// Held by who uses all of this.
    pub turn: Arc<Mutex<()>>,
}

impl Jobs {
    /// Does one; gives words for people.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn run(&self, task: Task) -> Result<String, Trouble> {
        let _turn = self.turn.lock().await;
        if matches!(task, Task::Create | Task::Restore { into: None, .. }) {
            self.settle().await?;
        }
        match task {
            Task::Create => self.create().await,
            Task::Verify => self.verify().await,
            Task::Drill => self.drill().await,
            Task::Restore { backup, into } => self.restore(&backup, into.as_deref()).await,
            Task::GoBack => {
                self.not_under_a_bot().await?;
                self.go_back().await
            }
        }
    }

    /// Looks which backups there are where none is known: on a machine that takes the place of a lost one, so that a
    /// person is shown them. What cannot be looked at is told by the first job.
    pub async fn look(&self) {
        match self.stores.list(&[]).await {
            Ok(found) => self.store.change(|kept| kept.backups = found).await,
            Err(trouble) => debug!(error = service::chain(&trouble), "no backups are known"),
        }
    }

    async fn create(&self) -> Result<String, Trouble> {
        let began = Instant::now();
        self.progress.step("look");
        let kept = self.store.get();
        let (config, stage) = (&*self.config, self.config.data.join("stage"));
        room::make(&stage, needed(config)).await?;
        let repository = self.stores.open(&kept).await?;
        self.store.change(|kept| kept.repository = repository).await;
        self.stores.clear_unfinished().await?;
        let backups = self.stores.list(&kept.backups).await?;
        let now_ms = (config.clock)();
        let number = backups.iter().map(|one| one.number).max().unwrap_or(0) + 1;
        let id = name(now_ms, &backups);
        let Kept { parts: expected, files, streams, .. } = kept;
        let plan = Plan { id: id.clone(), number, expected, files, streams };
        let stored = self.store_new(plan, now_ms, &stage).await;
        room::give_back(&stage).await;
        let (backup, manifest) = stored?;
        let (parts, files, streams) = (manifest.kinds(), manifest.folders(), manifest.streams());
        let bytes = backup.bytes.unwrap_or(0);
        // Read again: this is what is there.
        let mut backups = self.stores.list(&[backups.as_slice(), &[backup]].concat()).await?;
        let good = |kept: &mut Kept| {
            kept.backups.clone_from(&backups);
            kept.parts.clone_from(&parts);
            kept.files = files;
            kept.streams = streams;
            kept.create_ms = Some(millis(began.elapsed()));
        };
        self.store.change(good).await;
        if !backups.iter().any(|one| one.id == id) {
            return Err(Trouble::Found(format!("{id} was stored, and is not among the backups")));
        }
        self.progress.step("old backups");
        backups = self.stores.forget(config, backups).await?;
        let mut is_due = false;
        let forgotten = |kept: &mut Kept| {
            kept.backups = backups;
            let pruned_at_ms = *kept.pruned_at_ms.get_or_insert(now_ms);
            is_due = now_ms.saturating_sub(pruned_at_ms) >= millis(PRUNE_AFTER);
        };
        self.store.change(forgotten).await;
        if is_due && let Err(trouble) = self.prune().await {
            warn!(error = service::chain(&trouble), "no room was given back");
        }
        self.stores.check(&self.progress).await.during(format!("{id} is stored"))?;
        Ok(format!(
            "{id} holds {}: {}, saved in {}",
            parts.join(", "),
            files::size(bytes),
            seconds(millis(began.elapsed()))
        ))
    }

    /// Gives back the room of what no backup needs any more.
    async fn prune(&self) -> Result<(), Trouble> {
        self.progress.step("old backups");
        self.stores.prune().await?;
        let now_ms = (self.config.clock)();
        self.store.change(|kept| kept.pruned_at_ms = Some(now_ms)).await;
        Ok(())
    }

    async fn store_new(&self, plan: Plan, now_ms: u64, stage: &Path) -> Result<(Known, Manifest), Trouble> {
        let manifest = save::gather(&self.config, &self.connection, plan, stage, &self.progress).await?;
        let mut backup = Known {
            id: manifest.id.clone(),
            number: manifest.number,
            at_ms: now_ms,
            parts: manifest.kinds(),
            ..Known::default()
        };
        self.stores.save(&self.config, stage, &mut backup, &self.progress).await?;
        Ok((backup, manifest))
    }

    async fn verify(&self) -> Result<String, Trouble> {
        let began = Instant::now();
        let backups = self.listed().await?;
        self.stores.verify(&backups, &self.progress).await?;
        Ok(format!(
            "{} backups, what was read of them is whole; read in {}",
            backups.len(),
            seconds(millis(began.elapsed()))
        ))
    }

    async fn drill(&self) -> Result<String, Trouble> {
        let backup = self.chosen("latest").await?;
        let scratch = self.config.data.join("drill");
        let began = Instant::now();
        let proved = restore::restored(&self.stores, &backup, &scratch, SPARE, &self.progress).await;
        let took_ms = millis(began.elapsed());
        room::give_back(&scratch).await;
        // Whether it came back or not: a repository that is full would else be so for ever.
        let pruned = self.prune().await;
        let words = found(&backup, &proved?, took_ms);
        let now_ms = (self.config.clock)();
        let proved = |kept: &mut Kept| {
            kept.restore_ms = Some(took_ms);
            if let Some(known) = kept.backups.iter_mut().find(|known| known.id == backup.id) {
                known.proved_ms = Some(now_ms);
            }
        };
        self.store.change(proved).await;
        pruned.map(|()| words)
    }

    async fn restore(&self, backup: &str, into: Option<&str>) -> Result<String, Trouble> {
        let backup = self.chosen(backup).await?;
        let began = Instant::now();
        let Some(into) = into else {
            let bus = self.connection.borrow().clone().map_err(Trouble::Found)?;
            let (config, stores) = (&self.config, &self.stores);
            let proof = restore::in_place(config, &bus, stores, &backup, &self.progress).await?;
            // What the next backup holds is held against what is there now.
            self.store.change(|kept| kept.streams.clear()).await;
            let words = found(&backup, &proof, millis(began.elapsed()));
            let aside = if proof.manifest.has_files() {
                ". What was there before is in .vigie-before beside it"
            } else {
                ""
            };
            return Ok(format!("{words}{aside}"));
        };
        let place = restore::place_of(Path::new(into));
        self.store.change(|kept| kept.restoring = place).await;
        let restored =
            restore::to_new_place(&self.config, &self.stores, &backup, Path::new(into), &self.progress).await;
        self.store.change(|kept| kept.restoring = None).await;
        Ok(format!("{}, into {into}", found(&backup, &restored?, millis(began.elapsed()))))
    }

    /// A restore that could not be undone is undone now: until then what it put aside is the only copy of it, and
    /// what is in its place is half.
    async fn settle(&self) -> Result<(), Trouble> {
        if Journal::read(&self.config.data).during(JOURNAL)?.is_none() {
            return Ok(());
        }
        let first = "first going back from a restore that did not come to its end";
        let bus = self.connection.borrow().clone().map_err(Trouble::Found).during(first)?;
        // Whoever runs has the files open, for however short a time.
        restore::stopped(&bus, Duration::ZERO).await.during(first)?;
        let words = self.go_back().await.during(first)?;
        warn!(words, "went back first");
        Ok(())
    }

    /// At the start of this service alone a bot may run as ever, with what would be exchanged under it. One that starts
    /// together with it, as after a power cut, is not waited for: it would never end.
    async fn not_under_a_bot(&self) -> Result<(), Trouble> {
        self.progress.step("waiting for NATS");
        let mut connection = self.connection.clone();
        let connected = match timeout(NATS_LIMIT, connection.wait_for(Result::is_ok)).await {
            Ok(Ok(connected)) => connected.clone(),
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let bus = connected.map_err(Trouble::Found)?;
        restore::stopped(&bus, TOGETHER).await.during(
            "a restore did not come to its end, and going back from it waits until the bot is stopped: stop it, start \
             backup again, and then the bot",
        )
    }

    async fn go_back(&self) -> Result<String, Trouble> {
        let Some(mut journal) = Journal::read(&self.config.data).during(JOURNAL)? else {
            return Ok("there is nothing to go back from".to_owned());
        };
        // Files need no NATS: whoever starts after this service finds them where they were.
        journal.back().await.during("putting files back where they were")?;
        self.progress.step("waiting for NATS");
        let mut connection = self.connection.clone();
        let connected = connection.wait_for(Result::is_ok).await.during("waiting for NATS")?.clone();
        let bus = connected.map_err(Trouble::Found)?;
        self.progress.step("going back");
        let backup = std::mem::take(&mut journal.backup);
        restore::undo(&self.config, &bus, journal).await?;
        restore::clear_up(&self.config).await;
        Ok(format!("the restore of {backup} did not come to its end; all is as it was before"))
    }

    /// Which backups there are now.
    pub async fn listed(&self) -> Result<Vec<Known>, Trouble> {
        self.progress.step("look");
        let kept = self.store.get();
        let repository = self.stores.open(&kept).await?;
        let backups = self.stores.list(&kept.backups).await?;
        let found = |kept: &mut Kept| {
            kept.repository = repository;
            kept.backups.clone_from(&backups);
        };
        self.store.change(found).await;
        Ok(backups)
    }

    async fn chosen(&self, name: &str) -> Result<Known, Trouble> {
        let backups = self.listed().await?;
        let chosen = match name {
            "latest" => backups.last(),
            name => backups.iter().find(|backup| backup.id == name),
        };
        let none = || match backups.is_empty() {
            true => Trouble::Found("there is no backup yet: expected `backup create` first".to_owned()),
            false => {
                Trouble::Found(format!("there is no backup {name}: `backup list` tells which there are"))
            }
        };
        chosen.cloned().ok_or_else(none)
    }
}

/// Removes what jobs of a process that is gone have left behind.
pub async fn tidy(config: &Config, store: &Arc<Store>) {
    for name in SCRATCH {
        room::give_back(&config.data.join(name)).await;
    }
    if let Some(place) = store.get().restoring {
        room::give_back(&place).await;
        store.change(|kept| kept.restoring = None).await;
    }
    restore::clear_up(config).await;
}

/// `20261122T033000Z`, and a number behind it where that is taken.
fn name(now_ms: u64, backups: &[Known]) -> String {
    let time =
        i64::try_from(now_ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_default();
    let plain = time.format(TIME).to_string();
    let taken = |name: &str| backups.iter().any(|one| one.id == name);
    let mut names = std::iter::once(plain.clone()).chain((2..).map(|more| format!("{plain}-{more}")));
    names.find(|name| !taken(name)).unwrap_or(plain)
}

/// How many bytes a backup takes while it is made. A database that is not there yet takes none.
fn needed(config: &Config) -> u64 {
    let Some(Database::Sqlite(path)) = &config.database else { return 0 };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let sizes = sqlite::names(path).into_iter().filter_map(|name| std::fs::metadata(folder.join(name)).ok());
    sizes.map(|file| file.len()).sum::<u64>() + SPARE
}

fn found(backup: &Known, proof: &Proof, took_ms: u64) -> String {
    let parts = proof.manifest.kinds().join(", ");
    let (id, files, rows) = (&backup.id, proof.files, proof.rows);
    format!("{id} came back whole in {}: {parts}, {files} files, {rows} rows", seconds(took_ms))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Says what went wrong, once, with all that caused it.
pub fn told(trouble: &Trouble, task: &Task) -> String {
    let words = service::chain(trouble);
    warn!(job = task.verb(), error = words, "a job failed");
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_are_for_people() {
        let sizes = (files::size(999), files::size(12_345_678));
        assert_eq!(sizes, ("999 B".to_owned(), "12.3 MB".to_owned()));
        let first = name(1_795_318_200_000, &[]);
        assert_eq!(first, "20261122T033000Z");
        let taken = Known { id: first, ..Known::default() };
        assert_eq!(name(1_795_318_200_000, &[taken]), "20261122T033000Z-2");
    }
}
