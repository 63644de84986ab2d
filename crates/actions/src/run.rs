//! All partitions that the gateway has.

use std::sync::Arc;

use bus::{Bus, Lease};
use partitions::{Board, Ground, Owned, Partitions, Recent};
use service::Component;
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

use crate::{act::Act, numbers::Numbers, partition::Partition, shared::Shared};

/// Carries out the actions of a platform.
#[derive(Debug)]
pub struct Actions<A> {
    shared: Arc<Shared<A>>,
    partitions: Partitions,
}

impl<A: Act> Actions<A> {
    /// Actions come by `bus` and are done by `act`; `health` hears whether they can come.
    #[must_use]
    pub fn new(bus: Bus, act: A, numbers: Numbers, health: Component) -> Self {
        let board = Arc::new(Board::new(health));
        let shared = Arc::new(Shared { bus, act, numbers, done: Recent::default(), board: board.clone() });
        Self { shared, partitions: Partitions::new(board) }
    }

    /// The partitions of which something may still be taken or in work.
    #[must_use]
    pub fn busy(&self) -> watch::Receiver<std::collections::BTreeSet<u16>> {
        self.partitions.busy()
    }

    /// Works on the partitions that are owned, until `shutdown`; then leaves them all.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn run(self, owned: Owned, shutdown: CancellationToken) -> Result<(), JoinError> {
        self.partitions.run(owned, shutdown, begin(self.shared)).await
    }

    /// Works on the partitions that `lease` gives, until `shutdown`; then leaves them all. One that
    /// somebody else should have is released once it is idle.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn run_leased(self, lease: Arc<Lease>, shutdown: CancellationToken) -> Result<(), JoinError> {
        self.partitions.run_leased(lease, shutdown, begin(self.shared)).await
    }
}

fn begin<A: Act>(shared: Arc<Shared<A>>) -> impl Fn(Ground) -> futures_util::future::BoxFuture<'static, ()> {
    move |ground| Box::pin(Arc::new(Partition::new(shared.clone(), ground)).run())
}
