//! An action that was taken from NATS: whose it is, and what was told NATS about it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::topology::ACTION_ACK_WAIT;
use protocol::{Action, Delivery, DropReason};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use tracing::debug;

use crate::send::{Failure, Uncommitted};

/// What may lie between two clocks, and between NATS and here.
const MARGIN: Duration = Duration::from_secs(2);
/// Between two tries to have an acknowledgement confirmed.
const CONFIRM_PAUSE: Duration = Duration::from_millis(250);

/// An action, held for as long as it is not finished.
#[derive(Debug)]
pub struct Taken {
    /// What to do.
    pub action: Action,
    /// How it came.
    pub delivery: bus::Delivery,
    lease: Lease,
    acknowledged: AtomicBool,
    _held: OwnedSemaphorePermit,
}

/// For how long NATS gives a message to nobody else.
#[derive(Debug)]
struct Lease(Mutex<Instant>);

impl Lease {
    /// From then on.
    fn renew(&self, at: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = at.max(*since);
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn holds(&self) -> bool {
        self.age() + MARGIN < ACTION_ACK_WAIT
    }
}

impl Taken {
    /// It came at `arrived`, or a moment later.
    #[must_use]
    pub fn new(
        action: Action,
        delivery: bus::Delivery,
        arrived: Instant,
        held: OwnedSemaphorePermit,
    ) -> Self {
        let lease = Lease(Mutex::new(arrived));
        Self { action, delivery, lease, acknowledged: AtomicBool::new(false), _held: held }
    }

    /// It came again, to us.
    pub fn came_again(&self, arrived: Instant) {
        self.lease.renew(arrived);
    }

    /// Whether it is certain that NATS has given it to nobody else.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_acknowledged() || self.lease.holds()
    }

    /// Whether it comes to nobody any more.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Tells NATS that it is worked on, or waits for that. What may be somebody else's is not claimed back.
    pub async fn still_here(&self) {
        if !self.is_acknowledged() && self.lease.holds() {
            let told = Instant::now();
            self.delivery.in_progress().await;
            self.lease.renew(told);
        }
    }

    /// Chat has no key by which Twitch could know a message again. What must not be said twice is
    /// therefore taken off the stream, and that confirmed, before it is said. A confirmation alone is no
    /// claim: NATS confirms as well what it has given to somebody else in the meantime.
    ///
    /// # Errors
    /// [`Uncommitted`] when it may not be said.
    pub async fn commit(&self, until: Instant) -> Result<(), Uncommitted> {
        if self.action.delivery == Delivery::AtLeastOnce || self.is_acknowledged() {
            return Ok(());
        }
        loop {
            if !self.lease.holds() {
                return Err(Uncommitted::Left);
            }
            match self.delivery.ack_sync().await {
                Ok(()) => {
                    self.acknowledged.store(true, Ordering::Relaxed);
                    if self.lease.age() < ACTION_ACK_WAIT {
                        return Ok(());
                    }
                    let detail = "NATS confirmed so late that another gateway may have sent this";
                    return Err(Uncommitted::Dropped(Failure::new(DropReason::Uncertain, detail)));
                }
                Err(error) if Instant::now() + CONFIRM_PAUSE < until => {
                    debug!(%error, "the acknowledgement was not confirmed; asking again");
                    sleep(CONFIRM_PAUSE).await;
                }
                Err(_) => {
                    let detail = "NATS did not confirm in time that this is sent only once";
                    return Err(Uncommitted::Dropped(Failure::new(DropReason::Expired, detail)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_before_nats_gives_the_message_to_another() {
        let lease = Lease(Mutex::new(Instant::now()));
        assert!(lease.holds());
        tokio::time::advance(ACTION_ACK_WAIT - MARGIN).await;
        assert!(!lease.holds());
        lease.renew(Instant::now() - MARGIN);
        assert!(lease.holds());
        lease.renew(Instant::now() - ACTION_ACK_WAIT);
        assert!(lease.holds(), "an older word does not shorten it");
        tokio::time::advance(ACTION_ACK_WAIT).await;
        assert!(!lease.holds());
    }
}
