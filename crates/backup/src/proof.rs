//! Whether a restored backup is whole: every file as it was, databases as SQLite and PostgreSQL see them, every row
//! and stream there.

use std::{collections::BTreeMap, path::Path};

use crate::{
    files,
    manifest::{Manifest, Part},
    save::{postgres, sqlite, streams},
    store::is_stored,
    trouble::{Trouble, While as _, aside},
};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// What is in the backup.
    pub manifest: Manifest,
    /// How many files were read.
    pub files: u64,
    /// How many rows were counted.
    pub rows: u64,
}

/// Looks at everything below `folder`; `settings` says whether they are in it, which they are not in an archive.
///
/// # Errors
/// [`Trouble`], with the first that is not as it was.
pub async fn prove(folder: &Path, settings: bool) -> Result<Proof, Trouble> {
    let place = folder.to_owned();
    let mut proof = aside(move || of_files(&place, settings)).await?;
    for part in &proof.manifest.parts {
        match part {
            Part::Sqlite { file, rows } => {
                let path = folder.join(file);
                let found =
                    aside(move || sqlite::check(&path).during("opening the restored database")).await?;
                proof.rows += same_rows(rows, &found)?;
            }
            Part::Postgres { file, rows } => {
                let found =
                    postgres::check(&folder.join(file)).await.during("reading the restored database")?;
                proof.rows += same_rows(rows, &found)?;
            }
            Part::Stream { name, messages } => {
                let cut = streams::cut(&folder.join(Part::STREAMS).join(name))?;
                if cut.messages() != *messages {
                    return Err(Trouble::Found(format!("the stream {name} is of another backup")));
                }
            }
            Part::Folder { name, files, .. } => {
                let place = folder.join(Part::FOLDERS).join(name);
                let doing = format!("looking at the restored folder {name}");
                let found = aside(move || files::amount(&place).during(doing)).await?;
                // It may change while it is read; what it must not be is empty.
                if *files > 0 && found.files == 0 {
                    return Err(Trouble::Found(format!("the folder {name} had {files} files, and has none")));
                }
                proof.files += found.files;
            }
            Part::Settings { .. } => {}
        }
    }
    Ok(proof)
}

fn of_files(folder: &Path, settings: bool) -> Result<Proof, Trouble> {
    let manifest = Manifest::read(folder).during("reading what is in the backup")?;
    let mut count = 0;
    for file in manifest.files.iter().filter(|file| settings || is_stored(&file.path)) {
        let found = files::sha256(&folder.join(&file.path)).during(format!("reading {}", file.path))?;
        if found != file.sha256 {
            return Err(Trouble::Found(format!("{} is not as it was saved", file.path)));
        }
        count += 1;
    }
    Ok(Proof { manifest, files: count, rows: 0 })
}

fn same_rows(saved: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<u64, Trouble> {
    for (table, rows) in saved {
        if found.get(table) != Some(rows) {
            let now = found.get(table).map_or_else(|| "is not there".to_owned(), |now| format!("has {now}"));
            return Err(Trouble::Found(format!("the table {table} had {rows} rows, and {now}")));
        }
    }
    Ok(found.values().sum())
}
