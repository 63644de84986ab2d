//! What all partitions share, and what each tells of an action: that it is settled, or in doubt.

use std::sync::Arc;

use bus::Bus;
use partitions::{Board, Recent};
use protocol::{Action, DropReason, Outcome, OutcomeBody, VERSION, subject};
use service::clock::unix_ms;
use tracing::warn;

use crate::{act::Act, held::Held, numbers::Numbers};

/// What all partitions need.
#[derive(Debug)]
pub(crate) struct Shared<A> {
    pub(crate) bus: Bus,
    pub(crate) act: A,
    pub(crate) numbers: Numbers,
    pub(crate) done: Recent,
    pub(crate) board: Arc<Board>,
}

impl<A: Act> Shared<A> {
    /// Nothing more is to be done for an action.
    pub(crate) async fn settle(&self, held: &Held, body: OutcomeBody, trace: &str) {
        let action = &held.action;
        if let OutcomeBody::Dropped { reason, detail } = &body {
            let (id, community, channel) = (&action.id, &action.community, &action.channel);
            warn!(action_id = %id, %community, %channel, %reason, detail, "dropped");
        }
        self.done.insert(&action.id);
        self.tell(action, body, trace).await;
        if !held.is_acknowledged() {
            held.delivery.ack().await;
        }
    }

    /// Nobody can tell whether it comes to somebody else.
    pub(crate) async fn doubt(&self, held: &Held, trace: &str) {
        let detail = "the gateway lost what it owned before NATS had confirmed that this is sent only once";
        let body = OutcomeBody::Dropped { reason: DropReason::Uncertain, detail: detail.to_owned() };
        self.tell(&held.action, body, trace).await;
    }

    pub(crate) async fn tell(&self, action: &Action, body: OutcomeBody, trace: &str) {
        self.numbers.outcome(&body);
        let outcome = Outcome {
            v: VERSION,
            action: action.id.clone(),
            platform: A::PLATFORM,
            community: action.community.clone(),
            at_ms: unix_ms(),
            body,
        };
        let subject = subject::outcome(A::PLATFORM, &action.community);
        let trace = (!trace.is_empty()).then_some(trace);
        if let Err(error) = self.bus.notify(subject, &outcome, trace).await {
            warn!(action_id = %action.id, %error, "the outcome was not told");
        }
    }
}
