//! Where backups are: a repository of restic, a folder of archives, or both. They hold the same backups, by the
//! same names.

mod archive;
mod complaint;
mod keep;
mod restic;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tracing::{info, warn};

pub use self::archive::{TIME, is_stored};
use self::{archive::Archives, complaint::ResticError, restic::Restic};
use crate::{
    config::Config,
    desk::Progress,
    kept::{Kept, Known},
    manifest::{Manifest, Part},
    trouble::{Trouble, While as _, aside},
};

/// How much of the repository is read by `verify`, in percent, taken at random.
const READ_PERCENT: u8 = 5;

/// Both, or one.
#[derive(Clone, Debug)]
pub struct Stores {
    restic: Option<Restic>,
    archives: Option<Archives>,
}

impl Stores {
    /// Those of the settings; `None` when there are none.
    pub fn new(config: &Config) -> Option<Self> {
        let restic = Restic::new(config);
        let archives = config.export.clone().map(Archives);
        (restic.is_some() || archives.is_some()).then_some(Self { restic, archives })
    }

    /// Makes sure that they can be used; gives the repository's own name.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn open(&self, kept: &Kept) -> Result<Option<String>, Trouble> {
        let Some(restic) = &self.restic else { return Ok(None) };
        restic.open(kept.repository.as_deref()).await.map(Some).during("opening the repository")
    }

    /// Removes what was not stored to its end.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn clear_unfinished(&self) -> Result<(), Trouble> {
        match &self.restic {
            Some(restic) => restic.clear_unfinished().await.during("removing what was not stored to its end"),
            None => Ok(()),
        }
    }

    /// Every backup, the oldest first, with what was known of them before.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn list(&self, before: &[Known]) -> Result<Vec<Known>, Trouble> {
        let mut all: BTreeMap<(u64, String), Known> = BTreeMap::new();
        let mut found = Vec::new();
        if let Some(restic) = &self.restic {
            found.extend(restic.list().await.during("listing the repository")?);
        }
        if let Some(archives) = self.archives.clone() {
            let expected = before.iter().any(|known| known.archive.is_some());
            found.extend(aside(move || archives.list(expected).during("listing the archives")).await?);
        }
        for one in found {
            let there = all.entry((one.number, one.id.clone())).or_default();
            let merged = Known {
                bytes: one.bytes.or(there.bytes),
                parts: if one.parts.is_empty() { there.parts.clone() } else { one.parts },
                snapshot: one.snapshot.or_else(|| there.snapshot.clone()),
                archive: one.archive.or_else(|| there.archive.clone()),
                id: one.id,
                number: one.number,
                at_ms: one.at_ms,
                proved_ms: None,
            };
            *there = merged;
        }
        for one in all.values_mut() {
            if let Some(known) =
                before.iter().find(|known| (known.number, &known.id) == (one.number, &one.id))
            {
                one.proved_ms = known.proved_ms;
                one.bytes = known.bytes.or(one.bytes);
                one.at_ms = known.at_ms;
                if one.parts.is_empty() {
                    one.parts.clone_from(&known.parts);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// Stores what is gathered.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn save(
        &self,
        config: &Config,
        stage: &Path,
        backup: &mut Known,
        progress: &Progress,
    ) -> Result<(), Trouble> {
        if let Some(restic) = &self.restic {
            progress.step("repository");
            let saved = restic.save(stage, &config.folders, backup, progress).await;
            if let Err(ResticError::Full(_)) = &saved {
                // What was stored of this one, and what no backup needs any more, takes the room of the next try.
                if let Err(error) = restic.prune().await {
                    warn!(error = service::chain(&error), "no room was given back");
                }
            }
            backup.bytes = Some(saved.during("storing it in the repository")?);
        }
        if let Some(archives) = self.archives.clone() {
            progress.step("archive");
            let (stage, folders, known) = (stage.to_owned(), config.folders.clone(), backup.clone());
            let saved = move || archives.save(&stage, &folders, &known).during("writing the archive");
            let (name, bytes) = aside(saved).await?;
            (backup.archive, backup.bytes) = (Some(name), backup.bytes.or(Some(bytes)));
        }
        Ok(())
    }

    /// How many bytes a backup takes where it is restored: an archive holds fewer.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn size_of(&self, backup: &Known) -> Result<u64, Trouble> {
        let doing = format!("looking how large {} is", backup.id);
        match (&self.restic, &backup.snapshot, &self.archives, &backup.archive) {
            (Some(restic), Some(snapshot), ..) => restic.size_of(snapshot).await.during(doing),
            (_, _, Some(archives), Some(name)) => {
                let (archives, name) = (archives.clone(), name.clone());
                aside(move || archives.size_of(&name).during(doing)).await
            }
            _ => Err(nowhere(backup)),
        }
    }

    /// Restores a backup into `target`, which is empty, with its folders below `folders/`.
    ///
    /// # Errors
    /// [`Trouble`]; then what is there is not whole.
    pub async fn restore(&self, backup: &Known, target: &Path, progress: &Progress) -> Result<(), Trouble> {
        let doing = || format!("restoring {}", backup.id);
        match (&self.restic, &backup.snapshot, &self.archives, &backup.archive) {
            (Some(restic), Some(snapshot), ..) => {
                restic.restore(snapshot, target, progress).await.during(doing())?;
                let target = target.to_owned();
                aside(move || gather_folders(&target)).await
            }
            (_, _, Some(archives), Some(name)) => {
                let (archives, name, target) = (archives.clone(), name.clone(), target.to_owned());
                let doing = doing();
                aside(move || archives.restore(&name, &target).during(doing)).await
            }
            _ => Err(nowhere(backup)),
        }
    }

    /// Looks whether the repository is whole as far as that is known without reading what it holds. (What is written
    /// into an archive is read again at once.)
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn check(&self, progress: &Progress) -> Result<(), Trouble> {
        let Some(restic) = &self.restic else { return Ok(()) };
        progress.step("check");
        restic.check(None).await.during("checking the repository")
    }

    /// Looks whether what is stored is whole: the repository's structure and a part of what it holds, and the
    /// newest archive.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn verify(&self, backups: &[Known], progress: &Progress) -> Result<(), Trouble> {
        if let Some(restic) = &self.restic {
            progress.step("repository");
            restic.check(Some(READ_PERCENT)).await.during("checking the repository")?;
        }
        let newest = backups.iter().rev().find_map(|backup| backup.archive.clone());
        if let (Some(archives), Some(name)) = (self.archives.clone(), newest) {
            progress.step("archive");
            aside(move || archives.check(&name).during(format!("checking {name}"))).await?;
        }
        Ok(())
    }

    /// Removes those that need not be kept; gives the others.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn forget(&self, config: &Config, backups: Vec<Known>) -> Result<Vec<Known>, Trouble> {
        let going = keep::going(&backups, config.keep);
        let (going, staying): (Vec<Known>, Vec<Known>) =
            backups.into_iter().partition(|backup| going.contains(&backup.id));
        let snapshots: Vec<String> = going.iter().filter_map(|backup| backup.snapshot.clone()).collect();
        if let Some(restic) = self.restic.as_ref().filter(|_| !snapshots.is_empty()) {
            restic.forget(&snapshots).await.during("removing old backups from the repository")?;
        }
        if let Some(archives) = self.archives.clone() {
            let names: Vec<String> = going.iter().filter_map(|backup| backup.archive.clone()).collect();
            let remove = move || names.iter().try_for_each(|name| archives.remove(name));
            aside(move || remove().during("removing old archives")).await?;
        }
        if !going.is_empty() {
            info!(removed = going.len(), kept = staying.len(), "old backups are removed");
        }
        Ok(staying)
    }

    /// Gives back the room of what was removed.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn prune(&self) -> Result<(), Trouble> {
        match &self.restic {
            Some(restic) => restic.prune().await.during("giving back the room of old backups"),
            None => Ok(()),
        }
    }
}

fn nowhere(backup: &Known) -> Trouble {
    Trouble::Found(format!("{} is in none of the stores that are set now", backup.id))
}

/// The repository has folders at their own paths; here they are by name, as in an archive.
fn gather_folders(target: &Path) -> Result<(), Trouble> {
    let manifest = Manifest::read(target).during("reading what is in the backup")?;
    for part in &manifest.parts {
        let Part::Folder { name, path, .. } = part else { continue };
        let doing = || format!("the folder {name}");
        let stored: PathBuf = path.components().skip(1).collect();
        let to = target.join(Part::FOLDERS).join(name);
        if let Some(above) = to.parent() {
            std::fs::create_dir_all(above).during(doing())?;
        }
        std::fs::rename(target.join(&stored), &to).during(doing())?;
        // What is left of its path is empty.
        let mut above = stored.parent();
        while let Some(folder) = above.filter(|folder| !folder.as_os_str().is_empty()) {
            if std::fs::remove_dir(target.join(folder)).is_err() {
                break;
            }
            above = folder.parent();
        }
    }
    Ok(())
}
