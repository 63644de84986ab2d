//! Parts that a command has stopped for a while, as a restore does: it holds a file in the data folder locked, with
//! their names in it. They are started again as soon as it lets go of it, which it also does by dying; the bot only once
//! nothing is half restored.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs::{File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

/// Its name in the data folder.
pub(crate) const FILE: &str = "vigie.hold";
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One that is longer was not written by Vigie, in bytes.
const MAX_BYTES: u64 = 16 * 1024;

/// Who may have parts held.
pub(crate) struct Orders {
    command: PathBuf,
    unfinished: Option<PathBuf>,
    bot: BTreeSet<String>,
}

impl Orders {
    /// A command, by its file in this folder; and a restore in place, by what is there until it is done or undone: then
    /// nothing of the bot may run, whatever became of the command.
    pub(crate) fn new(folder: &Path, unfinished: Option<PathBuf>, bot: BTreeSet<String>) -> Self {
        Self { command: folder.join(FILE), unfinished, bot }
    }

    /// Whether there is a restore that is neither done nor undone.
    pub(crate) fn half_restored(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|path| path.exists())
    }

    /// Which parts are held.
    pub(crate) fn look(&self) -> BTreeSet<String> {
        // In this order: a command lets go only after the other is gone.
        let mut held = names(&self.command);
        if self.half_restored() {
            held.extend(self.bot.iter().cloned());
        }
        held
    }

    /// Tells it, for ever.
    pub(crate) async fn follow(&self, held: &watch::Sender<BTreeSet<String>>) -> Infallible {
        loop {
            let now = self.look();
            held.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
            sleep(LOOK_EVERY).await;
        }
    }
}

/// One name a line; nothing when nobody holds it.
fn names(path: &Path) -> BTreeSet<String> {
    let mut text = String::new();
    let Ok(mut file) = File::open(path) else { return BTreeSet::new() };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
        || (&mut file).take(MAX_BYTES).read_to_string(&mut text).is_err()
    {
        return BTreeSet::new();
    }
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_died_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(names(&path).is_empty());
        fs::write(&path, "command-worker-1\ntwitch-gateway\n").unwrap();
        assert!(names(&path).is_empty());
        let holder = File::open(&path).unwrap();
        holder.lock().unwrap();
        assert_eq!(names(&path).into_iter().collect::<Vec<_>>(), ["command-worker-1", "twitch-gateway"]);
        drop(holder);
        assert!(names(&path).is_empty());
    }
}
