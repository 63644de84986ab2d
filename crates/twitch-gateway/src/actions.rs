//! Takes actions from NATS, and gives back what is not begun when the service stops. What is done with
//! them, see `lanes`.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{Bus, Consumer, Stream};
use futures_util::FutureExt as _;
use protocol::{Action, subject};
use service::{Component, Counter};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{claim::Taken, lanes::Lanes, send::Speaker, stats::Stats};

/// Actions taken from NATS and not finished, over all partitions.
const HELD: usize = 256;
/// Actions of one partition that are fetched ahead.
const AHEAD: usize = 16;
/// How often NATS is told that an action is still held; it waits for `bus::topology::ACTION_ACK_WAIT`.
const STILL_HERE: Duration = Duration::from_secs(3);
/// How long actions that are being done may take to end when the service stops.
const DRAIN_WITHIN: Duration = Duration::from_millis(1500);

/// Does what NATS has for Twitch.
pub struct Actions {
    /// Where they come from.
    pub bus: Bus,
    /// Who does them.
    pub speaker: Arc<Speaker>,
    /// What is counted.
    pub stats: Stats,
    /// Who wants to know.
    pub health: Component,
}

/// An action and when it came.
type Arrival = (Taken, Instant);

/// The actions of one partition.
struct Partition {
    consumer: Consumer,
    arrivals: mpsc::Sender<Arrival>,
    held: Arc<Semaphore>,
    actions: Counter,
}

impl Actions {
    /// Runs until `shutdown`, then waits for what is being done, and gives back the rest.
    ///
    /// # Errors
    /// When the stream is not there, or a part of this panicked.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let held = Arc::new(Semaphore::new(HELD));
        let (arrivals, incoming) = mpsc::channel(1);
        let mut attached = Vec::new();
        let mut partitions = JoinSet::new();
        for partition in 0..subject::PARTITIONS {
            let name = format!("partition-{partition}");
            let consumer = self.bus.consume(Stream::ActionsTwitch, name, AHEAD).await?;
            attached.push(consumer.attached());
            let partition = Partition {
                consumer,
                arrivals: arrivals.clone(),
                held: held.clone(),
                actions: self.stats.actions.clone(),
            };
            partitions.spawn(partition.run(shutdown.clone()));
        }
        drop(arrivals);
        let lanes = Arc::new(Lanes::new(self.bus, self.speaker, self.stats));
        let mut working = JoinSet::new();
        let outcome = tokio::select! {
            outcome = take(&lanes, incoming, &mut partitions, &mut working) => outcome,
            () = report(attached, &self.health) => Ok(()),
        };
        let outcome = match outcome {
            Ok(()) => drain(&lanes, &mut working).await,
            Err(panicked) => Err(panicked),
        };
        partitions.shutdown().await;
        working.shutdown().await;
        lanes.give_up().await;
        outcome.context("actions of Twitch")
    }
}

/// Has actions done until all partitions have ended.
async fn take(
    lanes: &Arc<Lanes>,
    mut incoming: mpsc::Receiver<Arrival>,
    partitions: &mut JoinSet<()>,
    working: &mut JoinSet<()>,
) -> Result<(), JoinError> {
    let mut beat = interval(STILL_HERE);
    loop {
        tokio::select! {
            arrival = incoming.recv() => match arrival {
                Some((taken, arrived)) => lanes.put(taken, arrived, working).await,
                None => break,
            },
            Some(ended) = partitions.join_next() => ended?,
            Some(ended) = working.join_next() => ended?,
            _ = beat.tick() => lanes.beat().await,
        }
    }
    while let Some(ended) = partitions.join_next().await {
        ended?;
    }
    Ok(())
}

/// Waits for what is being done, but not for long.
async fn drain(lanes: &Lanes, working: &mut JoinSet<()>) -> Result<(), JoinError> {
    let late = sleep(DRAIN_WITHIN);
    tokio::pin!(late);
    lanes.beat().await;
    loop {
        tokio::select! {
            ended = working.join_next() => match ended {
                Some(ended) => ended?,
                None => return Ok(()),
            },
            () = &mut late => {
                warn!(channels = working.len(), "some actions did not end in time");
                return Ok(());
            }
        }
    }
}

impl Partition {
    async fn run(mut self, shutdown: CancellationToken) {
        // What was fetched ahead lies in a queue where nobody sees when it came; it came after this.
        let mut empty_at = Instant::now();
        loop {
            let (delivery, arrived, permit) = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                next = self.next(&mut empty_at) => match next {
                    Some(next) => next,
                    None => break,
                },
            };
            self.actions.inc();
            match delivery.decode::<Action>() {
                Ok(action) => {
                    let taken = Taken::new(action, delivery, arrived, permit);
                    if let Err(mpsc::error::SendError((taken, _))) =
                        self.arrivals.send((taken, arrived)).await
                    {
                        taken.delivery.retry_in(Duration::ZERO).await;
                        break;
                    }
                }
                Err(error) => {
                    if let Err(error) = delivery.bury(&error.to_string()).await {
                        warn!(%error, "an action that cannot be read was not buried; it comes again");
                    }
                }
            }
        }
        let fetched = std::iter::from_fn(|| self.consumer.next().now_or_never()).take(AHEAD);
        for delivery in fetched {
            delivery.retry_in(Duration::ZERO).await;
        }
    }

    /// The next delivery, and when it came at the earliest. Cancel-safe.
    async fn next(
        &mut self,
        empty_at: &mut Instant,
    ) -> Option<(bus::Delivery, Instant, OwnedSemaphorePermit)> {
        let permit = self.held.clone().acquire_owned().await.ok()?;
        if let Some(delivery) = self.consumer.next().now_or_never() {
            return Some((delivery, *empty_at, permit));
        }
        let delivery = self.consumer.next().await;
        *empty_at = Instant::now();
        Some((delivery, *empty_at, permit))
    }
}

/// Keeps the component up while all partitions are attached. Never ends.
async fn report(mut attached: Vec<watch::Receiver<bool>>, health: &Component) {
    loop {
        let missing = attached.iter().filter(|attached| !*attached.borrow()).count();
        match missing {
            0 => health.up(),
            _ => health.down(format!("{missing} of {} partitions are not attached", attached.len())),
        }
        let changes = attached.iter_mut().map(|attached| Box::pin(attached.changed()));
        if futures_util::future::select_all(changes).await.0.is_err() {
            return std::future::pending().await;
        }
    }
}
