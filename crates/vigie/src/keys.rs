//! `vigie keys`: a key for each user of NATS, and what the server is told of them. Run again, it makes only what
//! is missing, and tells the server what this version grants.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use bus::{Nkey, User, access};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::cli;

/// The seed of a user, in a folder of its own.
const SEED: &str = "nats.nk";
/// What the server reads, in the folder that is for it.
const SERVER: &str = "nats";
const USERS: &str = "users.conf";
/// A seed has 58 characters.
const SEED_MAX_BYTES: u64 = 256;

/// Only the user reads its seed.
const SEED_MODE: u32 = 0o400;
const SEED_FOLDER_MODE: u32 = 0o700;
/// There is nothing secret in what the server reads, and it may run as somebody else.
const USERS_MODE: u32 = 0o444;
const SERVER_FOLDER_MODE: u32 = 0o755;

/// What `vigie keys --help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 every user has a key; 1 something cannot be read or written, and what was there is \
as it was; 64 arguments cannot be used";

/// Arguments of `vigie keys`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Where the keys are: FOLDER/<user>/nats.nk, and FOLDER/nats/users.conf for the server
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Make a new key for this user; the one it has is of no use any more
    #[arg(long, value_name = "USER", value_parser = user)]
    rotate: Vec<User>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn user(name: &str) -> Result<User, String> {
    User::named(name).ok_or_else(|| {
        let names = User::ALL.map(User::name).join(", ");
        format!("expected one of {names}")
    })
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    made: Vec<User>,
    rotated: Vec<User>,
    told: bool,
}

/// Makes what is missing, and says what that was.
///
/// # Errors
/// When something cannot be read or written; what was there is as it was.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let done = make(&options.folder, &options.rotate)?;
    let text = if options.json {
        done.json(&options.folder).to_string() + "\n"
    } else {
        done.render(&options.folder)
    };
    cli::say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn make(folder: &Path, rotate: &[User]) -> anyhow::Result<Done> {
    let mut done = Done::default();
    // It leads to the server's as well.
    folder_with(folder, SERVER_FOLDER_MODE)?;
    let mut public = BTreeMap::new();
    for user in User::ALL {
        let own = folder.join(user.name());
        folder_with(&own, SEED_FOLDER_MODE)?;
        let path = own.join(SEED);
        let there = read_seed(&path)?;
        let key = match there {
            Some(key) if !rotate.contains(&user) => key,
            there => {
                let key = Nkey::generate()?;
                let text = format!("{}\n", key.seed().expose_secret());
                let known = if there.is_some() { &mut done.rotated } else { &mut done.made };
                known.push(user);
                write(&path, &text, SEED_MODE, there.is_some())?;
                key
            }
        };
        public.insert(user, key.public().to_owned());
    }
    let server = folder.join(SERVER);
    folder_with(&server, SERVER_FOLDER_MODE)?;
    let (path, text) = (server.join(USERS), access::render(&public));
    done.told = !fs::read_to_string(&path).is_ok_and(|there| there == text);
    if done.told {
        write(&path, &text, USERS_MODE, true)?;
    }
    Ok(done)
}

/// A folder that is there keeps its mode: it is somebody else's choice.
fn folder_with(path: &Path, mode: u32) -> anyhow::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is no folder: expected one, or nothing yet", path.display())
        }
        made => made.with_context(|| format!("{} cannot be made", path.display())),
    }
}

/// `None` when there is none.
fn read_seed(path: &Path) -> anyhow::Result<Option<Nkey>> {
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > SEED_MAX_BYTES => bail!("{} is too long for a key", path.display()),
        Ok(_) => fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?,
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let key = text.parse();
    let advice = || format!("{} holds no key; remove it to have one made", path.display());
    key.map(Some).with_context(advice)
}

/// Writes a file as a whole or not at all. Unless it may be `replaced`, what somebody else has written there at
/// the same moment stays.
fn write(path: &Path, text: &str, mode: u32, replaced: bool) -> anyhow::Result<()> {
    let beside = beside(path);
    // What an interrupted run left: in a container each has the same process id.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("{} cannot be removed", beside.display()));
    }
    let written = write_beside(&beside, text, mode)
        .and_then(|()| if replaced { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) });
    // After a rename it is not there; and what is left over is in nobody's way.
    let _ = fs::remove_file(&beside);
    written.and_then(|()| sync(path)).with_context(|| format!("{} cannot be written", path.display()))
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", std::process::id()))
}

