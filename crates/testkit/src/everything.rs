//! All partitions of a queue at once, as a test wants them that plays the part of every worker.

use bus::{Bus, Consumer, Delivery, Queue, Stream};
use protocol::subject::PARTITIONS;
use tokio::{sync::mpsc, task::JoinSet};

/// Takes a whole queue alone.
#[derive(Debug)]
pub struct Everything {
    deliveries: mpsc::Receiver<Delivery>,
    _partitions: JoinSet<()>,
}

impl Everything {
    /// Takes over every partition, with at most `in_flight` deliveries ahead in each.
    ///
    /// # Panics
    /// When the streams are not there.
    pub async fn of(bus: &Bus, queue: Queue, in_flight: usize) -> Self {
        // One at a time is handed over, so that no more are taken than a test asks for.
        let (sender, deliveries) = mpsc::channel(1);
        let mut partitions = JoinSet::new();
        for partition in 0..PARTITIONS {
            let consumer = bus.take_over(queue, partition, in_flight, || true).await;
            partitions.spawn(hand_on(consumer.expect("the streams are there"), sender.clone()));
        }
        Self { deliveries, _partitions: partitions }
    }

    /// What is not taken by partition, in the same form.
    ///
    /// # Panics
    /// When stream or consumer are not there.
    pub async fn shared(bus: &Bus, stream: Stream, consumer: &str, in_flight: usize) -> Self {
        let (sender, deliveries) = mpsc::channel(1);
        let mut partitions = JoinSet::new();
        let consumer = bus.consume(stream, consumer, in_flight).await;
        partitions.spawn(hand_on(consumer.expect("the consumer is there"), sender));
        Self { deliveries, _partitions: partitions }
    }

    /// The next delivery of any partition; within one, in their order. Never ends.
    ///
    /// # Panics
    /// When a partition panicked.
    pub async fn next(&mut self) -> Delivery {
        self.deliveries.recv().await.expect("the partitions are taken for ever")
    }
}

async fn hand_on(mut consumer: Consumer, to: mpsc::Sender<Delivery>) {
    // A place that is held while nothing comes would keep it from the other partitions.
    while to.send(consumer.next().await).await.is_ok() {}
}
