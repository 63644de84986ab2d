//! What was accepted goes into the audit trail, by a task of its own: the forge is not kept waiting for it.

use bus::Bus;
use protocol::control::Audit;
use service::{Counter, Metrics};
use tokio::sync::mpsc;
use tracing::error;

/// Notes that wait while NATS is away.
const WAITING_MAX: usize = 64;

/// Where notes are handed in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes {
    waiting: mpsc::Sender<Audit>,
    lost: Counter,
}

/// Where they come out.
#[derive(Debug)]
pub struct Waiting {
    notes: mpsc::Receiver<Audit>,
    lost: Counter,
}

impl Notes {
    /// Both ends.
    #[must_use]
    pub fn new(metrics: &Metrics) -> (Self, Waiting) {
        let lost = metrics.counter("audit_lost", "Notes that are not in the audit trail");
        let (waiting, notes) = mpsc::channel(WAITING_MAX);
        (Self { waiting, lost: lost.clone() }, Waiting { notes, lost })
    }

    /// Hands one in. When too many wait it is only in the log.
    pub fn add(&self, note: Audit) {
        if let Err(refused) = self.waiting.try_send(note) {
            self.lost.inc();
            error!(note = ?refused.into_inner(), "the audit trail lacks a note: too many wait for NATS");
        }
    }
}

impl Waiting {
    /// Stores them until the last [`Notes`] is gone and all are stored.
    pub async fn store(mut self, bus: Bus) {
        while let Some(note) = self.notes.recv().await {
            if let Err(error) = bus.note(&note).await {
                self.lost.inc();
                error!(?note, error = service::chain(&error), "the audit trail lacks a note");
            }
        }
    }
}
