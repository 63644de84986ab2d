//! Brings a backup back: to a new place, or in the place of what is there.
//!
//! In place, nothing is touched before the whole backup is there and proved. What is there is put aside, not
//! removed; a step that fails, or a death at any point, is followed by trying to go back to it, by this process, by the
//! next one, and before the next job that needs it. Until that worked there is a [`Journal`], which everybody who asks
//! how backups stand is told of.

mod journal;
mod swap;

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use bus::{Bus, SAVED};
use tracing::{info, warn};

pub use self::journal::Journal;
use self::swap::{Phase, Place};
use crate::{
    config::{Config, Database},
    desk::Progress,
    files,
    kept::Known,
    manifest::Part,
    proof::{Proof, prove},
    room::{self, SPARE},
    save::{postgres, sqlite, streams},
    store::Stores,
    trouble::{Trouble, While as _, aside},
};

/// How long the bot is listened for, to know that it is stopped.
const SILENCE: Duration = Duration::from_secs(2);
/// Who must be stopped: the other services do not touch what is exchanged.
const STOPPED: [&str; 4] = ["discord-gateway", "twitch-gateway", "command-worker", "dashboard"];
/// What is done must not be forgotten: the trail that is there stays when it is the same one, and later.
const TRAIL: &str = "AUDIT";
/// What was dumped of PostgreSQL before.
const DUMP: &str = "postgres.dump";

/// Restores into a folder that is empty or not there; gives what was found in it.
///
/// # Errors
/// [`Trouble`]; then nothing is there.
pub async fn to_new_place(
    config: &Config,
    stores: &Stores,
    backup: &Known,
    into: &Path,
    progress: &Progress,
) -> Result<Proof, Trouble> {
    let expected =
        || Trouble::Found(format!("expected an empty folder to restore into, not {}", into.display()));
    let plain = into.is_absolute() && !into.components().any(|part| part == Component::ParentDir);
    let Some((above, name)) = parted(into).filter(|_| plain) else {
        return Err(Trouble::Found("expected the whole path of an empty folder, without ..".to_owned()));
    };
    let ours = |part: Component<'_>| part.as_os_str().to_string_lossy().starts_with(files::OURS);
    if into.components().any(ours) || is_below(into, &config.data) {
        return Err(Trouble::Found(format!(
            "expected a folder outside of BACKUP_DATA and of {}… folders, where the service clears up, not {}",
            files::OURS,
            into.display()
        )));
    }
    let there = into.try_exists().during("looking at the folder to restore into")?;
    if there && !fs::read_dir(into).is_ok_and(|mut below| below.next().is_none()) {
        return Err(expected());
    }
    let part = unnamed(above, name);
    let restored = restored(stores, backup, &part, 0, progress).await;
    let moved = match restored {
        Ok(proof) if !there || fs::remove_dir(into).is_ok() => {
            let (from, to, above) = (part.clone(), into.to_owned(), above.to_owned());
            let doing = "naming the restored folder";
            let named = move || fs::rename(from, to).and_then(|()| files::sync(&above)).during(doing);
            aside(named).await.map(|()| proof)
        }
        Ok(_) => Err(expected()),
        Err(trouble) => Err(trouble),
    };
    if moved.is_err() {
        room::give_back(&part).await;
    }
    moved
}

/// Where all of it is until it has its name; `None` when that is not the name of a folder.
pub fn place_of(into: &Path) -> Option<PathBuf> {
    parted(into).map(|(above, name)| unnamed(above, name))
}

fn parted(into: &Path) -> Option<(&Path, &OsStr)> {
    into.parent().zip(into.file_name())
}

/// No name that is used beside what is exchanged in place.
fn unnamed(above: &Path, name: &OsStr) -> PathBuf {
    above.join(format!("{}restored-{}", files::OURS, name.to_string_lossy()))
}

/// Whether a path, of which not all has to be there, leads into a folder, whatever links are on the way.
fn is_below(path: &Path, folder: &Path) -> bool {
    let there = path.ancestors().find_map(|above| fs::canonicalize(above).ok());
    matches!((there, fs::canonicalize(folder)), (Some(there), Ok(folder)) if there.starts_with(&folder))
}

/// Restores into a scratch folder of ours and proves it; `spare` is what must be left on its disk, in bytes.
///
/// # Errors
/// [`Trouble`]
pub async fn restored(
    stores: &Stores,
    backup: &Known,
    folder: &Path,
    spare: u64,
    progress: &Progress,
) -> Result<Proof, Trouble> {
    progress.step("look");
    let needed = stores.size_of(backup).await?;
    room::make(folder, needed.saturating_add(spare)).await?;
    progress.step("restore");
    stores.restore(backup, folder, progress).await?;
    progress.step("check");
    prove(folder, backup.snapshot.is_some()).await
}

