//! Of several deployers on one data folder one works: the one that holds this file. While one succeeds the other there
//! are two, and the new one waits until the old one is gone.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use tokio::time::sleep;
use tracing::info;

/// Its name in the data folder.
const FILE: &str = "deployer.lock";
/// Between two tries.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The file. Whoever holds it lets go of it by its end, whatever that is.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Opens it in a folder that is there.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(FILE)).map(Self)
    }

    /// Waits until nobody else holds it.
    ///
    /// # Errors
    /// When the disk knows no locks.
    pub async fn hold(&self) -> io::Result<()> {
        let mut said = false;
        loop {
            match self.0.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if said => {}
                Err(TryLockError::WouldBlock) => {
                    info!("another deployer works; this one waits until it ends");
                    said = true;
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::open(folder.path()).unwrap();
        first.hold().await.unwrap();
        let second = Lock::open(folder.path()).unwrap();
        let waiting = tokio::time::timeout(LOOK_PAUSE / 2, second.hold()).await;
        assert!(waiting.is_err());
        drop(first);
        second.hold().await.unwrap();
    }
}
