//! What will be written: shown first, and then done whole or not at all. Every file is made beside its
//! place and put there at the end, secrets before the `.env` that names them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use super::{Way, before::Before, env_text::EnvText, talk};
use crate::paint::Paint;

/// Where secrets are kept, below the folder of `.env`.
const SECRETS: &str = "secrets";
/// For its owner alone.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The user of a container is another one than the owner of the file, so that Compose needs it to be
/// readable by all. Nobody else on the machine gets past the folder.
const COMPOSE_MODE: u32 = 0o644;
/// What is never shown.
const HIDDEN: [&str; 3] = ["DISCORD_TOKEN", "TWITCH_OAUTH_TOKEN", "TWITCH_CLIENT_SECRET"];
/// Copies of earlier files that are kept; a folder with more needs a look by its owner.
const MAX_COPIES: u32 = 99;

/// What is to become of a setting.
enum Value {
    Plain(String),
    Secret(SecretString),
    Off,
}

/// Changes to a folder.
pub(super) struct Plan<'a> {
    before: &'a Before,
    folder: PathBuf,
    way: Way,
    text: EnvText,
    /// What changes in `.env`: the line before, empty for none, and after, without secrets.
    lines: Vec<(String, String)>,
    /// Names and contents of files below [`SECRETS`].
    secrets: Vec<(String, SecretString)>,
    /// Whether something that had a value gets another one.
    pub replaces: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(before: &'a Before, folder: &Path, way: Way) -> Self {
        let text = before.text.clone().unwrap_or_else(EnvText::example);
        let folder = folder.to_path_buf();
        Self { before, folder, way, text, lines: Vec::new(), secrets: Vec::new(), replaces: false }
    }

    /// A setting that everybody may see. One that has its default and is not set stays so.
    pub(super) fn set(&mut self, name: &str, value: &str, default: &str) {
        let before = self.before.value(name);
        if before.unwrap_or(default) != value {
            self.change(name, Value::Plain(value.to_owned()));
        }
    }

    /// A secret, kept in a file of its own.
    pub(super) fn secret(&mut self, name: &str, value: &SecretString) {
        let unchanged = self.before.secret(name).is_some_and(|before| talk::same(&before, value));
        if !unchanged {
            self.change(name, Value::Secret(value.clone()));
            return;
        }
        // One that was made for another way to run may have to be opened or closed.
        let (ours, file) = (self.path_of(name), self.before.file(name));
        let mode = file.as_ref().and_then(|file| fs::metadata(file).ok()).map(|file| file.mode() & 0o777);
        if file == Some(ours) && mode != Some(self.mode()) {
            self.secrets.push((file_name(name), value.clone()));
        }
    }

    /// A setting that no longer has a value.
    pub(super) fn off(&mut self, name: &str) {
        if self.before.value(name).is_some() || self.before.file(name).is_some() {
            self.change(name, Value::Off);
        }
    }

    fn change(&mut self, name: &str, value: Value) {
        let file = format!("{name}_FILE");
        let before = match (self.before.value(&file), self.before.value(name)) {
            (Some(path), _) => format!("{file}={path}"),
            (None, Some(_)) if HIDDEN.contains(&name) => format!("{name}=(hidden)"),
            (None, Some(value)) => format!("{name}={value}"),
            (None, None) => String::new(),
        };
        self.replaces |= !before.is_empty();
        let after = match value {
            Value::Plain(value) => {
                self.text.set(name, &value);
                format!("{name}={value}")
            }
            Value::Secret(secret) => {
                let path = format!("./{SECRETS}/{}", file_name(name));
                self.text.set_file(name, &path);
                self.secrets.push((file_name(name), secret));
                format!("{file}={path}")
            }
            Value::Off => {
                self.text.unset(name);
                format!("{name}=")
            }
        };
        self.lines.push((before, after));
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.before.text.is_some() && self.lines.is_empty() && self.secrets.is_empty()
    }

    /// What will be written, for people.
    pub(super) fn render(&self, paint: Paint) -> String {
        let mut text = String::new();
        let (sign, note) = match self.before.text {
            None => ("+", "new, with every setting explained"),
            Some(_) => ("~", "changed; a copy of the old one stays"),
        };
        if self.before.text.is_none() || !self.lines.is_empty() {
            text += &format!("     {sign} {}\n", row(&self.before.path, note));
        }
        for (before, after) in &self.lines {
            text += &match before.as_str() {
                "" => format!("         {after}\n"),
                // The new value of a secret may lie where the old one did.
                same if same == after => format!("         {after}  {}\n", paint.warn("(another secret)")),
                _ => format!("         {}\n       {} {after}\n", paint.faint(before), paint.warn("→")),
            };
        }
        let note = match self.way {
            Way::Compose => "for you and Vigie's containers alone",
            Way::Up => "for you alone",
        };
        for (name, _) in &self.secrets {
            let path = self.folder.join(SECRETS).join(name);
            let sign = if path.exists() { "~" } else { "+" };
            text += &format!("     {sign} {}\n", row(&path, note));
        }
        text
    }

    /// Does it, whole or not at all; `None` or the copy of the earlier `.env`.
    ///
    /// # Errors
    /// When something cannot be written; then everything is as before.
    pub(super) fn carry_out(&self) -> anyhow::Result<Option<PathBuf>> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("{} cannot be made", self.folder.display()))?;
        let mut staged = Staged::default();
        if !self.secrets.is_empty() {
            staged.folder(&self.folder.join(SECRETS))?;
        }
        for (name, secret) in &self.secrets {
            let text = format!("{}\n", secret.expose_secret());
            staged.file(&self.folder.join(SECRETS).join(name), &text, self.mode())?;
        }
        let mut copy = None;
        if self.before.text.is_none() || !self.lines.is_empty() {
            if self.before.text.is_some() {
                let (place, old) = (free_copy(&self.before.path)?, fs::read_to_string(&self.before.path)?);
                staged.file(&place, &old, FILE_MODE)?;
                copy = Some(place);
            }
            staged.file(&self.before.path, &self.text.render(), FILE_MODE)?;
        }
        staged.finish()?;
        Ok(copy)
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(SECRETS).join(file_name(name))
    }

    fn mode(&self) -> u32 {
        match self.way {
            Way::Compose => COMPOSE_MODE,
            Way::Up => FILE_MODE,
        }
    }
}

