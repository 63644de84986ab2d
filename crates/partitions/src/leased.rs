//! Partitions by lease: which of them this process works on, and when it lets go.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use bus::{Holding, Lease};
use protocol::subject::PARTITIONS;
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

use crate::{
    ground::{Ground, Owned},
    run::Partitions,
};

/// The names of all partitions in a lease.
pub fn resources() -> impl Iterator<Item = String> {
    (0..PARTITIONS).map(resource)
}

fn resource(partition: u16) -> String {
    format!("partition-{partition}")
}

impl Partitions {
    /// Works on the partitions that `lease` gives, until `shutdown`; then leaves them all. One that
    /// somebody else should have is released once it is idle.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn run_leased<F>(
        self,
        lease: Arc<Lease>,
        shutdown: CancellationToken,
        begin: impl Fn(Ground) -> F,
    ) -> Result<(), JoinError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (wanted, partitions) = watch::channel(BTreeSet::new());
        let asked = lease.clone();
        let holds = Arc::new(move |partition| asked.holds(&resource(partition)));
        let busy = self.busy();
        tokio::select! {
            outcome = self.run(Owned { partitions, holds }, shutdown, begin) => outcome,
            never = follow(&lease, wanted, busy) => match never {},
        }
    }
}

/// Turns what is held into what is worked on, and releases what is asked for and idle. Never ends.
async fn follow(
    lease: &Lease,
    wanted: watch::Sender<BTreeSet<u16>>,
    mut busy: watch::Receiver<BTreeSet<u16>>,
) -> Infallible {
    let mut held = lease.held();
    loop {
        let (keep, asked) = split(&held.borrow_and_update());
        // First: a partition that is begun is busy before this returns.
        wanted.send_if_modified(|wanted| {
            let changed = *wanted != keep;
            *wanted = keep;
            changed
        });
        let at_work = busy.borrow_and_update().clone();
        for partition in asked.difference(&at_work) {
            lease.release(&resource(*partition));
        }
        tokio::select! {
            changed = held.changed() => if changed.is_err() { std::future::pending().await },
            changed = busy.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

/// The partitions to work on, and those to let go of.
fn split(holding: &Holding) -> (BTreeSet<u16>, BTreeSet<u16>) {
    (0..PARTITIONS)
        .filter(|partition| holding.owned.contains(&resource(*partition)))
        .partition(|partition| !holding.asked.contains(&resource(*partition)))
}
