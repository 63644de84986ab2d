//! Chat messages that are no command. They are counted; what watches chat will read them here.

use bus::{Consumer, Delivery};
use partitions::Recent;
use protocol::Batch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::worker::Worker;

/// The durable consumer.
pub const CONSUMER: &str = "chatter";
/// How many batches are taken ahead.
pub const AHEAD: usize = 4;

/// Takes batches until the shutdown. Those that were on their way come again after some seconds.
pub async fn count(worker: &Worker, mut batches: Consumer, shutdown: &CancellationToken) {
    let seen = Recent::default();
    while let Some(delivery) = shutdown.run_until_cancelled(batches.next()).await {
        take(worker, &seen, &delivery).await;
    }
}

async fn take(worker: &Worker, seen: &Recent, delivery: &Delivery) {
    match delivery.decode::<Batch>() {
        Ok(batch) => {
            let new = batch.events.iter().filter(|event| seen.insert(&event.id)).count();
            worker.took(u32::try_from(new).unwrap_or(u32::MAX));
            worker.numbers.messages.with(batch.platform.as_str()).inc_by(new as u64);
            delivery.ack().await;
        }
        Err(error) => bury(worker, delivery, &error).await,
    }
}

/// Puts away what cannot be read: a newer version may have written it, and can take it from there.
pub async fn bury(worker: &Worker, delivery: &Delivery, reason: &(dyn std::error::Error + Sync)) {
    worker.numbers.undecodable.inc();
    if let Err(error) = delivery.bury(&reason.to_string()).await {
        warn!(subject = delivery.subject, error, "not put away; it comes again");
    }
}