/// Restores in the place of what is there.
///
/// # Errors
/// [`Trouble`]; then all is as it was, or its words say that it is not.
pub async fn in_place(
    config: &Config,
    bus: &Bus,
    stores: &Stores,
    backup: &Known,
    progress: &Progress,
) -> Result<Proof, Trouble> {
    stopped(bus, Duration::ZERO).await?;
    let scratch = config.data.join("restore");
    let outcome = exchange(config, bus, stores, backup, &scratch, progress).await;
    room::give_back(&scratch).await;
    clear_up(config).await;
    outcome
}

/// Removes what was to come in the place of something and did not, unless that is still to be gone back from: it is as
/// large as the backup, and nobody sees it.
pub async fn clear_up(config: &Config) {
    if Journal::unfinished(&config.data).is_some() {
        return;
    }
    let folders = config.folders.iter().map(|folder| folder.path.clone());
    let database = match &config.database {
        Some(Database::Sqlite(path)) => path.parent().map(Path::to_owned),
        Some(Database::Postgres(_)) | None => None,
    };
    for folder in folders.chain(database) {
        room::give_back(&Place { folder, names: None, phase: Phase::Before }.incoming()).await;
    }
}

async fn exchange(
    config: &Config,
    bus: &Bus,
    stores: &Stores,
    backup: &Known,
    scratch: &Path,
    progress: &Progress,
) -> Result<Proof, Trouble> {
    let proof = restored(stores, backup, scratch, SPARE, progress).await?;
    progress.step("prepare");
    let mut journal = Journal::new(&config.data, backup.id.clone());
    let before = config.data.join("before");
    room::make(&before, 0).await?;
    journal.places = prepare(config, &proof, scratch).await?;
    let database = proof.manifest.parts.iter().find_map(|part| match (part, &config.database) {
        (Part::Postgres { file, .. }, Some(Database::Postgres(url))) => {
            Some((url.clone(), scratch.join(file)))
        }
        _ => None,
    });
    if let Some((url, _)) = &database {
        postgres::save(url, &before).await?;
        fs::rename(before.join("database/postgres.dump"), before.join(DUMP))
            .during("putting the database aside")?;
    }
    let chosen = chosen(bus, &proof, scratch).await?;
    for name in &chosen {
        if bus.stream_now(name).await.during("looking at streams")?.is_some() {
            if !bus.can_be_saved(name).await.during("looking at streams")? {
                return Err(Trouble::Found(format!(
                    "the stream {name} is in memory and cannot be put aside: set NATS_STORAGE=file, start all of it \
                     again, and restore then"
                )));
            }
            streams::save_one(bus, name, &before.join(name)).await?;
        }
    }
    // Nobody may have come back meanwhile.
    stopped(bus, Duration::ZERO).await?;
    journal.write().await.during("writing down what is about to be done")?;
    let done = replace(config, bus, &proof, &mut journal, &chosen, database, scratch, progress).await;
    if let Err(error) = done {
        warn!(error = service::chain(&error), "going back");
        progress.step("going back");
        undo(config, bus, journal).await.during(format!(
            "{}; and going back failed too, which is tried again at the next start and before the next backup",
            service::chain(&error)
        ))?;
        return Err(error);
    }
    journal.remove().await.during("writing down that it is done")?;
    Ok(proof)
}

/// The steps that change something.
#[expect(clippy::too_many_arguments, reason = "one step after the other, with all that they need")]
async fn replace(
    config: &Config,
    bus: &Bus,
    proof: &Proof,
    journal: &mut Journal,
    chosen: &[String],
    database: Option<(secrecy::SecretString, PathBuf)>,
    scratch: &Path,
    progress: &Progress,
) -> Result<(), Trouble> {
    progress.step("files");
    journal.forward().await.during("exchanging files")?;
    if let Some((url, dump)) = database {
        progress.step("database");
        journal.database = true;
        journal.write().await.during("writing down how far it got")?;
        postgres::put_back(&url, &dump).await?;
    }
    progress.step("streams");
    for name in chosen {
        journal.streams.push(name.clone());
        journal.write().await.during("writing down how far it got")?;
        streams::replace(bus, name, &scratch.join(Part::STREAMS).join(name)).await?;
    }
    progress.step("check");
    if let (Some(Database::Sqlite(path)), Some(rows)) = (&config.database, rows(proof)) {
        let path = path.clone();
        let found =
            aside(move || sqlite::check(&path).during("opening the database that was put back")).await?;
        if found != rows {
            return Err(Trouble::Found(
                "the database that was put back has other rows than the backup".to_owned(),
            ));
        }
    }
    Ok(())
}

fn rows(proof: &Proof) -> Option<std::collections::BTreeMap<String, u64>> {
    proof.manifest.parts.iter().find_map(|part| match part {
        Part::Sqlite { rows, .. } => Some(rows.clone()),
        _ => None,
    })
}