/// `DISCORD_TOKEN` lies in `discord_token`.
fn file_name(name: &str) -> String {
    name.to_lowercase()
}

fn row(path: &Path, note: &str) -> String {
    let shown = path.strip_prefix("./").unwrap_or(path).display().to_string();
    // Seen from the working folder it is shorter.
    let here = std::env::current_dir().map(|here| format!("{}/", here.display())).unwrap_or_default();
    let shown = shown.strip_prefix(&here).unwrap_or(&shown);
    format!("{shown:<28}  {note}")
}

/// The first name for a copy that is not taken.
fn free_copy(path: &Path) -> anyhow::Result<PathBuf> {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") });
        PathBuf::from(name)
    };
    match (1..=MAX_COPIES).map(name).find(|path| !path.exists()) {
        Some(path) => Ok(path),
        None => bail!("{} has {MAX_COPIES} copies already: remove some", path.display()),
    }
}

/// Files that wait beside their places. What is not finished is taken away again.
#[derive(Default)]
struct Staged {
    files: Vec<Waiting>,
    made: Option<PathBuf>,
}

/// One file.
struct Waiting {
    /// Where it is until the end.
    path: PathBuf,
    /// Where it belongs.
    place: PathBuf,
    /// Where the one that was there before is kept until the end.
    earlier: Option<PathBuf>,
}

impl Staged {
    /// A folder for the user alone.
    fn folder(&mut self, path: &Path) -> anyhow::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => {
                self.made = Some(path.to_path_buf());
                owned_as_its_folder(path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be made", path.display())),
        }
        fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE))
            .with_context(|| format!("{} cannot be closed to others", path.display()))
    }

    fn file(&mut self, place: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
        let path = beside(place, "new");
        let cannot = || format!("{} cannot be written", place.display());
        clear(&path).with_context(cannot)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .with_context(cannot)?;
        self.files.push(Waiting { path: path.clone(), place: place.to_path_buf(), earlier: None });
        file.write_all(text.as_bytes()).with_context(cannot)?;
        file.set_permissions(fs::Permissions::from_mode(mode)).with_context(cannot)?;
        owned_as_its_folder(&path)?;
        file.sync_all().with_context(cannot)
    }

    /// Puts everything into its place; when one of them cannot be put there, all is as it was before.
    fn finish(mut self) -> anyhow::Result<()> {
        for at in 0..self.files.len() {
            if let Err(error) = self.files[at].put() {
                let place = self.files[at].place.clone();
                self.files[..=at].iter().for_each(Waiting::take_back);
                return Err(error).with_context(|| format!("{} cannot be written", place.display()));
            }
        }
        self.made = None;
        Ok(())
    }
}

