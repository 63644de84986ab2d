//! Room on disks: made, looked at, given back. All of it elsewhere than on the one thread: to remove a gigabyte of small
//! files takes an SD card minutes.

use std::path::Path;

use tracing::warn;

use crate::{
    files,
    trouble::{Trouble, While as _, aside},
};

/// What must be left on the disk of `BACKUP_DATA` besides what is saved or restored, in bytes: others live on it too.
pub const SPARE: u64 = 64 << 20;

/// An empty folder that nobody else may read, with room for so many bytes.
///
/// # Errors
/// When it cannot be made, or with how many fit.
pub async fn make(folder: &Path, needed: u64) -> Result<(), Trouble> {
    let folder = folder.to_owned();
    aside(move || {
        files::fresh(&folder).during("making room")?;
        enough(&folder, needed)
    })
    .await
}

/// Makes sure that so many bytes fit. It blocks.
///
/// # Errors
/// With how many do.
pub fn enough(folder: &Path, needed: u64) -> Result<(), Trouble> {
    let room = files::room(folder).during("looking at the disk")?;
    if room < needed {
        let (room, needed, folder) = (files::size(room), files::size(needed), folder.display());
        return Err(Trouble::Found(format!("{folder} has room for {room}, and {needed} are needed")));
    }
    Ok(())
}

/// Removes what is of no use any more.
pub async fn give_back(folder: &Path) {
    let place = folder.to_owned();
    if let Err(trouble) = aside(move || files::remove(&place).during("removing it")).await {
        warn!(folder = %folder.display(), error = service::chain(&trouble), "cannot be removed");
    }
}
