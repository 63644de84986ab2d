//! Orders to the services that operate the bot, and how they go, told to whoever gave them.
//!
//! | module | owns |
//! |---|---|
//! | this one | the page of all workers, in the bucket `lease` |
//! | `page` | what is on it, and how it changes |
//! | `ask` | what `deployer` and `backup` are asked |
//! | `give` | an order, from a person to the service |
//! | `stand` | how an order stands, by what the service says |
//! | `follow` | looking again and again, and telling the person |
//!
//! A deploy replaces the workers themselves. So what is followed is on a page that all workers watch, and one of them at
//! a time follows it; when that one goes, another takes over within seconds. What is told at the end is on the page
//! before it is told, and has an id of its own, so that it is told once however many workers die of it.

mod ask;
mod follow;
mod give;
mod page;
mod stand;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bus::{Bucket, BucketError};
use protocol::{Outcome, OutcomeBody};
use tracing::warn;

pub use ask::{backups, deploys};
pub use follow::follow;
use page::Page;

/// The key of the page.
const KEY: &str = "followed";
/// How often a change is tried when other workers change the page at the same moment.
const TRIES: usize = 8;

/// The page, as this worker knows it.
#[derive(Debug)]
pub struct Jobs {
    bucket: Bucket,
    seen: Mutex<Page>,
}

impl Jobs {
    /// `bucket` is the one of leases: what goes on now, and is in no backup.
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, seen: Mutex::default() }
    }

    /// Learns the message that shows how an order goes, and that it cannot be changed any more.
    pub async fn hear(&self, outcome: &Outcome) {
        let action = &outcome.action;
        let noted = match &outcome.body {
            OutcomeBody::Sent { message: Some(message), .. } if self.seen().awaits(action) => {
                self.change(|page| page.found(action, message)).await
            }
            OutcomeBody::Dropped { reason, .. } if self.seen().changes_by(action) => {
                self.change(|page| page.lost(action, *reason)).await
            }
            _ => return,
        };
        if let Err(error) = noted {
            warn!(%action, error = service::chain(&error), "what became of its message is not noted");
        }
    }

    /// Changes the page, also when others do at the same time.
    async fn change<T>(&self, change: impl Fn(&mut Page) -> T) -> Result<T, BucketError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let (mut page, revision) = self.read().await?;
            let before = page.clone();
            let answer = change(&mut page);
            if page == before {
                return Ok(answer);
            }
            match self.write(page, revision).await {
                Err(BucketError::Changed { .. }) if tries > 0 => {}
                outcome => return outcome.map(|()| answer),
            }
        }
    }

    async fn read(&self) -> Result<(Page, u64), BucketError> {
        match self.bucket.entry::<Page>(KEY).await {
            Ok(entry) => Ok(entry.map_or_else(Default::default, |entry| (entry.value, entry.revision))),
            Err(BucketError::Shape { key, source }) => {
                warn!(key, error = %source, "written by another version; replaced");
                let page = Page::default();
                let revision = self.bucket.put(KEY, &page).await?;
                Ok((page, revision))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes it unless somebody else did since `revision`.
    async fn write(&self, page: Page, revision: u64) -> Result<(), BucketError> {
        self.bucket.put_if(KEY, &page, revision).await?;
        *self.seen() = page;
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Page> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
