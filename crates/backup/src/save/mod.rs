//! Gathers everything in one place, each part as it is at one moment, and in an order in which nothing is lost
//! between them: streams first, then the database, then folders and settings.
//!
//! What a worker took from a stream is in the database before it leaves the stream; so what has left the streams
//! that were saved is in the database that is saved after them.

pub mod postgres;
pub mod sqlite;
pub mod streams;

use std::{collections::BTreeMap, fs, path::Path};

use presence::Connection;

use crate::{
    config::{Config, Database, Folder},
    desk::Progress,
    files,
    manifest::{Manifest, Part, VERSION},
    trouble::{Trouble, While as _, aside},
};

/// What is about to be saved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the backup.
    pub id: String,
    /// Which one in a row.
    pub number: u64,
    /// What the last good one had in it.
    pub expected: Vec<String>,
    /// How many files each folder had in it then.
    pub files: BTreeMap<String, u64>,
    /// How many messages each stream had in it then.
    pub streams: BTreeMap<String, u64>,
}

/// Gathers everything in `stage`, which is empty.
///
/// # Errors
/// [`Trouble`]: then there is no backup. What is configured and cannot be saved is missed loudly, as is what the
/// last backup had and this one has not.
pub async fn gather(
    config: &Config,
    connection: &Connection,
    plan: Plan,
    stage: &Path,
    progress: &Progress,
) -> Result<Manifest, Trouble> {
    let began_ms = (config.clock)();
    let mut parts = Vec::new();
    progress.step("streams");
    let bus = connection.borrow().clone().map_err(Trouble::Found)?;
    parts.extend(streams::save(&bus, &stage.join(Part::STREAMS), &plan.streams).await?);
    progress.step("database");
    match config.database.clone() {
        Some(Database::Sqlite(path)) if !path.exists() => missing(&plan, Part::DATABASE, &path)?,
        Some(Database::Sqlite(path)) => parts.push(sqlite::save(path, stage, progress.clone()).await?),
        Some(Database::Postgres(url)) => parts.push(postgres::save(&url, stage).await?),
        None => {}
    }
    progress.step("folders");
    for folder in config.folders.clone() {
        let before = plan.files.get(&folder.name).copied().unwrap_or(0);
        parts.push(aside(move || count(folder, before)).await?);
    }
    progress.step("settings");
    if let Some(part) = settings(config, stage).await? {
        parts.push(part);
    }
    let manifest = Manifest {
        v: VERSION,
        id: plan.id,
        number: plan.number,
        began_ms,
        ended_ms: (config.clock)(),
        build: service::BUILD.to_owned(),
        parts,
        files: Vec::new(),
    };
    progress.step("hashes");
    let stage = stage.to_owned();
    aside(move || manifest.write(&stage).during("writing down what was gathered")).await
}

/// There is no database yet; or there is none any more, or another disk in its place.
fn missing(plan: &Plan, what: &str, path: &Path) -> Result<(), Trouble> {
    if plan.expected.iter().any(|part| part == what) {
        let path = path.display();
        return Err(Trouble::Found(format!(
            "the last backup had a {what}, and there is none at {path} now: is its disk there? Without one, set \
             DATABASE_URL=none"
        )));
    }
    tracing::info!(path = %path.display(), "there is no database yet; the rest is saved");
    Ok(())
}

/// A folder with what it should have: not a link, of which only the link would be saved, and not what is left where
/// a disk is not mounted.
fn count(folder: Folder, before: u64) -> Result<Part, Trouble> {
    let Folder { name, path } = folder;
    let (doing, shown) = (format!("looking at the folder {name} at {}", path.display()), path.display());
    if !fs::symlink_metadata(&path).during(&doing)?.is_dir() {
        return Err(Trouble::Found(format!(
            "the folder {name} of BACKUP_FOLDERS: expected a folder at {shown}, and it is a link or a file"
        )));
    }
    let amount = files::amount(&path).during(doing)?;
    if before > 0 && amount.files == 0 {
        return Err(Trouble::Found(format!(
            "the folder {name} had {before} files in the last backup, and {shown} has none: is its disk there? If it is \
             meant to be empty, take it out of BACKUP_FOLDERS"
        )));
    }
    Ok(Part::Folder { name, path, files: amount.files, bytes: amount.bytes })
}

async fn settings(config: &Config, stage: &Path) -> Result<Option<Part>, Trouble> {
    if config.settings.is_empty() {
        return Ok(None);
    }
    let (paths, stage) = (config.settings.clone(), stage.join(Part::SETTINGS));
    aside(move || {
        for (number, path) in paths.iter().enumerate() {
            let folder = stage.join(number.to_string());
            fs::create_dir_all(&folder).during("making room for settings")?;
            let name = path.file_name().unwrap_or_default();
            let doing = || format!("saving the settings at {}", path.display());
            // A link to them would come back alone.
            let there = path.canonicalize().during(doing())?;
            files::copy(&there, &folder.join(name)).during(doing())?;
        }
        Ok(Some(Part::Settings { paths }))
    })
    .await
}
