//! Which partitions are worked on: as many as this process has, while it has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Board,
    ground::{Ground, Owned},
};

/// Partitions at work.
#[derive(Debug)]
pub struct Partitions {
    board: Arc<Board>,
    busy: watch::Sender<BTreeSet<u16>>,
}

impl Partitions {
    /// `board` hears which are begun and left.
    #[must_use]
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, busy: watch::Sender::default() }
    }

    /// The partitions of which something may still be taken or in work. One that is
    /// [owned](Owned::partitions) no more and not in here is idle: somebody else may have it.
    #[must_use]
    pub fn busy(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.busy.subscribe()
    }

    /// Has `begin` work on each partition that is owned, until its ground comes to its end; after
    /// `shutdown` all do. What works on one that comes back begins when what was there before has ended.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn run<F>(
        self,
        mut owned: Owned,
        shutdown: CancellationToken,
        begin: impl Fn(Ground) -> F,
    ) -> Result<(), JoinError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut at_work: BTreeMap<u16, Ground> = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut changes = true;
        loop {
            for ground in self.adjust(&mut owned, &shutdown, &mut at_work) {
                let (partition, work) = (ground.partition, begin(ground));
                running.spawn(async move {
                    work.await;
                    partition
                });
            }
            if shutdown.is_cancelled() && at_work.is_empty() {
                return Ok(());
            }
            tokio::select! {
                changed = owned.partitions.changed(), if changes => changes = changed.is_ok(),
                Some(ended) = running.join_next() => {
                    let partition = ended?;
                    at_work.remove(&partition);
                    self.board.left(partition);
                    self.busy.send_if_modified(|busy| busy.remove(&partition));
                }
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
            }
        }
    }

    /// Ends what is not owned any more; gives what is to be begun.
    fn adjust(
        &self,
        owned: &mut Owned,
        shutdown: &CancellationToken,
        at_work: &mut BTreeMap<u16, Ground>,
    ) -> Vec<Ground> {
        // As long as this is borrowed nobody takes a partition away and finds it idle.
        let wanted = owned.partitions.borrow_and_update();
        for (partition, ground) in &*at_work {
            if shutdown.is_cancelled() || !wanted.contains(partition) {
                ground.end();
            }
        }
        let begun: Vec<Ground> = wanted
            .iter()
            .filter(|partition| !shutdown.is_cancelled() && !at_work.contains_key(partition))
            .map(|partition| Ground::new(*partition, owned.holds.clone()))
            .collect();
        self.busy.send_if_modified(|busy| {
            busy.extend(begun.iter().map(|ground| ground.partition));
            !begun.is_empty()
        });
        for ground in &begun {
            self.board.begun(ground.partition);
            at_work.insert(ground.partition, ground.clone());
        }
        self.board.report();
        begun
    }
}
