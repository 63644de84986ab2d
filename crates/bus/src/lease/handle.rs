//! What the user of a lease sees and says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    hash,
    keys::Keys,
    machine::{Machine, Standing},
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

/// What this member holds now.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What it may act on. To be sure at the moment of acting, ask [`Lease::holds`].
    pub owned: BTreeSet<String>,
    /// Of these, what it should finish with and [`release`](Lease::release).
    pub asked: BTreeSet<String>,
    /// What it will own soon: prepare, then say [`ready`](Lease::ready).
    pub preparing: BTreeSet<String>,
    /// How many members there are, itself included: limits of an account are shared out among them. It
    /// is at least 1.
    pub living: usize,
    /// The instances that are there to stay, itself included. One that is leaving is not among them.
    pub members: BTreeSet<String>,
    /// Whether one of the others that are there to stay can do the work; see [`Lease::set_able`].
    pub relieved: bool,
    /// Whether its membership cannot be confirmed, so that it may act on nothing. That says nothing about
    /// who will own what: keep connections until it is over, then go by `owned`.
    pub fenced: bool,
    /// Another process with the same instance name took over. This one is out for ever and should end.
    pub replaced: bool,
    until: Option<Instant>,
}

impl Holding {
    fn fenced() -> Self {
        Self {
            owned: BTreeSet::new(),
            asked: BTreeSet::new(),
            preparing: BTreeSet::new(),
            living: 1,
            members: BTreeSet::new(),
            relieved: false,
            fenced: true,
            replaced: false,
            until: None,
        }
    }

    /// The `count` members that rank highest for something that several may do at once, the first first.
    /// All members agree as soon as they have heard of each other; only what must move does when one
    /// comes or goes. `resource` need not be one that is owned.
    #[must_use]
    pub fn ranked(&self, resource: &str, count: usize) -> Vec<&str> {
        hash::ranked(resource, self.members.iter().map(String::as_str), count)
    }
}

/// What the user said that the task has not heard yet.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub release: BTreeSet<String>,
    pub ready: BTreeSet<String>,
    pub able: Option<bool>,
    pub retire: bool,
    pub leave: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    holding: watch::Sender<Holding>,
    wishes: watch::Sender<Wishes>,
    ended: CancellationToken,
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

impl Shared {
    pub fn holding(&self) -> watch::Ref<'_, Holding> {
        self.holding.borrow()
    }

    pub fn take_wishes(&self) -> Wishes {
        let mut taken = Wishes::default();
        self.wishes.send_if_modified(|wishes| {
            taken = std::mem::take(wishes);
            false
        });
        taken
    }

    /// Tells what is held; `true` when the fence went up or down.
    pub fn publish(&self, standing: Standing, started: Instant) -> bool {
        let mut turned = false;
        self.holding.send_if_modified(|holding| {
            let Standing { owned, asked, preparing, living, members, relieved, until } = standing;
            let fenced = until.is_none();
            turned = fenced != holding.fenced;
            let changed = turned
                || owned != holding.owned
                || asked != holding.asked
                || preparing != holding.preparing
                || living != holding.living
                || relieved != holding.relieved
                || members != holding.members;
            let until = until.map(|until| started + until);
            let replaced = holding.replaced;
            *holding =
                Holding { owned, asked, preparing, living, members, relieved, fenced, until, replaced };
            changed
        });
        turned
    }

    /// Clears what is held at the very moment when it is not confirmed any more, whatever else hangs.
    /// Never ends.
    pub async fn fence_in_time(&self) {
        let mut holding = self.holding.subscribe();
        loop {
            let until = holding.borrow_and_update().until;
            match until {
                Some(until) => tokio::select! {
                    () = sleep_until(until) => self.fence(),
                    _ = holding.changed() => {}
                },
                None => {
                    // The sender is `self`, so it cannot be gone.
                    let _ = holding.changed().await;
                }
            }
        }
    }

    fn fence(&self) {
        let fenced = self.holding.send_if_modified(|holding| {
            let over = holding.until.is_some_and(|until| Instant::now() >= until);
            if over {
                *holding = Holding {
                    living: holding.living,
                    members: std::mem::take(&mut holding.members),
                    relieved: holding.relieved,
                    replaced: holding.replaced,
                    ..Holding::fenced()
                };
            }
            over
        });
        if fenced {
            tracing::warn!("leases were not confirmed in time: acting on nothing until they are");
        }
    }

    pub fn end(&self, replaced: bool) {
        self.holding.send_replace(Holding { replaced, ..Holding::fenced() });
        self.ended.cancel();
    }
}

fn check(what: &'static str, name: &str) -> Result<(), LeaseError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fine) {
        return Ok(());
    }
    Err(LeaseError::Name { what, name: name.to_owned() })
}
