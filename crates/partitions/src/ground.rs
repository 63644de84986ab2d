//! Whether a partition is ours: what is said of all, and what follows for one of them.

use std::{collections::BTreeSet, fmt, sync::Arc};

use protocol::subject::PARTITIONS;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

type Holds = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// Which partitions this process has now.
#[derive(Clone)]
pub struct Owned {
    /// Those that it should work on. One that disappears is released when it is still held, and lost when
    /// it is not; it is over when [`Partitions::busy`](crate::Partitions::busy) does not name it any more.
    pub partitions: watch::Receiver<BTreeSet<u16>>,
    /// Whether nobody else can have a partition at this very moment, by the clock: asked before anything
    /// is begun, because a process that stood still learns too late what it has lost.
    pub holds: Holds,
}

impl Owned {
    /// All partitions, for ever: there is no other process.
    #[must_use]
    pub fn all() -> Self {
        let all = watch::Sender::new((0..PARTITIONS).collect());
        Self { partitions: all.subscribe(), holds: Arc::new(|_| true) }
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("partitions", &*self.partitions.borrow()).finish_non_exhaustive()
    }
}

/// One partition while it is worked on.
#[derive(Clone)]
pub struct Ground {
    /// Which one.
    pub partition: u16,
    holds: Holds,
    /// Nothing should be begun any more.
    pub stop: CancellationToken,
    /// It was lost. Stops too.
    pub lost: CancellationToken,
}

impl Ground {
    pub(crate) fn new(partition: u16, holds: Holds) -> Self {
        let lost = CancellationToken::new();
        Self { partition, holds, stop: lost.child_token(), lost }
    }

    /// Whether nobody else can have it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.lost.is_cancelled() && (self.holds)(self.partition)
    }

    /// It comes to its end, in the way that is still open.
    pub(crate) fn end(&self) {
        if self.is_ours() {
            self.stop.cancel();
        } else {
            self.lost.cancel();
        }
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("partition", &self.partition).finish_non_exhaustive()
    }
}
