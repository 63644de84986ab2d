//! Raids, subscriptions and gifts. They are counted; what thanks for them will read them here.

use bus::Consumer;
use protocol::Event;
use tokio_util::sync::CancellationToken;

use crate::{chatter::bury, worker::Worker};

/// The durable consumer.
pub const CONSUMER: &str = "community";
/// How many events are taken ahead.
pub const AHEAD: usize = 8;

/// Takes events until the shutdown. Those that were on their way come again after some seconds.
pub async fn count(worker: &Worker, mut events: Consumer, shutdown: &CancellationToken) {
    while let Some(delivery) = shutdown.run_until_cancelled(events.next()).await {
        match delivery.decode::<Event>() {
            Ok(event) => {
                worker.took(1);
                worker.numbers.community_events.with(event.body.kind()).inc();
                delivery.ack().await;
            }
            Err(error) => bury(worker, &delivery, &error).await,
        }
    }
}
