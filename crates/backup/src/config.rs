//! The settings of the backup.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use service::{NatsLogin, Setting, Settings};

use crate::{manifest, schedule::Timetable};

/// More folders than any bot has.
const FOLDERS_MAX: usize = 16;
/// What is said of a password in an address that ends the address.
const NO_ADDRESS: &str = "in its name and password, write what is neither a letter nor a digit as % and two digits: @ is \
                          %40, / is %2F, : is %3A, % is %25";
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(20);

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    Setting {
        name: "DATABASE_URL",
        default: Some("sqlite://data/vigie.db"),
        expected: "sqlite://path, postgres://user:password@host/name, or none",
        help: "the database of the bot",
        secret: true,
    },
    Setting {
        name: "BACKUP_REPOSITORY",
        default: None,
        expected: "a repository of restic, such as /mnt/usb/vigie or sftp:me@example.org:/backups/vigie",
        help: "where backups are stored, encrypted; it is made when it is not there; needs BACKUP_PASSWORD",
        secret: true,
    },
    Setting {
        name: "BACKUP_PASSWORD",
        default: None,
        expected: "at least 12 characters",
        help: "the key of that repository: without it no backup can be read, so keep it elsewhere too",
        secret: true,
    },
    Setting {
        name: "BACKUP_EXPORT",
        default: None,
        expected: "a folder",
        help: "where each backup is also stored as a tar.zst, not encrypted and without BACKUP_SETTINGS",
        secret: false,
    },
    Setting {
        name: "BACKUP_SETTINGS",
        default: None,
        expected: "paths, with commas",
        help: "files and folders with settings and keys, such as .env; only in the encrypted repository",
        secret: false,
    },
    Setting {
        name: "BACKUP_FOLDERS",
        default: None,
        expected: "name=path pairs, with commas, such as gitea=/srv/gitea",
        help: "other folders to save",
        secret: false,
    },
    Setting {
        name: "BACKUP_DATA",
        default: Some("data/backup"),
        expected: "a folder",
        help: "where work is done and what was done is kept; it needs room for the database twice",
        secret: false,
    },
    Setting {
        name: "BACKUP_SCHEDULE",
        default: Some("30 3 * * *"),
        expected: "a cron expression (minute hour day month weekday), or off",
        help: "when a backup is made, in UTC",
        secret: false,
    },
    Setting {
        name: "BACKUP_DRILL",
        default: Some("30 4 * * 0"),
        expected: "a cron expression (minute hour day month weekday), or off",
        help: "when the newest backup is restored into a scratch place, to see that it can be, in UTC",
        secret: false,
    },
    Setting {
        name: "BACKUP_KEEP",
        default: Some("last=3,daily=7,weekly=4,monthly=6"),
        expected: "last=, daily=, weekly=, monthly= and numbers, with commas",
        help: "which backups are kept: the newest, and the newest of so many days, weeks and months",
        secret: false,
    },
];

/// How the backup runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// The database, if there is one.
    pub database: Option<Database>,
    /// The repository of restic.
    pub repository: Option<SecretString>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Where archives are put.
    pub export: Option<PathBuf>,
    /// Files and folders with settings.
    pub settings: Vec<PathBuf>,
    /// Other folders.
    pub folders: Vec<Folder>,
    /// Where work is done.
    pub data: PathBuf,
    /// When backups are made.
    pub schedule: Option<Timetable>,
    /// When they are tried.
    pub drill: Option<Timetable>,
    /// Which are kept.
    pub keep: Keep,
    /// The program of restic; another one in tests.
    pub restic: PathBuf,
    /// How often the clock is looked at; shorter in tests.
    pub tick: Duration,
    /// The clock, in Unix milliseconds; another one in tests.
    pub clock: fn() -> u64,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A server of PostgreSQL: the whole URL.
    Postgres(SecretString),
}

/// A folder that is saved under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name in the backup.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// How many backups are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest.
    pub last: usize,
    /// The newest of so many days.
    pub daily: usize,
    /// The newest of so many weeks.
    pub weekly: usize,
    /// The newest of so many months.
    pub monthly: usize,
}

