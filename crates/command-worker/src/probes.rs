//! What `/readyz` says of the link to NATS: whether it is there, and interactions come by it.

use bus::{Bus, Link};
use service::{Component, Health};
use tokio_util::sync::CancellationToken;

/// The components of a worker's health that follow the link.
pub struct Probes {
    nats: Component,
    interactions: Component,
}

impl Probes {
    /// All of them down until [`watch`](Self::watch) says otherwise.
    pub fn new(health: &Health) -> Self {
        Self { nats: health.component("nats"), interactions: health.component("interactions") }
    }

    /// Keeps them true until the shutdown.
    pub async fn watch(&self, bus: &Bus, shutdown: &CancellationToken) {
        let mut link = bus.link();
        loop {
            self.report(*link.borrow_and_update());
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = link.changed() => {}
                else => break,
            }
        }
        shutdown.cancelled().await;
        self.interactions.down("shutting down");
    }

    fn report(&self, link: Link) {
        match link {
            Link::Up => {
                self.nats.up();
                // The client subscribes again before it reports the link.
                self.interactions.up();
            }
            Link::Down => {
                self.nats.down("no connection; trying again");
                self.interactions.down("no connection to NATS");
            }
        }
    }
}
