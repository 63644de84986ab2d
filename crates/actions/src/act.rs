//! What a platform is asked to do with an action, and what it may ask back.

use std::{future::Future, sync::OnceLock, time::Duration};

use bus::Link;
use partitions::Ground;
use protocol::{Action, Delivery, Platform};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{carried::Carried, held::Held};

/// What a platform does.
pub trait Act: Send + Sync + 'static {
    /// Whose actions they are.
    const PLATFORM: Platform;

    /// Does what an action says, or says why not. Ends soon after [`Errand::until`].
    fn act(&self, action: &Action, errand: &Errand<'_>) -> impl Future<Output = Carried> + Send;
}

/// One action on its way: what a platform may know of it, and must ask before it acts.
#[derive(Debug)]
pub struct Errand<'a> {
    held: &'a Held,
    ground: &'a Ground,
    link: watch::Receiver<Link>,
    until: Instant,
    queued: OnceLock<Duration>,
    news: Notify,
}

impl<'a> Errand<'a> {
    pub(crate) fn new(
        held: &'a Held,
        ground: &'a Ground,
        link: watch::Receiver<Link>,
        until: Instant,
    ) -> Self {
        Self { held, ground, link, until, queued: OnceLock::new(), news: Notify::new() }
    }

    /// When it is too late for the action.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// It waits for a limit, for at least so long. That is told once, the first time.
    pub fn queued(&self, wait: Duration) {
        if self.queued.set(wait).is_ok() {
            self.news.notify_one();
        }
    }

    /// Nothing should be begun any more: what only waits ends with [`Carried::Interrupted`].
    pub async fn stopping(&self) {
        self.ground.stop.cancelled().await;
    }

    /// The partition was lost without warning: what may be done twice ends at once, with
    /// [`Carried::Left`].
    pub async fn lost(&self) {
        self.ground.lost.cancelled().await;
    }

    /// To be asked right before the action is done, on a platform that does not know an action again.
    /// What may be done once only does not come again from here on.
    ///
    /// # Errors
    /// How it ended, when it may not be done now.
    pub async fn commit(&self) -> Result<(), Carried> {
        let once = self.held.action.delivery == Delivery::AtMostOnce;
        match (self.held.is_acknowledged(), self.ground.is_ours()) {
            (true, _) => Ok(()),
            (false, false) => Err(Carried::Left),
            (false, true) if once => self.held.claim(self.until, self.ground, self.link.clone()).await,
            (false, true) => Ok(()),
        }
    }

    /// Resolves when it has to wait.
    pub(crate) async fn waits(&self) {
        self.news.notified().await;
    }

    /// How long it had to wait, if it had to.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.queued.get().copied()
    }
}
