//! Which partitions are worked on: as many as the gateway has, while it has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use bus::Bus;
use service::Component;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    act::Act,
    done::Done,
    numbers::Numbers,
    owned::{Ground, Owned},
    partition::Partition,
};

/// Carries out the actions of a platform.
pub struct Actions<A> {
    shared: Arc<Shared<A>>,
    busy: watch::Sender<BTreeSet<u16>>,
}

/// What all partitions need.
pub(crate) struct Shared<A> {
    pub(crate) bus: Bus,
    pub(crate) act: A,
    pub(crate) numbers: Numbers,
    pub(crate) done: Done,
    pub(crate) board: Board,
}

/// Which partitions are attached, and why the others are not.
pub(crate) struct Board {
    health: Component,
    partitions: Mutex<BTreeMap<u16, Option<String>>>,
}

impl<A: Act> Actions<A> {
    /// Actions come by `bus` and are done by `act`; `health` hears whether they can come.
    #[must_use]
    pub fn new(bus: Bus, act: A, numbers: Numbers, health: Component) -> Self {
        let board = Board { health, partitions: Mutex::default() };
        let shared = Arc::new(Shared { bus, act, numbers, done: Done::default(), board });
        Self { shared, busy: watch::Sender::default() }
    }

    /// The partitions of which something may still be taken or in work. One that is
    /// [owned](Owned::partitions) no more and not in here is idle: somebody else may have it.
    #[must_use]
    pub fn busy(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.busy.subscribe()
    }

    /// Works on the partitions that are owned, until `shutdown`; then leaves them all.
    ///
    /// # Errors
    /// When a part of this panicked.
    pub async fn run(self, mut owned: Owned, shutdown: CancellationToken) -> Result<(), JoinError> {
        let mut at_work: BTreeMap<u16, Arc<Partition<A>>> = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut changes = true;
        loop {
            for partition in self.adjust(&mut owned, &shutdown, &mut at_work) {
                let number = partition.ground.partition;
                running.spawn(async move {
                    partition.run().await;
                    number
                });
            }
            if shutdown.is_cancelled() && at_work.is_empty() {
                return Ok(());
            }
            tokio::select! {
                changed = owned.partitions.changed(), if changes => changes = changed.is_ok(),
                Some(ended) = running.join_next() => {
                    let number = ended?;
                    at_work.remove(&number);
                    self.shared.board.left(number);
                    self.busy.send_if_modified(|busy| busy.remove(&number));
                }
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
            }
        }
    }

    /// Ends what is not owned any more; gives what is to be begun. A partition that comes back while it is
    /// being left is begun once that is over.
    fn adjust(
        &self,
        owned: &mut Owned,
        shutdown: &CancellationToken,
        at_work: &mut BTreeMap<u16, Arc<Partition<A>>>,
    ) -> Vec<Arc<Partition<A>>> {
        // As long as this is borrowed nobody takes a partition away and finds it idle.
        let wanted = owned.partitions.borrow_and_update();
        let mut begun = Vec::new();
        for (number, partition) in &*at_work {
            if shutdown.is_cancelled() || !wanted.contains(number) {
                partition.ground.end();
            }
        }
        if !shutdown.is_cancelled() {
            for number in wanted.iter().filter(|number| !at_work.contains_key(number)) {
                let ground = Ground::new(*number, owned.holds.clone());
                begun.push(Arc::new(Partition::new(self.shared.clone(), ground)));
            }
        }
        self.busy.send_if_modified(|busy| {
            busy.extend(begun.iter().map(|partition| partition.ground.partition));
            !begun.is_empty()
        });
        at_work.extend(begun.iter().map(|partition| (partition.ground.partition, partition.clone())));
        for partition in &begun {
            self.shared.board.detached(partition.ground.partition, "starting".to_owned());
        }
        self.shared.board.report();
        begun
    }
}

impl Board {
    pub(crate) fn attached(&self, partition: u16) {
        self.lock().insert(partition, None);
        self.report();
    }

    pub(crate) fn detached(&self, partition: u16, why: String) {
        self.lock().insert(partition, Some(why));
        self.report();
    }

    fn left(&self, partition: u16) {
        self.lock().remove(&partition);
    }

    fn report(&self) {
        let partitions = self.lock();
        match partitions.values().flatten().next() {
            None => self.health.up(),
            Some(why) => self.health.down(format!("not all partitions are attached: {why}")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Option<String>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> std::fmt::Debug for Actions<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actions").field("busy", &*self.busy.borrow()).finish_non_exhaustive()
    }
}
