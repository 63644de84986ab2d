//! Gathers everything in one place, each part as it is at one moment, and in an order in which nothing is lost
//! between them: streams first, then the database, then folders and settings.
//!
//! What a worker took from a stream is in the database before it leaves the stream; so what has left the streams
//! that were saved is in the database that is saved after them.

pub mod postgres;
pub mod sqlite;
pub mod streams;

use std::{fs, path::Path};

use crate::{
    config::{Config, Database},
    desk::Progress,
    files,
    manifest::{Manifest, Part, VERSION},
    nats::Connection,
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
    parts.extend(streams::save(&bus, &stage.join(Part::STREAMS)).await?);
    progress.step("database");
    match config.database.clone() {
        Some(Database::Sqlite(path)) if !path.exists() => missing(&plan, Part::DATABASE, &path)?,
        Some(Database::Sqlite(path)) => parts.push(sqlite::save(path, stage, progress.clone()).await?),
        Some(Database::Postgres(url)) => parts.push(postgres::save(&url, stage).await?),
        None => {}
    }
    progress.step("folders");
    for folder in config.folders.clone() {
        parts.push(aside(move || count(folder)).await?);
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

fn count(folder: crate::config::Folder) -> Result<Part, Trouble> {
    let crate::config::Folder { name, path } = folder;
    let amount =
        files::amount(&path).during(format!("looking at the folder {name} at {}", path.display()))?;
    Ok(Part::Folder { name, path, files: amount.files })
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
            files::copy(path, &folder.join(name))
                .during(format!("saving the settings at {}", path.display()))?;
        }
        Ok(Some(Part::Settings { paths }))
    })
    .await
}
