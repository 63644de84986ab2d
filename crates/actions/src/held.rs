//! An action that was taken from NATS: whose it is, and what was told NATS about it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Delivery, topology::ACTION_ACK_WAIT};
use protocol::{Action, DropReason};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::act::Carried;

/// What may lie between two clocks, and between NATS and here.
const MARGIN: Duration = Duration::from_secs(2);
/// Between two tries to have an acknowledgement confirmed.
const CONFIRM_PAUSE: Duration = Duration::from_millis(250);

/// An action, held for as long as it is not finished.
#[derive(Debug)]
pub(crate) struct Held {
    /// What to do.
    pub(crate) action: Action,
    /// How it came.
    pub(crate) delivery: Delivery,
    hold: Hold,
    acknowledged: AtomicBool,
}

/// For how long NATS gives a message to nobody else.
#[derive(Debug)]
struct Hold(Mutex<Instant>);

impl Hold {
    /// From then on.
    fn renew(&self, at: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = at.max(*since);
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn lasts(&self) -> bool {
        self.age() + MARGIN < ACTION_ACK_WAIT
    }
}

impl Held {
    pub(crate) fn new(action: Action, delivery: Delivery) -> Self {
        let hold = Hold(Mutex::new(delivery.arrived));
        Self { action, delivery, hold, acknowledged: AtomicBool::new(false) }
    }

    /// The same action came once more. When it is the same message, given to us again, then what NATS is
    /// told of the first delivery counts for both.
    pub(crate) fn came_again(&self, delivery: &Delivery) {
        if delivery.attempt > self.delivery.attempt {
            self.hold.renew(delivery.arrived);
        }
    }

    /// Whether it is certain that NATS has given it to nobody else.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_acknowledged() || self.hold.lasts()
    }

    /// Whether it comes to nobody any more.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether NATS should be told that it is worked on, or waits for that. What may be somebody else's is
    /// not claimed back.
    pub(crate) fn is_to_be_kept(&self) -> bool {
        !self.is_acknowledged() && self.hold.lasts()
    }

    /// NATS has confirmed what it was told then. When that took too long, somebody else may have it.
    pub(crate) fn was_kept(&self, told: Instant) {
        if self.hold.lasts() {
            self.hold.renew(told);
        }
    }

    /// Takes it off the stream, and has that confirmed, before it is done: a platform that does not know
    /// an action again would do it twice. A confirmation alone is no claim: NATS confirms as well what it
    /// has given to somebody else in the meantime.
    ///
    /// # Errors
    /// How it ended, when it may not be done.
    pub(crate) async fn claim(&self, until: Instant) -> Result<(), Carried> {
        loop {
            if !self.hold.lasts() {
                return Err(Carried::Left);
            }
            match self.delivery.ack_sync().await {
                Ok(()) => {
                    self.acknowledged.store(true, Ordering::Relaxed);
                    if self.hold.age() < ACTION_ACK_WAIT {
                        return Ok(());
                    }
                    let detail = "NATS confirmed so late that another gateway may have sent this";
                    return Err(Carried::dropped(DropReason::Uncertain, detail));
                }
                Err(error) if Instant::now() + CONFIRM_PAUSE < until => {
                    debug!(%error, "the acknowledgement was not confirmed; asking again");
                    sleep(CONFIRM_PAUSE).await;
                }
                Err(_) => {
                    let detail = "NATS did not confirm in time that this is sent only once";
                    return Err(Carried::dropped(DropReason::Expired, detail));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_before_nats_gives_the_message_to_another() {
        let hold = Hold(Mutex::new(Instant::now()));
        assert!(hold.lasts());
        tokio::time::advance(ACTION_ACK_WAIT - MARGIN).await;
        assert!(!hold.lasts());
        hold.renew(Instant::now() - MARGIN);
        assert!(hold.lasts());
        hold.renew(Instant::now() - ACTION_ACK_WAIT);
        assert!(hold.lasts(), "an older word does not shorten it");
        tokio::time::advance(ACTION_ACK_WAIT).await;
        assert!(!hold.lasts());
    }
}
