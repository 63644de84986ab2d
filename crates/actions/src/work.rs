//! One action: begun when it is certainly ours, and watched while it is done.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use protocol::{DropReason, OutcomeBody};
use service::{
    clock::{unix_ms, unix_us},
    trace,
};
use tokio::time::Instant;
use tracing::{Instrument as _, debug, info_span};

use crate::{
    act::{Act, Errand},
    carried::Carried,
    held::Held,
    partition::Partition,
};

/// Actions are kept no longer by NATS.
const LONGEST: Duration = Duration::from_secs(15 * 60);

impl<A: Act> Partition<A> {
    /// Does what is held, and lets go of it, unless it was interrupted: that is given back in the end.
    pub(crate) async fn carry_out(self: Arc<Self>, held: Arc<Held>) {
        let action = &held.action;
        let span = info_span!(
            "action",
            otel.kind = "consumer",
            otel.name = format!("action.{}", action.body.kind()),
            action_id = %action.id,
            community = %action.community,
        );
        let came_with = held.delivery.trace.as_deref().unwrap_or_default();
        trace::join(&span, came_with);
        let header = trace::header(&span, came_with);
        let carried = self.act(&held, &header).instrument(span.clone()).await;
        let body = match carried {
            Carried::Done(sent) => OutcomeBody::Sent {
                message: sent.message,
                platform_us: u64::try_from(sent.took.as_micros()).unwrap_or(u64::MAX),
                total_us: unix_us().saturating_sub(action.cause_received_us),
            },
            Carried::Dropped { reason, detail } => OutcomeBody::Dropped { reason, detail },
            Carried::Interrupted if held.is_acknowledged() => OutcomeBody::Dropped {
                reason: DropReason::Uncertain,
                detail: "the gateway stopped before this was sent".to_owned(),
            },
            Carried::Interrupted => return,
            Carried::Left => {
                debug!(action_id = %action.id, "it may be somebody else's by now; left to them");
                if held.is_in_doubt() {
                    self.shared.doubt(&held, &header).instrument(span).await;
                }
                self.let_go(&held);
                // What is behind it in its channel must not be done before it: all comes again, here or
                // elsewhere.
                self.ground.lost.cancel();
                return;
            }
        };
        self.shared.settle(&held, body, &header).instrument(span).await;
        self.let_go(&held);
    }

    async fn act(&self, held: &Held, trace: &str) -> Carried {
        let action = &held.action;
        if !self.ground.is_ours() {
            return Carried::Left;
        }
        if self.ground.stop.is_cancelled() {
            return Carried::Interrupted;
        }
        if action.platform != A::PLATFORM {
            let detail = format!("this gateway serves {}", A::PLATFORM);
            return Carried::dropped(DropReason::Unsupported, detail);
        }
        let left = Duration::from_millis(action.expires_at_ms.saturating_sub(unix_ms()));
        if left.is_zero() {
            return Carried::dropped(DropReason::Expired, "its time was over before its turn came");
        }
        let errand =
            Errand::new(held, &self.ground, self.shared.bus.link(), Instant::now() + left.min(LONGEST));
        // One bad action must not end a gateway again and again.
        let acting = AssertUnwindSafe(self.shared.act.act(action, &errand)).catch_unwind();
        let mut acting = std::pin::pin!(acting);
        let early = tokio::select! {
            biased;
            carried = &mut acting => Some(carried),
            () = errand.waits() => None,
        };
        if let Some(wait) = errand.wait() {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.shared.tell(action, OutcomeBody::Queued { wait_ms }, trace).await;
        }
        let carried = match early {
            Some(carried) => carried,
            None => acting.await,
        };
        let failed = |_panic| {
            Carried::dropped(DropReason::Uncertain, "the gateway failed while it did this; see its log")
        };
        carried.unwrap_or_else(failed)
    }
}
