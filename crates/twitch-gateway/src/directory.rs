//! Which id each channel has, told to all gateways of the account. Twitch tells it when a channel is
//! joined, but a gateway has to know what it speaks in before it joins that.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Bucket, BucketError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{config::MAX_CHANNELS, rooms::Rooms};

/// Channels are joined one after the other; so long is waited for more before they are written down, or
/// tried again.
const GATHER: Duration = Duration::from_secs(1);

/// Ids by login.
type Page = BTreeMap<String, String>;

/// Keeps the ids of an account's channels.
pub struct Directory {
    /// Where they are kept.
    pub bucket: Bucket,
    /// The account.
    pub login: String,
    /// Those who want to know.
    pub rooms: Arc<Rooms>,
}

impl Directory {
    /// Reads and writes ids until `shutdown`.
    ///
    /// # Errors
    /// None: what cannot be written is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let key = format!("twitch.{}.channels", self.login);
        let (mut told, mut changes) = (self.bucket.watch::<Page>(&key), self.rooms.changes());
        let mut page = Page::new();
        changes.mark_changed();
        let work = async {
            loop {
                tokio::select! {
                    news = told.next() => {
                        page = news.unwrap_or_default();
                        page.iter().for_each(|(login, id)| self.rooms.set_id(login, id));
                    }
                    Ok(()) = changes.changed() => if self.news(&page).next().is_some() {
                        sleep(GATHER).await;
                        if let Err(error) = self.write(&key).await {
                            debug!(%error, "the ids of channels are not written down yet");
                            changes.mark_changed();
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }

    /// What is known here and not there.
    fn news(&self, page: &Page) -> impl Iterator<Item = (String, String)> {
        let known = self.rooms.list().into_iter().filter_map(|(login, id, _)| Some((login, id?.to_string())));
        known.filter(|(login, id)| page.get(login) != Some(id))
    }

    async fn write(&self, key: &str) -> Result<(), BucketError> {
        let found = self.bucket.entry::<Page>(key).await?;
        let (mut page, revision) = found.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
        let news: Page = self.news(&page).collect();
        if page.len() + news.len() > MAX_CHANNELS {
            page.clear();
        }
        page.extend(news);
        self.bucket.put_if(key, &page, revision).await.map(|_revision| ())
    }
}