impl Config {
    /// Reads the settings; what is wrong with them stays in `settings`.
    #[must_use]
    pub fn read(settings: &mut Settings) -> Self {
        let config = Self {
            nats: NatsLogin::read(settings),
            database: settings.parse("DATABASE_URL", database),
            repository: settings.optional_parse("BACKUP_REPOSITORY", repository),
            password: settings.optional_parse("BACKUP_PASSWORD", password),
            export: settings.optional_parse("BACKUP_EXPORT", absolute),
            settings: settings.optional_parse("BACKUP_SETTINGS", paths).unwrap_or_default(),
            folders: settings.optional_parse("BACKUP_FOLDERS", folders).unwrap_or_default(),
            data: settings.parse("BACKUP_DATA", absolute),
            schedule: settings.parse("BACKUP_SCHEDULE", Timetable::read),
            drill: settings.parse("BACKUP_DRILL", Timetable::read),
            keep: settings.parse("BACKUP_KEEP", keep),
            restic: PathBuf::from("restic"),
            tick: TICK,
            clock: service::clock::unix_ms,
        };
        let (repository, password) = ("BACKUP_REPOSITORY", "BACKUP_PASSWORD");
        if config.repository.is_some() && settings.optional(password).is_none() {
            settings.problem(password, format!("is not set, and {repository} needs it"));
        }
        if config.repository.is_none() && !config.settings.is_empty() {
            let why = format!("are saved only where they are encrypted: expected {repository} to be set too");
            settings.problem("BACKUP_SETTINGS", why);
        }
        for why in config.overlaps().into_iter().chain(config.clashes()) {
            settings.problem("BACKUP_FOLDERS", why);
        }
        config
    }

    /// What is in a folder is exchanged with it, and saved with it: nothing that is saved or exchanged by itself may be
    /// in it, nor where backups are.
    fn overlaps(&self) -> Vec<String> {
        let mut places: Vec<(String, PathBuf)> = vec![("BACKUP_DATA".to_owned(), lexical(&self.data))];
        if let Some(Database::Sqlite(path)) = &self.database {
            places.push(("the database of DATABASE_URL".to_owned(), lexical(path)));
        }
        if let Some(path) = &self.export {
            places.push(("BACKUP_EXPORT".to_owned(), lexical(path)));
        }
        if let Some(path) = self.repository.as_ref().and_then(|text| local(text.expose_secret())) {
            places.push(("BACKUP_REPOSITORY".to_owned(), lexical(Path::new(path))));
        }
        let folders =
            self.folders.iter().map(|folder| (format!("the folder {}", folder.name), folder.path.clone()));
        places.extend(folders);
        let mut found = Vec::new();
        for Folder { name, path } in &self.folders {
            let itself = format!("the folder {name}");
            let inside = places.iter().filter(|(what, place)| *what != itself && place.starts_with(path));
            found.extend(
                inside.map(|(what, _)| format!("{what} is in {itself}: expected it to be elsewhere")),
            );
        }
        found
    }

    /// A repository has folders at their own paths, beside what a backup has at its top.
    fn clashes(&self) -> Vec<String> {
        let clash = |Folder { name, path }: &Folder| {
            let first = path.components().find_map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })?;
            manifest::NAMES.contains(&first).then(|| {
                format!("the folder {name} is below /{first}, a name that backups use themselves: expected another path")
            })
        };
        let folders = self.folders.iter().filter(|_| self.repository.is_some());
        folders.filter_map(clash).collect()
    }
}

fn database(text: &str) -> Result<Option<Database>, String> {
    if text == "none" {
        return Ok(None);
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Some(Database::Postgres(text.to_owned().into())));
    }
    // What stands behind `?` is for whoever opens it.
    let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
    match path.and_then(|path| path.split('?').next()) {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(Some(Database::Sqlite(absolute(path)?))),
        _ => Err(String::new()),
    }
}

fn password(text: &str) -> Result<SecretString, String> {
    if text.chars().count() < 12 || text.contains(['\n', '\r']) {
        return Err(String::new());
    }
    Ok(text.to_owned().into())
}

