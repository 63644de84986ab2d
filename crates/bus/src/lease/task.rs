//! The task behind a lease: does what the machine says, and tells it what happened.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::kv;
use futures_util::FutureExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    holding::{Shared, Wishes},
    keys::{self, Change, Keys},
    machine::{Do, Machine, Time},
    plan::Handover,
    rules::{RESOURCE_NAME_MAX, RESOURCES_MAX},
};
use crate::connect::Link;

/// How long a member that leaves tries to say so; then its key runs out by itself.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
/// Entries of the watch that are taken before the machine is asked again.
const ENTRIES_AT_ONCE: usize = 256;

pub(crate) type Wants = BTreeMap<String, Handover>;

pub(crate) struct Task {
    pub machine: Machine,
    pub keys: Keys,
    pub shared: Arc<Shared>,
    pub wants: watch::Receiver<Wants>,
    pub wishes: watch::Receiver<Wishes>,
    pub link: watch::Receiver<Link>,
    pub started: Instant,
    pub watch: Option<kv::Watch>,
    /// When a member that leaves waits no longer, and when it gives up.
    pub leave_by: Option<Instant>,
}

impl Task {
    /// Runs until the member has left or was replaced.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        tokio::select! {
            () = self.work() => {}
            () = shared.fence_in_time() => {}
        }
        if self.machine.replaced() {
            error!("another process with the same name took over: two may not share an instance name");
        }
        shared.end(self.machine.replaced());
    }

    async fn work(&mut self) {
        loop {
            self.act().await;
            self.publish();
            if self.machine.ended() || self.gave_up() {
                return;
            }
            self.wait().await;
            self.leave_if_done();
        }
    }

    /// While the link is down nothing is asked: it would only pile up.
    async fn act(&mut self) {
        while *self.link.borrow() == Link::Up {
            let now = self.now();
            let Some(step) = self.machine.next(now) else { break };
            self.perform(step).await;
            self.publish();
        }
    }

    async fn perform(&mut self, step: Do) {
        let Self { machine, keys, .. } = self;
        let started = self.started;
        let now = || started.elapsed();
        match step {
            Do::Examine { instance, suspects } => {
                let found = keys.read_member(&instance).await;
                machine.examined(&instance, suspects, found, now());
            }
            Do::Renew { presence, expected } => {
                let outcome = keys.renew(&presence, expected).await;
                machine.renewed(outcome, now());
            }
            Do::Evict { instance, expected } => {
                warn!(instance, "its key outlived its time; removing it");
                let outcome = keys.remove(&instance, expected).await;
                machine.evicted(&instance, outcome, now());
            }
            Do::Leave { expected } => {
                let outcome = keys.remove(machine.instance(), expected).await;
                machine.departed(outcome, now());
            }
            Do::ReadTable => {
                let found = keys.read_table().await;
                machine.table_read(found, now());
            }
            Do::WriteTable { table, expected } => {
                let outcome = keys.write_table(&table, expected).await;
                machine.table_written(table, outcome, now());
            }
            Do::Watch => {
                self.watch = keys.watch().await;
                machine.watch_opened(self.watch.is_some(), now());
            }
        }
    }

    async fn wait(&mut self) {
        let wake = self.started + self.machine.wake();
        let link_up = *self.link.borrow() == Link::Up;
        let leave_by = self.leave_by;
        tokio::select! {
            entry = keys::next(&mut self.watch) => self.take(entry),
            Ok(()) = self.wishes.changed() => self.hear(),
            Ok(()) = self.wants.changed() => {
                let wants = admitted(&self.wants.borrow_and_update());
                let now = self.now();
                self.machine.want(wants, now);
            }
            Ok(()) = self.link.changed() => {
                let now = self.now();
                if *self.link.borrow_and_update() == Link::Up {
                    self.machine.reconnected(now);
                }
            }
            () = sleep_until(wake), if link_up => {}
            () = sleep_until(leave_by.unwrap_or(wake)), if leave_by.is_some() => {}
        }
    }

    /// Feeds the machine an entry and all that wait behind it.
    fn take(&mut self, first: Option<kv::Entry>) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(entry) = next {
            let Some(entry) = entry else {
                self.watch = None;
                self.machine.watch_lost();
                return;
            };
            let now = self.now();
            match self.keys.change(&entry) {
                Change::Member { instance, revision, value } => {
                    self.machine.saw_member(&instance, revision, value, now);
                }
                Change::Table { revision, value } => self.machine.saw_table(revision, value),
                Change::Other => {}
            }
            if entry.seen_current {
                self.machine.caught_up();
            }
            taken += 1;
            next = if taken < ENTRIES_AT_ONCE { keys::next(&mut self.watch).now_or_never() } else { None };
        }
    }

    fn hear(&mut self) {
        let wishes = self.shared.take_wishes();
        self.wishes.mark_unchanged();
        for resource in wishes.ready {
            self.machine.ready(&resource);
        }
        for resource in wishes.release {
            self.machine.release(&resource);
        }
        let now = self.now();
        if let Some(able) = wishes.able {
            self.machine.set_able(able, now);
        }
        if wishes.retire {
            self.machine.retire(now);
        }
        if let (Some(within), None) = (wishes.leave, self.leave_by) {
            self.leave_by = Some(Instant::now() + within);
            self.machine.retire(now);
        }
    }

    fn leave_if_done(&mut self) {
        let Some(by) = self.leave_by else { return };
        if Instant::now() >= by || self.machine.handed_over(self.now()) {
            if !self.machine.is_finishing() {
                self.leave_by = Some(Instant::now() + FINISH_LIMIT);
            }
            self.machine.finish();
        }
    }

    fn gave_up(&self) -> bool {
        self.machine.is_finishing() && self.leave_by.is_some_and(|by| Instant::now() >= by)
    }

    fn publish(&self) {
        let standing = self.machine.standing(self.now());
        let turned = self.shared.publish(standing, self.started);
        if turned && !self.machine.ended() {
            let holding = self.shared.holding();
            let (owned, living) = (holding.owned.len(), holding.living);
            if holding.fenced {
                warn!("leases cannot be confirmed: acting on nothing until they are");
            } else {
                info!(owned, living, "leases are confirmed");
            }
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }
}

/// What fits into the table.
pub(crate) fn admitted(wants: &Wants) -> Wants {
    let fits = |resource: &&String| !resource.is_empty() && resource.len() <= RESOURCE_NAME_MAX;
    let (fitting, others): (Vec<_>, Vec<_>) = wants.keys().partition(fits);
    if let Some(first) = others.first() {
        warn!(first, limit = RESOURCE_NAME_MAX, "names of resources that are empty or too long are left out");
    }
    if fitting.len() > RESOURCES_MAX {
        warn!(
            limit = RESOURCES_MAX,
            count = fitting.len(),
            "more resources than one group can have; the last are left out"
        );
    }
    let admitted = fitting.into_iter().take(RESOURCES_MAX);
    admitted.map(|resource| (resource.clone(), wants[resource])).collect()
}
