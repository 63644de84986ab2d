//! A database of SQLite, with writers at work: by its online backup, in one read transaction, never by copying
//! files. What is in a `-wal` beside it is in the copy; the copy has none.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use crate::{
    desk::Progress,
    manifest::Part,
    trouble::{Trouble, While as _, aside},
};

/// Its name in a backup.
const FILE: &str = "database/sqlite.db";
/// How long a writer may keep us waiting.
const BUSY_LIMIT: Duration = Duration::from_secs(30);
/// Pages between two looks at the progress: 4 MB.
const PAGES: i32 = 1024;

/// Saves it as it is now.
///
/// # Errors
/// [`Trouble`], also when the copy is not whole: then the original is not.
pub async fn save(path: PathBuf, stage: &Path, progress: Progress) -> Result<Part, Trouble> {
    let to = stage.join(FILE);
    aside(move || {
        let doing = || format!("saving the database at {}", path.display());
        copy(&path, &to, &progress).during(doing())?;
        let rows = check(&to).during(doing())?;
        Ok(Part::Sqlite { file: FILE.to_owned(), rows })
    })
    .await
}

fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    // Not read-only: what a killed writer left behind is put in order by whoever opens it next.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    source.busy_timeout(BUSY_LIMIT)?;
    // The transaction stays at one moment; without it each writer makes the copying begin again.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
    let mut target = Connection::open(to)?;
    let backup = Backup::new(&source, &mut target)?;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => break,
            StepResult::More => {
                let pages = backup.progress();
                let (all, left) = (pages.pagecount.max(0), pages.remaining.max(0));
                progress.done(u64::try_from(all - left).unwrap_or(0), u64::try_from(all).ok());
            }
            _ => return Err("somebody keeps it locked".into()),
        }
    }
    drop(backup);
    // One file: the copy of a database with a write-ahead log would have one too.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| error)?;
    File::open(to)?.sync_all()?;
    Ok(())
}

/// Whether a database is whole, and how many rows each of its tables has.
///
/// # Errors
/// What SQLite finds.
pub fn check(path: &Path) -> Result<BTreeMap<String, u64>, Box<dyn std::error::Error + Send + Sync>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    let found: String = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(format!("it is not whole: {found}").into());
    }
    let mut tables = database.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = BTreeMap::new();
    for name in names {
        let query = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let count: i64 = database.query_row(&query, [], |row| row.get(0))?;
        rows.insert(name, u64::try_from(count).unwrap_or(0));
    }
    Ok(rows)
}

/// A database and what SQLite may have beside it.
pub fn names(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default();
    let beside = |end: &str| {
        let mut name = name.to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    ["", "-wal", "-shm", "-journal"].map(beside).into()
}
