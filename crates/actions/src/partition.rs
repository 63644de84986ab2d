//! One partition: takes its actions, keeps those of a channel in order, and leaves it in such a way that
//! the next one can go on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Consumer, Delivery, Queue};
use lanes::Lanes;
use partitions::Ground;
use protocol::{Action, ChannelId, DropReason, OutcomeBody};
use tokio::time::timeout;
use tracing::warn;

use crate::{act::Act, held::Held, shared::Shared};

/// Actions of one partition that are held, in work or waiting. With what is fetched ahead it stays far
/// below what NATS gives out of one partition at a time.
pub const HELD: usize = 64;
/// Actions that wait for the one before them in their channel. More would be done when nobody waits for
/// them any more.
pub const MAX_LANE: usize = 16;
/// Actions of one partition that are fetched ahead.
const AHEAD: usize = 16;
/// How long what is in work may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long telling what became of the rest may take; while NATS is away it cannot be done.
const TELL_LIMIT: Duration = Duration::from_millis(500);

/// One partition while it is worked on.
pub(crate) struct Partition<A> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) ground: Ground,
    /// What is not finished, in the order in which it came.
    held: Mutex<Vec<Arc<Held>>>,
}

type Jobs = Lanes<ChannelId, Arc<Held>>;

impl<A: Act> Partition<A> {
    pub(crate) fn new(shared: Arc<Shared<A>>, ground: Ground) -> Self {
        Self { shared, ground, held: Mutex::default() }
    }

    /// Works until the partition is released or lost, and then until nothing of it is left here.
    pub(crate) async fn run(self: Arc<Self>) {
        let (bus, board) = (&self.shared.bus, &self.shared.board);
        let Some(mut consumer) = board.attach(bus, Queue::Actions(A::PLATFORM), &self.ground, AHEAD).await
        else {
            return;
        };
        let mut jobs = Jobs::default();
        self.take(&mut consumer, &mut jobs).await;
        self.clone().leave(jobs).await;
        // Of what was lost nothing must be taken from its next owner.
        if self.ground.is_ours() {
            consumer.close().await;
        }
    }

    async fn take(self: &Arc<Self>, consumer: &mut Consumer, jobs: &mut Jobs) {
        let run = |held| self.clone().carry_out(held);
        let mut attached = consumer.attached();
        attached.mark_changed();
        loop {
            // Where somebody waits behind others there is room for who does not.
            let room = jobs.held() < HELD || jobs.waiting() > 0;
            tokio::select! {
                biased;
                () = self.ground.stop.cancelled() => return,
                true = jobs.advance(run) => {}
                Ok(()) = attached.changed() => {
                    self.shared.board.turned(self.ground.partition, *attached.borrow_and_update());
                }
                delivery = consumer.next_when(room) => {
                    if let Some(held) = self.admit(delivery).await {
                        self.place(held, jobs, run).await;
                    }
                }
            }
        }
    }

    /// What cannot be read, is here already, or was done before, does not get a place.
    async fn admit(&self, delivery: Delivery) -> Option<Arc<Held>> {
        self.shared.numbers.taken.inc();
        let action = match delivery.decode::<Action>() {
            Ok(action) => action,
            Err(error) => {
                if let Err(error) = delivery.bury(&error.to_string()).await {
                    warn!(%error, "an action that cannot be read was not buried; it comes again");
                }
                return None;
            }
        };
        if self.shared.done.contains(&action.id) {
            delivery.ack().await;
            return None;
        }
        let mut all = self.lock();
        if all.iter().any(|held| held.action.id == action.id) {
            // It was stored twice. Once the first is done, this one comes again and is taken off.
            return None;
        }
        let held = Arc::new(Held::new(action, delivery));
        all.push(held.clone());
        Some(held)
    }

    /// Gives an action its place in its channel, or turns one away: this one when too many wait there,
    /// else, when there is no room for all, the last one of the channel in which most wait.
    async fn place<F>(&self, held: Arc<Held>, jobs: &mut Jobs, run: impl FnOnce(Arc<Held>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if jobs.waiting_in(&held.action.channel) >= MAX_LANE {
            return self.turn_away(&held, format!("{MAX_LANE} actions wait for this channel already")).await;
        }
        jobs.put(held.action.channel.clone(), held, run);
        if jobs.held() > HELD
            && let Some(last) = jobs.take_last_of_longest()
        {
            let detail = format!("{HELD} actions wait already, and most of them for this channel");
            self.turn_away(&last, detail).await;
        }
    }

    async fn turn_away(&self, held: &Arc<Held>, detail: String) {
        let body = OutcomeBody::Dropped { reason: DropReason::RateLimited, detail };
        self.shared.settle(held, body, held.delivery.trace.as_deref().unwrap_or_default()).await;
        self.let_go(held);
    }

    /// Waits for what is in work, but not for long; then nobody works any more, and what nobody else can do
    /// is told. All else is the next owner's.
    async fn leave(self: Arc<Self>, mut jobs: Jobs) {
        drop(jobs.take_waiting());
        let drained =
            timeout(DRAIN_LIMIT, async { while jobs.advance(|held| self.clone().carry_out(held)).await {} });
        let partition = self.ground.partition;
        if drained.await.is_err() {
            warn!(partition, "some actions did not end in time");
        }
        jobs.abort().await;
        if timeout(TELL_LIMIT, self.give_up()).await.is_err() {
            warn!(partition, "NATS does not take what became of some actions");
        }
    }

    /// Nobody can tell whether they were done.
    async fn give_up(&self) {
        let (begun, left): (Vec<_>, Vec<_>) =
            self.held().into_iter().partition(|held| held.is_acknowledged());
        for held in left.iter().filter(|held| held.is_in_doubt()) {
            self.shared.doubt(held, held.delivery.trace.as_deref().unwrap_or_default()).await;
        }
        for held in begun.into_iter().filter(|held| !self.shared.done.contains(&held.action.id)) {
            let detail = "the gateway stopped before the platform had answered".to_owned();
            let body = OutcomeBody::Dropped { reason: DropReason::Uncertain, detail };
            self.shared.settle(&held, body, held.delivery.trace.as_deref().unwrap_or_default()).await;
        }
    }

    /// It is finished, or somebody else's.
    pub(crate) fn let_go(&self, gone: &Arc<Held>) {
        self.lock().retain(|held| !Arc::ptr_eq(held, gone));
    }

    fn held(&self) -> Vec<Arc<Held>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