/// Children work in other folders.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

/// The same path without `..`, for comparing.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// Where a repository is on this machine; `None` when it is elsewhere.
fn local(repository: &str) -> Option<&str> {
    match repository.split_once(':') {
        Some(("local", path)) => Some(path),
        Some((scheme, _)) if !scheme.contains('/') => None,
        _ => Some(repository),
    }
}

fn repository(text: &str) -> Result<SecretString, String> {
    let Some(path) = local(text) else {
        return if is_address(text) { Ok(text.to_owned().into()) } else { Err(NO_ADDRESS.to_owned()) };
    };
    Ok(absolute(path)?.display().to_string().into())
}

/// Whether the name and the password in it, if there are any, can be told from the rest of it. Programs show what they
/// cannot read, and a password with it.
fn is_address(text: &str) -> bool {
    let Some((_, address)) = text.split_once("://") else { return true };
    let authority = address.split('/').next().unwrap_or_default();
    let Some((person, _)) = authority.rsplit_once('@') else {
        // What looks like a port may be the beginning of a password with / in it.
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        return !address.contains('@') || port.bytes().all(|byte| byte.is_ascii_digit());
    };
    let mut parts = person.split('%');
    let plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte))
    };
    let coded = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    parts.next().is_some_and(plain) && parts.all(|part| coded(part) && plain(part))
}

fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    text.split(',').map(str::trim).filter(|path| !path.is_empty()).map(absolute).collect()
}

fn folders(text: &str) -> Result<Vec<Folder>, String> {
    let mut all = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, path) = pair.split_once('=').ok_or("there is no = in it")?;
        let fine = |name: &str| {
            matches!(name.len(), 1..=32)
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if !fine(name) {
            return Err("a name has letters, digits, - and _".to_owned());
        }
        let path = absolute(path)?;
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("{name} has .. in its path"));
        }
        if path.parent().is_none() {
            return Err("the whole disk is no folder to save".to_owned());
        }
        if all.insert(name.to_owned(), path).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    if all.len() > FOLDERS_MAX {
        return Err(format!("more than {FOLDERS_MAX}"));
    }
    Ok(all.into_iter().map(|(name, path)| Folder { name, path }).collect())
}