impl Waiting {
    fn put(&mut self) -> io::Result<()> {
        if self.place.exists() {
            let earlier = beside(&self.place, "old");
            clear(&earlier)?;
            // Not every file system has hard links.
            fs::hard_link(&self.place, &earlier)
                .or_else(|_| fs::copy(&self.place, &earlier).map(drop))
                .inspect_err(|_| drop(fs::remove_file(&earlier)))?;
            self.earlier = Some(earlier);
        }
        fs::rename(&self.path, &self.place)?;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Nothing more can be done where that fails too; what was there before is then still beside its place.
    fn take_back(&self) {
        let _ = match &self.earlier {
            Some(earlier) => fs::rename(earlier, &self.place),
            // It did not come to its place.
            None if self.path.exists() => Ok(()),
            None => fs::remove_file(&self.place),
        };
    }
}

/// A hidden name in the same folder.
fn beside(place: &Path, what: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{what}-{}", std::process::id()))
}

/// Takes away what an interrupted run left: in a container each has the same process id.
fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Nothing more can be done about what cannot be removed.
        for file in &self.files {
            let _ = fs::remove_file(&file.path);
            if let Some(earlier) = &file.earlier {
                let _ = fs::remove_file(earlier);
            }
        }
        if let Some(folder) = &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// With `sudo`, or in a container, files belong to whoever the folder belongs to, who has to read them.
fn owned_as_its_folder(path: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = fs::metadata(folder)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid()))
        .with_context(|| format!("{} cannot be given to the owner of its folder", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_failure_on_the_way_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let before = Before::read(folder.path()).unwrap();
        let mut plan = Plan::new(&before, folder.path(), Way::Up);
        plan.secret("DISCORD_TOKEN", &SecretString::from("hunter2"));
        // The place of `.env` is taken by a folder with something in it.
        fs::create_dir_all(folder.path().join(".env/x")).unwrap();
        let error = plan.carry_out().unwrap_err().to_string();
        assert!(error.ends_with(".env cannot be written"), "{error}");
        assert_eq!(names(folder.path()), [".env"], "no secret, no folder for it, nothing half-written");
    }

    #[test]
    fn a_secret_that_was_there_comes_back_when_the_rest_cannot_follow() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secrets/discord_token");
        fs::create_dir(folder.path().join("secrets")).unwrap();
        fs::write(&secret, "earlier\n").unwrap();
        let before = Before::read(folder.path()).unwrap();
        let mut plan = Plan::new(&before, folder.path(), Way::Up);
        plan.secret("DISCORD_TOKEN", &SecretString::from("hunter2"));
        fs::create_dir_all(folder.path().join(".env/x")).unwrap();
        plan.carry_out().unwrap_err();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "earlier\n");
        assert_eq!(names(&folder.path().join("secrets")), ["discord_token"]);
    }

    #[test]
    fn what_an_interrupted_run_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        for place in [".env", "secrets/discord_token"] {
            for what in ["new", "old"] {
                fs::write(beside(&folder.path().join(place), what), "half").unwrap();
            }
            fs::write(folder.path().join(place), "").unwrap();
        }
        let before = Before::read(folder.path()).unwrap();
        let mut plan = Plan::new(&before, folder.path(), Way::Up);
        plan.secret("DISCORD_TOKEN", &SecretString::from("hunter2"));
        plan.carry_out().unwrap();
        assert_eq!(names(folder.path()), [".env", ".env.bak", "secrets"]);
        assert_eq!(names(&folder.path().join("secrets")), ["discord_token"]);
    }

    #[test]
    fn a_secret_is_closed_to_others_in_both_ways_to_run() {
        for (way, expected) in [(Way::Up, 0o600), (Way::Compose, 0o644)] {
            let folder = tempfile::tempdir().unwrap();
            let before = Before::read(folder.path()).unwrap();
            let mut plan = Plan::new(&before, folder.path(), way);
            plan.secret("DISCORD_TOKEN", &SecretString::from("hunter2"));
            assert_eq!(plan.carry_out().unwrap(), None);
            let secrets = folder.path().join("secrets");
            assert_eq!((mode(&secrets), mode(&secrets.join("discord_token"))), (0o700, expected));
            assert_eq!(mode(&folder.path().join(".env")), 0o600);
        }
    }

    #[test]
    fn another_way_to_run_changes_who_may_read() {
        let folder = tempfile::tempdir().unwrap();
        for (way, expected) in [(Way::Up, 0o600), (Way::Compose, 0o644), (Way::Up, 0o600)] {
            let before = Before::read(folder.path()).unwrap();
            let mut plan = Plan::new(&before, folder.path(), way);
            plan.secret("DISCORD_TOKEN", &SecretString::from("hunter2"));
            plan.carry_out().unwrap();
            assert_eq!(mode(&folder.path().join("secrets/discord_token")), expected);
        }
        assert_eq!(names(folder.path()), [".env", "secrets"], "the text is the same, so there is no copy");
    }

    #[test]
    fn every_earlier_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        for prefix in ["?", "+", "-"] {
            let before = Before::read(folder.path()).unwrap();
            let mut plan = Plan::new(&before, folder.path(), Way::Up);
            plan.set("PREFIX", prefix, "!");
            plan.carry_out().unwrap();
        }
        assert_eq!(names(folder.path()), [".env", ".env.bak", ".env.bak2"]);
        let first = fs::read_to_string(folder.path().join(".env.bak")).unwrap();
        assert!(first.contains("\nPREFIX='?'\n") || first.contains("\nPREFIX=?\n"));
    }
}
