//! Which gateways of the account have joined their channels, told to all of them: who leaves a channel to
//! others waits for that. Joining many channels takes a minute, and until then nobody would read them.
//!
//! Each says it once in its life. What it has to read later, because another one died, is read by a
//! second one too.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bus::{Bucket, BucketError, Holding};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::rooms::Rooms;

/// How long one answer of the bucket may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Before a page that was not written is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Who has joined.
type Page = BTreeSet<String>;

/// Keeps the page of an account.
pub struct Roll {
    bucket: Bucket,
    key: String,
    /// Who this gateway is.
    instance: String,
    joined: watch::Sender<Page>,
}

impl Roll {
    /// Takes the name of this gateway off the page: what an earlier process had joined is left. To be
    /// called before others hear of it.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub async fn open(bucket: Bucket, login: &str, instance: &str) -> Result<Self, BucketError> {
        let key = format!("twitch.{login}.joined");
        let roll = Self { bucket, key, instance: instance.to_owned(), joined: watch::Sender::default() };
        while !roll.write(|page| page.remove(instance)).await? {}
        Ok(roll)
    }

    /// Who has joined, and every change of that.
    #[must_use]
    pub fn joined(&self) -> watch::Receiver<Page> {
        self.joined.subscribe()
    }

    /// Tells when all is joined, and hears of others, until `shutdown`. Of those on the page who are not in
    /// `held` any more, nothing is kept.
    ///
    /// # Errors
    /// None: what cannot be written is tried again.
    pub async fn run(
        self,
        rooms: Arc<Rooms>,
        held: watch::Receiver<Holding>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        // It is large, and made once in the life of a service.
        let work = Box::pin(async { tokio::join!(self.tell(&rooms, &held), self.hear()) });
        shutdown.run_until_cancelled(work).await;
        Ok(())
    }

    async fn tell(&self, rooms: &Rooms, held: &watch::Receiver<Holding>) {
        let mut changes = rooms.changes();
        while *rooms.assigned().borrow() == 0 || !rooms.settled() {
            // The sender lives as long as the rooms.
            if changes.changed().await.is_err() {
                return;
            }
        }
        let mut joined = self.joined();
        let has = |joined: &Page| joined.contains(&self.instance);
        // The sender is `self`. A member that was not known to another may be taken off again.
        while joined.wait_for(|joined| !has(joined)).await.is_ok() {
            let members = held.borrow().members.clone();
            let enter = |page: &mut Page| {
                page.retain(|instance| members.contains(instance));
                page.insert(self.instance.clone())
            };
            let entering = async {
                if self.write(enter).await? {
                    // What is heard next may still be older.
                    let _ = joined.wait_for(has).await;
                }
                Ok::<_, BucketError>(())
            };
            match timeout(ANSWER_WITHIN, entering).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "others do not hear yet that all is joined"),
                Err(_elapsed) => debug!("others do not hear yet that all is joined"),
            }
            sleep(AGAIN).await;
        }
    }

    async fn hear(&self) {
        let mut told = self.bucket.watch::<Page>(&self.key);
        loop {
            let page = told.next().await.unwrap_or_default();
            self.joined.send_replace(page);
        }
    }

    /// Changes the page, where `change` says that there is something to write; `false` when somebody else
    /// wrote at the same time.
    async fn write(&self, change: impl FnOnce(&mut Page) -> bool) -> Result<bool, BucketError> {
        let found = self.bucket.entry::<Value>(&self.key).await?;
        let (value, revision) = found.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
        // Something strange there is replaced: everybody enters again.
        let mut page = serde_json::from_value(value).unwrap_or_default();
        if !change(&mut page) {
            return Ok(true);
        }
        match self.bucket.put_if(&self.key, &page, revision).await {
            Ok(_revision) => Ok(true),
            Err(BucketError::Changed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