fn keep(text: &str) -> Result<Keep, String> {
    let mut keep = Keep::default();
    for pair in text.split(',').map(str::trim) {
        let (what, count) = pair.split_once('=').ok_or_else(String::new)?;
        let count = count.parse().map_err(|_| format!("{count:?} is no number"))?;
        match what {
            "last" => keep.last = count,
            "daily" => keep.daily = count,
            "weekly" => keep.weekly = count,
            "monthly" => keep.monthly = count,
            _ => return Err(format!("{what:?} is unknown")),
        }
    }
    if keep.last == 0 {
        return Err("the newest is always kept: last= is at least 1".to_owned());
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    #[test]
    fn runs_without_any_setting() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, [""; 0]);
        assert!(matches!(config.database, Some(Database::Sqlite(path)) if path.ends_with("data/vigie.db")));
        assert_eq!(config.keep, Keep { last: 3, daily: 7, weekly: 4, monthly: 6 });
        assert!(config.repository.is_none() && config.schedule.is_some());
    }

    #[test]
    fn every_bad_value_is_told_and_no_secret_shown() {
        let (config, problems) = read(&[
            ("DATABASE_URL", "mysql://root:hunter2@db"),
            ("BACKUP_REPOSITORY", "rest:https://me:hunter2@example.org/"),
            ("BACKUP_FOLDERS", "gitea=/srv/gitea,gitea=/srv/other"),
            ("BACKUP_KEEP", "last=0"),
            ("BACKUP_SCHEDULE", "every day"),
        ]);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(!problems.concat().contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn nothing_that_is_saved_or_exchanged_is_inside_of_another() {
        for (pairs, expected) in [
            (
                vec![("BACKUP_FOLDERS", "a=/srv/a"), ("DATABASE_URL", "sqlite:///srv/a/vigie.db")],
                "DATABASE_URL",
            ),
            (vec![("BACKUP_FOLDERS", "a=/srv/a"), ("BACKUP_DATA", "/srv/b/../a/backup")], "BACKUP_DATA"),
            (vec![("BACKUP_FOLDERS", "a=/srv/a"), ("BACKUP_EXPORT", "/srv/a")], "BACKUP_EXPORT"),
            (vec![("BACKUP_FOLDERS", "a=/srv/a,b=/srv/a/b")], "the folder b is in the folder a"),
            (vec![("BACKUP_FOLDERS", "a=/srv/a/b,b=/srv/a")], "the folder a is in the folder b"),
            (vec![("BACKUP_FOLDERS", "a=/srv/../srv/a")], ".. in its path"),
        ] {
            let (_, problems) = read(&pairs);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{pairs:?}: {problems:?}");
        }
        let password = ("BACKUP_PASSWORD", "correct horse battery");
        let folders = ("BACKUP_FOLDERS", "a=/srv/a,ab=/srv/ab");
        for (repository, inside) in [("/srv/a/r", true), ("local:/srv/a/r", true), ("/srv/r", false)] {
            let (_, problems) = read(&[folders, password, ("BACKUP_REPOSITORY", repository)]);
            assert_eq!(problems.concat().contains("BACKUP_REPOSITORY is in"), inside, "{problems:?}");
        }
    }

    /// restic once gave such a folder another name, and no restore found it.
    #[test]
    fn a_folder_with_the_path_of_something_in_a_backup_is_refused() {
        let repository = [("BACKUP_PASSWORD", "correct horse battery"), ("BACKUP_REPOSITORY", "/srv/r")];
        for (folders, bad) in [("a=/settings/a", true), ("a=/streams", true), ("a=/srv/settings", false)] {
            let (_, problems) = read(&[repository.as_slice(), &[("BACKUP_FOLDERS", folders)]].concat());
            assert_eq!(problems.concat().contains("a name that backups use themselves"), bad, "{problems:?}");
            let (_, problems) = read(&[("BACKUP_FOLDERS", folders)]);
            assert_eq!(problems, [""; 0], "an archive has folders by name");
        }
    }

    #[test]
    fn a_repository_of_this_machine_is_the_same_from_every_folder() {
        let password = ("BACKUP_PASSWORD", "correct horse battery");
        let found = |text: &str| {
            let (config, problems) = read(&[password, ("BACKUP_REPOSITORY", text)]);
            assert_eq!(problems, [""; 0]);
            config.repository.unwrap().expose_secret().to_owned()
        };
        let here = std::env::current_dir().unwrap().join("backups").display().to_string();
        assert_eq!((found("backups"), found("local:backups")), (here.clone(), here));
        for elsewhere in [
            "sftp:me@example.org:/backups",
            "sftp://me@example.org:2222//backups/a@b",
            "sftp://me@[::1]:22//backups",
            "s3:s3.example.org/bucket",
            "rest:https://me:hunt%40er2@example.org:8000/vi@gie/",
            "/mnt/usb/vi:gie",
        ] {
            assert_eq!(found(elsewhere), elsewhere);
        }
        for cut in ["hunt%er2", "hunt/er2", "hunt@er2", "hunt er2", "hunt\"er2", "hunter2%"] {
            let address = format!("rest:https://me:{cut}@example.org/");
            let (_, problems) = read(&[password, ("BACKUP_REPOSITORY", &address)]);
            assert!(problems.len() == 1 && problems[0].contains("%40"), "{cut}: {problems:?}");
            assert!(!problems[0].contains("hunt"), "{problems:?}");
        }
    }

    #[test]
    fn settings_are_not_stored_where_everybody_reads_them() {
        let (_, problems) = read(&[("BACKUP_SETTINGS", ".env"), ("BACKUP_EXPORT", "/mnt/usb")]);
        assert!(problems.len() == 1 && problems[0].contains("only where they are encrypted"), "{problems:?}");
    }
}
