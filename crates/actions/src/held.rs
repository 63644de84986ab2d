//! An action that was taken and is not finished, and the claim before what must not happen twice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bus::{Confirmed, Delivery, Link};
use partitions::Ground;
use protocol::{Action, DropReason};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::debug;

use crate::carried::Carried;

/// Between two tries to have an acknowledgement confirmed.
const CONFIRM_PAUSE: Duration = Duration::from_millis(250);

/// An action, held for as long as it is not finished.
#[derive(Debug)]
pub(crate) struct Held {
    /// What to do.
    pub(crate) action: Action,
    /// How it came.
    pub(crate) delivery: Delivery,
    claimed: AtomicBool,
    acknowledged: AtomicBool,
}

impl Held {
    pub(crate) fn new(action: Action, delivery: Delivery) -> Self {
        Self { action, delivery, claimed: AtomicBool::new(false), acknowledged: AtomicBool::new(false) }
    }

    /// Whether it comes to nobody any more.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether NATS was asked to take it off the stream, and did not say that it has: it may come again, or
    /// to nobody any more.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.claimed.load(Ordering::Relaxed) && !self.is_acknowledged()
    }

    /// Takes it off the stream, and has that confirmed, before it is done: a platform that does not know
    /// an action again would do it twice. Who has lost the partition gets no confirmation: its consumer went
    /// with it.
    ///
    /// # Errors
    /// How it ended, when it may not be done.
    pub(crate) async fn claim(
        &self,
        until: Instant,
        ground: &Ground,
        link: watch::Receiver<Link>,
    ) -> Result<(), Carried> {
        loop {
            // What is asked while NATS is away would be heard when it is back, however late.
            let outcome = if *link.borrow() == Link::Up {
                let tried = self.claimed.swap(true, Ordering::Relaxed);
                self.delivery.ack_sync().await.map(|confirmed| (confirmed, tried))
            } else {
                Err("NATS is away".into())
            };
            match outcome {
                Ok((Confirmed::Done, _)) => break,
                // Nobody else can have done that as long as the partition is ours.
                Ok((Confirmed::Gone, true)) if ground.is_ours() => break,
                Ok((Confirmed::Gone, _)) => return Err(Carried::Left),
                Err(_) if !ground.is_ours() => return Err(Carried::Left),
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
        self.acknowledged.store(true, Ordering::Relaxed);
        Ok(())
    }
}