/// Goes back to what was before a restore that did not come to its end.
///
/// # Errors
/// [`Trouble`]; it can be tried again.
pub async fn undo(config: &Config, bus: &Bus, mut journal: Journal) -> Result<(), Trouble> {
    let before = config.data.join("before");
    journal.back().await.during("putting files back where they were")?;
    if let (true, Some(Database::Postgres(url))) = (journal.database, &config.database) {
        postgres::put_back(url, &before.join(DUMP)).await?;
        journal.database = false;
        journal.write().await.during("writing down how far it got")?;
    }
    while let Some(name) = journal.streams.last().cloned() {
        let saved = before.join(&name);
        if saved.join(streams::CUT).exists() {
            streams::replace(bus, &name, &saved).await?;
        } else {
            bus.remove_stream(&name).await.during(format!("removing the stream {name}"))?;
        }
        journal.streams.pop();
        journal.write().await.during("writing down how far it got")?;
    }
    journal.remove().await.during("writing down that all is as it was")
}

/// What is to come, beside what is there.
async fn prepare(config: &Config, proof: &Proof, scratch: &Path) -> Result<Vec<Place>, Trouble> {
    let mut places = Vec::new();
    for part in proof.manifest.parts.clone() {
        match (part, &config.database) {
            (Part::Sqlite { file, .. }, Some(Database::Sqlite(path))) => {
                let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
                let place = Place { folder, names: Some(sqlite::names(path)), phase: Phase::Before };
                let (from, to) =
                    (scratch.join(file), place.incoming().join(path.file_name().unwrap_or_default()));
                // Whoever opens the one that is there must be able to open this one.
                if let Ok(there) = fs::metadata(path) {
                    files::owned_like(&there, &from).during("giving the restored database its owner")?;
                }
                places.push(bring(place, vec![(from, to)]).await?);
            }
            (Part::Sqlite { .. }, _) => return Err(other_database("SQLite")),
            (Part::Postgres { .. }, Some(Database::Postgres(_))) => {}
            (Part::Postgres { .. }, _) => return Err(other_database("PostgreSQL")),
            (Part::Folder { name, .. }, _) => {
                let Some(folder) = config.folders.iter().find(|folder| folder.name == name) else {
                    info!(folder = name, "is in the backup and not in BACKUP_FOLDERS; it is left out");
                    continue;
                };
                let from = scratch.join(Part::FOLDERS).join(&name);
                let place = Place { folder: folder.path.clone(), names: None, phase: Phase::Before };
                let names = files::names(&from).during(format!("reading the restored folder {name}"))?;
                let pairs = names.iter().map(|name| (from.join(name), place.incoming().join(name))).collect();
                places.push(bring(place, pairs).await?);
            }
            (Part::Stream { .. } | Part::Settings { .. }, _) => {}
        }
    }
    Ok(places)
}

fn other_database(kind: &str) -> Trouble {
    Trouble::Found(format!("the backup holds a database of {kind}: expected DATABASE_URL to be of that kind"))
}

async fn bring(place: Place, pairs: Vec<(PathBuf, PathBuf)>) -> Result<Place, Trouble> {
    aside(move || {
        let doing = || format!("bringing what was restored to {}", place.folder.display());
        place.prepare().during(doing())?;
        let brought = pairs.iter().try_for_each(|(from, to)| files::copy(from, to));
        if let Err(error) = brought.and_then(|()| files::sync(&place.incoming())) {
            // What does not fit must not go on filling the disk of the bot.
            if let Err(error) = files::remove(&place.incoming()) {
                warn!(folder = %place.incoming().display(), %error, "cannot be removed");
            }
            return Err(error).during(doing());
        }
        Ok(place)
    })
    .await
}

/// Which streams are put back.
async fn chosen(bus: &Bus, proof: &Proof, scratch: &Path) -> Result<Vec<String>, Trouble> {
    let mut chosen = Vec::new();
    for part in &proof.manifest.parts {
        let Part::Stream { name, .. } = part else { continue };
        if !SAVED.iter().any(|saved| saved.lasting && saved.name == name) {
            continue;
        }
        if name == TRAIL {
            let cut = streams::cut(&scratch.join(Part::STREAMS).join(name))?;
            let now = bus.stream_now(name).await.during("looking at the audit trail")?;
            if now.is_some_and(|now| now.goes_on(&cut)) {
                continue;
            }
        }
        chosen.push(name.clone());
    }
    Ok(chosen)
}

/// Makes sure that nobody who has run for longer than `since` writes to what is about to be exchanged.
///
/// # Errors
/// With who still does.
pub async fn stopped(bus: &Bus, since: Duration) -> Result<(), Trouble> {
    let mut running = bus.stats(SILENCE).await;
    running.retain(|one| STOPPED.contains(&one.service.as_str()) && one.uptime_s >= since.as_secs());
    let mut running: Vec<String> = running.into_iter().map(|one| one.service).collect();
    running.dedup();
    if running.is_empty() {
        return Ok(());
    }
    Err(Trouble::Found(format!("expected the bot to be stopped, and {} still answers", running.join(", "))))
}
