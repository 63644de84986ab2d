//! A database of PostgreSQL, by `pg_dump`, which sees one moment of it; its rows are counted in what it wrote.

use std::{collections::BTreeMap, path::Path, time::Duration};

use child::{Child, ChildError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    manifest::Part,
    programs,
    trouble::{Trouble, While as _},
};

/// Its name in a backup.
const FILE: &str = "database/postgres.dump";
/// How long any of it may take.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Saves it as it is now.
///
/// # Errors
/// [`Trouble`]
pub async fn save(url: &SecretString, stage: &Path) -> Result<Part, Trouble> {
    let to = stage.join(FILE);
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).during("making room for the database")?;
    }
    let dump = program("pg_dump", url)?.args(["--format=custom", "--no-owner", "--no-privileges", "--file"]);
    dump.args([&to]).lines(|_| {}).await.during("saving the database")?;
    let rows = check(&to).await.during("reading what was saved of the database")?;
    Ok(Part::Postgres { file: FILE.to_owned(), rows })
}

/// Reads the whole of what `pg_dump` wrote, as if it were restored; how many rows each table has.
///
/// # Errors
/// What `pg_restore` says.
pub async fn check(dump: &Path) -> Result<BTreeMap<String, u64>, ChildError> {
    let mut rows = BTreeMap::new();
    let mut table: Option<String> = None;
    let read = programs::program("pg_restore", LIMIT).args(["--file=-"]).args([dump]);
    read.lines(|line| match (&table, line) {
        (Some(_), "\\.") => table = None,
        (Some(name), _) => *rows.entry(name.clone()).or_insert(0) += 1,
        (None, line) => {
            if let Some(name) = copied(line) {
                rows.insert(name.clone(), 0);
                table = Some(name);
            }
        }
    })
    .await?;
    Ok(rows)
}

/// Puts it in the place of what is there: all of it, or nothing.
///
/// # Errors
/// [`Trouble`]; then the database is as it was.
pub async fn put_back(url: &SecretString, dump: &Path) -> Result<(), Trouble> {
    let how = [
        "--clean",
        "--if-exists",
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
    ];
    let login = Login::of(url)?;
    let restore = program("pg_restore", url)?.args(how).args(["--dbname", &login.database]).args([dump]);
    restore.lines(|_| {}).await.during("putting the database back")
}

/// `COPY public.people (id, name) FROM stdin;`
fn copied(line: &str) -> Option<String> {
    let (name, _) = line.strip_prefix("COPY ")?.strip_suffix("FROM stdin;")?.split_once(" (")?;
    Some(name.to_owned())
}

fn program(name: &str, url: &SecretString) -> Result<Child, Trouble> {
    let login = Login::of(url)?;
    let mut child = programs::program(name, LIMIT)
        .env("PGHOST", login.host)
        .env("PGPORT", login.port)
        .env("PGDATABASE", login.database)
        .env("PGCONNECT_TIMEOUT", "10");
    if !login.user.is_empty() {
        child = child.env("PGUSER", login.user);
    }
    if !login.password.is_empty() {
        child = child.env("PGPASSWORD", login.password);
    }
    if let Some(mode) = login.sslmode {
        child = child.env("PGSSLMODE", mode);
    }
    Ok(child)
}

/// What the programs of PostgreSQL want to know, apart, so that the password is on no command line.
struct Login {
    host: String,
    port: String,
    user: String,
    password: String,
    database: String,
    sslmode: Option<String>,
}

impl Login {
    fn of(url: &SecretString) -> Result<Self, Trouble> {
        Self::read(url.expose_secret()).ok_or_else(|| {
            Trouble::Found("DATABASE_URL: expected postgres://user:password@host:port/name".to_owned())
        })
    }

    fn read(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/')?;
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
            _ => (address, "5432"),
        };
        let option = |wanted: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| decoded(value))
        };
        // A folder with a socket is no name of a host, so it stands behind.
        let host = option("host").or_else(|| decoded(host.trim_matches(['[', ']'])))?;
        Some(Self {
            host: if host.is_empty() { "localhost".to_owned() } else { host },
            port: option("port").unwrap_or_else(|| port.to_owned()),
            user: decoded(user)?,
            password: decoded(password)?,
            database: decoded(database).filter(|name| !name.is_empty())?,
            sslmode: option("sslmode"),
        })
    }
}

/// `%40` is an @.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let login =
            Login::read("postgres://bot:p%40ss:word@db.example.org:6432/vigie?sslmode=require").unwrap();
        assert_eq!((login.host.as_str(), login.port.as_str()), ("db.example.org", "6432"));
        assert_eq!((login.user.as_str(), login.password.as_str()), ("bot", "p@ss:word"));
        assert_eq!((login.database.as_str(), login.sslmode.as_deref()), ("vigie", Some("require")));
        let socket = Login::read("postgres:///vigie?host=/run/postgresql").unwrap();
        assert_eq!((socket.host.as_str(), socket.user.as_str()), ("/run/postgresql", ""));
        assert!(Login::read("postgres://bot@db").is_none());
    }

    #[test]
    fn a_table_is_known_by_its_first_line() {
        assert_eq!(copied("COPY public.people (id, name) FROM stdin;").as_deref(), Some("public.people"));
        assert_eq!(copied("COPY public.people (id, name) TO stdout;"), None);
    }
}
