//! What the user of a lease says, and asks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    holding::{Holding, Shared, Wishes},
    keys::Keys,
    machine::Machine,
    plan::Handover,
    rules::NAME_MAX,
    task::{Task, admitted},
};
use crate::{bucket::BucketError, connect::Bus, topology::BucketName};

/// Why a group could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A name that cannot be part of a key.
    #[error("{name:?} is no name for {what}: expected 1 to {NAME_MAX} of A-Z a-z 0-9 - _")]
    Name {
        /// The group or the instance.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The bucket is not there.
    #[error("leases are kept in a bucket")]
    Bucket(#[source] BucketError),
}

/// A membership in a group that shares resources. See [`Bus::join`].
///
/// Dropping it is like a crash: the others take over once its key has run out. Say
/// [`leave`](Self::leave) before.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Bus {
    /// Joins `group` as `instance` and shares `resources` with its other members: each belongs to one of
    /// them at a time. Which should own which follows from the names alone (rendezvous hashing), so that
    /// only what must move does when a member comes or goes.
    ///
    /// Two processes may never run with the same `instance` in a group. One that is started again
    /// after its end was seen should have the same: it then takes over at once, where another waits
    /// until the old key has run out (up to 4.3 s after the death; 10.3 s if it was alone).
    ///
    /// `resources` may change; at most 4096 with names of up to 48 bytes are taken. All members should
    /// name the same; what only some want is shared among those.
    ///
    /// # Errors
    /// [`LeaseError`] when a name cannot be used, or before `vigie provision` has run.
    pub async fn join(
        &self,
        group: &str,
        instance: &str,
        resources: watch::Receiver<BTreeMap<String, Handover>>,
    ) -> Result<Lease, LeaseError> {
        check("a group", group)?;
        check("an instance", instance)?;
        let store = self.jetstream.get_key_value(BucketName::Lease.name()).await.map_err(|source| {
            LeaseError::Bucket(BucketError::Missing { bucket: BucketName::Lease.name(), source })
        })?;
        let mut wants = resources;
        let wanted = admitted(&wants.borrow_and_update());
        let shared = Arc::new(Shared {
            holding: watch::Sender::new(Holding::fenced()),
            wishes: watch::Sender::new(Wishes::default()),
            ended: CancellationToken::new(),
        });
        let task = Task {
            machine: Machine::new(instance, wanted, fastrand::u64(..)),
            keys: Keys::new(self.clone(), store, group),
            wishes: shared.wishes.subscribe(),
            shared: shared.clone(),
            wants,
            link: self.link(),
            started: Instant::now(),
            watch: None,
            leave_by: None,
        };
        let span = tracing::info_span!("lease", group, instance);
        let task = tokio::spawn(tracing::Instrument::instrument(task.run(), span));
        Ok(Lease { shared, _task: AbortOnDropHandle::new(task) })
    }
}

impl Lease {
    /// What this member holds, and every change of it.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Holding> {
        self.shared.holding.subscribe()
    }

    /// Whether this member may act on `resource` now, by the clock: ask right before each effect, which
    /// must be over within a second.
    #[must_use]
    pub fn holds(&self, resource: &str) -> bool {
        let holding = self.shared.holding.borrow();
        holding.until.is_some_and(|until| Instant::now() < until) && holding.owned.contains(resource)
    }

    /// Lets go of a resource. The caller has stopped acting on it.
    pub fn release(&self, resource: &str) {
        self.shared.holding.send_if_modified(|holding| {
            holding.asked.remove(resource);
            holding.owned.remove(resource)
        });
        self.shared.wishes.send_modify(|wishes| {
            wishes.release.insert(resource.to_owned());
        });
    }

    /// Says that a resource in `preparing` may come.
    pub fn ready(&self, resource: &str) {
        self.shared.wishes.send_modify(|wishes| {
            wishes.ready.insert(resource.to_owned());
        });
    }

    /// Says whether this member can do the work at all: it cannot reach the platform, say. While it cannot,
    /// others are preferred for everything, and what it has is `asked` for, unless none of them can either.
    pub fn set_able(&self, able: bool) {
        self.shared.wishes.send_modify(|wishes| wishes.able = Some(able));
    }

    /// Begins to leave: the others ask for what is owned, and get each thing as soon as it is released. What
    /// is not released stays, until [`leave`](Self::leave).
    pub fn retire(&self) {
        self.shared.wishes.send_modify(|wishes| wishes.retire = true);
    }

    /// Leaves in order: the others ask for what is owned, and get it as it is released. When nothing is
    /// left, nobody else is there, or `within` is over, the rest is given up. Takes at most 2 s more.
    /// The caller goes on answering `asked` meanwhile.
    pub async fn leave(&self, within: Duration) {
        self.shared.wishes.send_modify(|wishes| wishes.leave = Some(within));
        self.shared.ended.cancelled().await;
    }
}

fn check(what: &'static str, name: &str) -> Result<(), LeaseError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fine) {
        return Ok(());
    }
    Err(LeaseError::Name { what, name: name.to_owned() })
}