fn write_beside(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The mode that was asked for goes through the mask of the process.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The name is on the disk once its folder is.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

impl Done {
    fn json(&self, folder: &Path) -> Value {
        let names = |users: &[User]| users.iter().map(|user| user.name()).collect::<Vec<_>>();
        let wrote = self.told.then(|| folder.join(SERVER).join(USERS));
        json!({ "made": names(&self.made), "rotated": names(&self.rotated), "wrote": wrote })
    }

    fn render(&self, folder: &Path) -> String {
        let names = |users: &[User]| users.iter().map(|user| user.name()).collect::<Vec<_>>().join(", ");
        let mut text = String::new();
        if !self.made.is_empty() {
            text += &format!("made keys in {}: {}\n", folder.display(), names(&self.made));
        }
        if !self.rotated.is_empty() {
            text += &format!("made new keys for {}: start them again\n", names(&self.rotated));
        }
        if self.told {
            let path = folder.join(SERVER).join(USERS);
            text += &format!("wrote {}: have a NATS that runs read it again (SIGHUP)\n", path.display());
        }
        if text.is_empty() {
            text += &format!("{} holds a key for each user; nothing to do\n", folder.display());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("keys");
        let done = make(&folder, &[]).unwrap();
        assert_eq!((done.made.as_slice(), done.told), (User::ALL.as_slice(), true));
        let seed = |user: User| fs::read_to_string(folder.join(user.name()).join(SEED)).unwrap();
        let first = User::ALL.map(seed);
        for user in User::ALL {
            assert_eq!(mode(&folder.join(user.name())), 0o700);
            assert_eq!(mode(&folder.join(user.name()).join(SEED)), 0o400);
            assert_eq!(fs::read_dir(folder.join(user.name())).unwrap().count(), 1);
        }
        let users = fs::read_to_string(folder.join("nats/users.conf")).unwrap();
        assert_eq!(mode(&folder.join("nats/users.conf")), 0o444);
        assert_eq!(mode(&folder.join("nats")), 0o755);
        for seed in &first {
            assert!(!users.contains(seed.trim()) && users.contains(seed.parse::<Nkey>().unwrap().public()));
        }

        assert_eq!(make(&folder, &[]).unwrap(), Done::default());
        assert_eq!(User::ALL.map(seed), first);
        assert_eq!(fs::read_to_string(folder.join("nats/users.conf")).unwrap(), users);
    }

    #[test]
    fn one_key_is_made_anew_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &[]).unwrap();
        let seed = |user: User| fs::read_to_string(folder.path().join(user.name()).join(SEED)).unwrap();
        let before = User::ALL.map(seed);
        let done = make(folder.path(), &[User::Deployer]).unwrap();
        assert_eq!(
            (done.rotated.as_slice(), done.made.len(), done.told),
            ([User::Deployer].as_slice(), 0, true)
        );
        for (user, before) in User::ALL.into_iter().zip(before) {
            assert_eq!(seed(user) == before, user != User::Deployer, "{user}");
        }
        assert_eq!(mode(&folder.path().join("deployer/nats.nk")), 0o400);
    }

    #[test]
    fn what_the_server_is_told_is_mended_and_a_file_that_is_no_key_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &[]).unwrap();
        let users = folder.path().join("nats/users.conf");
        let right = fs::read_to_string(&users).unwrap();
        fs::remove_file(&users).unwrap();
        fs::write(&users, "of another version").unwrap();
        let done = make(folder.path(), &[]).unwrap();
        assert_eq!(done, Done { told: true, ..Done::default() });
        assert_eq!(fs::read_to_string(&users).unwrap(), right);

        let seed = folder.path().join("backup/nats.nk");
        fs::remove_file(&seed).unwrap();
        fs::write(&seed, "mine").unwrap();
        let error = format!("{:#}", make(folder.path(), &[]).unwrap_err());
        assert!(error.contains("backup/nats.nk holds no key"), "{error}");
        assert_eq!(fs::read_to_string(&seed).unwrap(), "mine");
    }

    #[test]
    fn what_an_interrupted_run_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("backup");
        fs::create_dir(&own).unwrap();
        fs::write(beside(&own.join(SEED)), "half").unwrap();
        make(folder.path(), &[]).unwrap();
        assert_eq!(fs::read_dir(own).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", make(&folder.path().join("no/such"), &[]).unwrap_err());
        assert!(error.contains("no/such cannot be made"), "{error}");
    }
}
