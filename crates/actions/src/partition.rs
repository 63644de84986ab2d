//! One partition: takes its actions, keeps those of a channel in order, tells NATS what is held, and
//! leaves it in such a way that the next one can go on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Consumer, Delivery, Link, Stream};
use futures_util::FutureExt as _;
use lanes::Lanes;
use protocol::{Action, ChannelId, DropReason, OutcomeBody};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::warn;

use crate::{act::Act, held::Held, owned::Ground, run::Shared};

/// Actions of one partition that are held, in work or waiting. With what is fetched ahead, of this and of
/// a gateway that died, it stays far below what NATS gives out of one partition at a time.
pub const HELD: usize = 64;
/// Actions that wait for the one before them in their channel. More would be done when nobody waits for
/// them any more.
pub const MAX_LANE: usize = 16;
/// Actions of one partition that are fetched ahead.
const AHEAD: usize = 16;
/// How often NATS is told that an action is still held; it waits for
/// [`bus::topology::ACTION_ACK_WAIT`], and one report may get lost.
const STILL_HERE: Duration = Duration::from_secs(3);
/// Between two tries to attach.
const ATTACH_PAUSE: Duration = Duration::from_secs(1);
/// How long what is in work may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long giving back may take; while NATS is away it cannot be done.
const BACK_LIMIT: Duration = Duration::from_millis(500);

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
        let attached = tokio::select! {
            attached = self.attach() => attached,
            () = self.ground.stop.cancelled() => return,
        };
        let ((mut consumer, since), mut jobs) = (attached, Jobs::default());
        self.take(&mut consumer, since, &mut jobs).await;
        self.leave(consumer, jobs).await;
    }

    /// Tries until it can. Nothing came before the time that it gives.
    async fn attach(&self) -> (Consumer, Instant) {
        let (stream, name) = (Stream::actions(A::PLATFORM), format!("partition-{}", self.ground.partition));
        loop {
            let before = Instant::now();
            match self.shared.bus.consume(stream, name.as_str(), AHEAD).await {
                Ok(consumer) => return (consumer, before),
                Err(error) => self.shared.board.detached(self.ground.partition, error.to_string()),
            }
            sleep(ATTACH_PAUSE).await;
        }
    }

    async fn take(self: &Arc<Self>, consumer: &mut Consumer, since: Instant, jobs: &mut Jobs) {
        let run = |held| self.clone().carry_out(held);
        let mut attached = consumer.attached();
        attached.mark_changed();
        let mut beat = interval_at(Instant::now() + STILL_HERE, STILL_HERE);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was fetched ahead lies in a queue where nobody sees when it came; it came after this.
        let mut empty_at = since;
        loop {
            // Where somebody waits behind others there is room for who does not.
            let room = jobs.held() < HELD || jobs.waiting() > 0;
            tokio::select! {
                biased;
                () = self.ground.stop.cancelled() => return,
                true = jobs.advance(run) => {}
                Ok(()) = attached.changed() => match *attached.borrow_and_update() {
                    true => self.shared.board.attached(self.ground.partition),
                    false => self.shared.board.detached(self.ground.partition, "attaching again".to_owned()),
                },
                // An idle partition is not woken.
                _ = beat.tick(), if jobs.held() > 0 => self.beat().await,
                (delivery, arrived) = next(consumer, &mut empty_at), if room => {
                    if jobs.held() == 0 {
                        beat.reset();
                    }
                    if let Some(held) = self.admit(delivery, arrived).await {
                        self.place(held, jobs, run).await;
                    }
                }
            }
        }
    }

    /// What cannot be read, is here already, or was done before, does not get a place.
    async fn admit(&self, delivery: Delivery, arrived: Instant) -> Option<Arc<Held>> {
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
        if let Some(first) = all.iter().find(|held| held.action.id == action.id) {
            first.came_again(&delivery, arrived);
            return None;
        }
        let held = Arc::new(Held::new(action, delivery, arrived));
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

    /// Tells NATS that all that is held is worked on. While NATS is away it would hear that too late.
    async fn beat(&self) {
        if !self.ground.is_ours() || *self.shared.bus.link().borrow() == Link::Down {
            return;
        }
        let told = async {
            for held in self.held() {
                held.still_here().await;
            }
        };
        if timeout(STILL_HERE, told).await.is_err() {
            warn!(partition = self.ground.partition, "NATS does not take that actions are still held");
        }
    }

    /// Waits for what is in work, but not for long; then nobody works any more: what nobody else can do
    /// is told, and the rest given back in its order.
    async fn leave(self: Arc<Self>, mut consumer: Consumer, mut jobs: Jobs) {
        drop(jobs.take_waiting());
        let fetched: Vec<Delivery> =
            std::iter::from_fn(|| consumer.next().now_or_never()).take(AHEAD).collect();
        // NATS must know that nothing is pulled any more before it is given something back.
        drop(consumer);
        if self.held().is_empty() && fetched.is_empty() {
            return;
        }
        let partition = self.ground.partition;
        let drained =
            timeout(DRAIN_LIMIT, async { while jobs.advance(|held| self.clone().carry_out(held)).await {} });
        let closed = timeout(BACK_LIMIT, async {
            self.beat().await;
            self.shared.bus.round_trip().await;
        });
        let (drained, closed) = tokio::join!(drained, closed);
        if drained.is_err() {
            warn!(partition, "some actions did not end in time");
        }
        jobs.abort().await;
        let back = timeout(BACK_LIMIT, self.give_back(&fetched)).await;
        if closed.is_err() || back.is_err() {
            warn!(partition, "NATS does not answer; what was not begun comes again after a while");
        }
    }

    async fn give_back(&self, fetched: &[Delivery]) {
        let (begun, back): (Vec<_>, Vec<_>) =
            self.held().into_iter().partition(|held| held.is_acknowledged());
        for held in begun.iter().filter(|held| !self.shared.done.contains(&held.action.id)) {
            let detail = "the gateway stopped before the platform had answered".to_owned();
            let body = OutcomeBody::Dropped { reason: DropReason::Uncertain, detail };
            self.shared.settle(held, body, held.delivery.trace.as_deref().unwrap_or_default()).await;
        }
        // What was lost may be somebody else's by now.
        if self.ground.is_ours() {
            for delivery in back.iter().map(|held| &held.delivery).chain(fetched) {
                delivery.retry_in(Duration::ZERO).await;
            }
            // The next one must not get what came later before this.
            self.shared.bus.round_trip().await;
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

/// The next delivery, and when it came at the earliest. Cancel-safe.
async fn next(consumer: &mut Consumer, empty_at: &mut Instant) -> (Delivery, Instant) {
    if let Some(delivery) = consumer.next().now_or_never() {
        return (delivery, *empty_at);
    }
    let delivery = consumer.next().await;
    *empty_at = Instant::now();
    (delivery, *empty_at)
}
