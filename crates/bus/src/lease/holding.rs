//! What a member holds, and what its user wants: passed between the user and the task.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{hash, machine::Standing};

/// What this member holds now.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What it may act on. To be sure at the moment of acting, ask [`Lease::holds`](super::Lease::holds).
    pub owned: BTreeSet<String>,
    /// Of these, what it should finish with and [`release`](super::Lease::release).
    pub asked: BTreeSet<String>,
    /// What it will own soon: prepare, then say [`ready`](super::Lease::ready).
    pub preparing: BTreeSet<String>,
    /// How many members there are, itself included: limits of an account are shared out among them. It
    /// is at least 1.
    pub living: usize,
    /// The instances that are there to stay, itself included. One that is leaving is not among them.
    pub members: BTreeSet<String>,
    /// Whether one of the others that are there to stay can do the work; see [`Lease::set_able`](super::Lease::set_able).
    pub relieved: bool,
    /// Whether its membership cannot be confirmed, so that it may act on nothing. That says nothing about
    /// who will own what: keep connections until it is over, then go by `owned`.
    pub fenced: bool,
    /// Another process with the same instance name took over. This one is out for ever and should end.
    pub replaced: bool,
    pub(super) until: Option<Instant>,
}

impl Holding {
    pub(super) fn fenced() -> Self {
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

/// What passes between the two.
#[derive(Debug)]
pub(crate) struct Shared {
    pub holding: watch::Sender<Holding>,
    pub wishes: watch::Sender<Wishes>,
    pub ended: CancellationToken,
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
