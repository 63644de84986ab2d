//! What `/readyz` says: linked to NATS, attached to the queue of commands, asked for interactions.

use bus::{Bus, Link};
use service::{Component, Health};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The components of a worker's health.
pub struct Probes {
    nats: Component,
    commands: Component,
    interactions: Component,
}

impl Probes {
    /// All of them down until [`watch`](Self::watch) says otherwise.
    pub fn new(health: &Health) -> Self {
        Self {
            nats: health.component("nats"),
            commands: health.component("commands"),
            interactions: health.component("interactions"),
        }
    }

    /// Keeps them true until the shutdown.
    pub async fn watch(&self, bus: &Bus, mut attached: watch::Receiver<bool>, shutdown: &CancellationToken) {
        let mut link = bus.link();
        loop {
            self.report(*link.borrow_and_update(), *attached.borrow_and_update());
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = link.changed() => {}
                Ok(()) = attached.changed() => {}
                else => break,
            }
        }
        shutdown.cancelled().await;
        self.commands.down("shutting down");
        self.interactions.down("shutting down");
    }

    fn report(&self, link: Link, attached: bool) {
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
        if attached {
            self.commands.up();
        } else {
            self.commands.down("not attached to the queue of commands");
        }
    }
}
