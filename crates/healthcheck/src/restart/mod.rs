//! Tells what hangs to start again, and notes that it did. Who hangs is decided in `plan`; who starts it again is
//! its supervisor.

mod plan;

use std::{sync::Arc, time::Duration};

use bus::{Bus, RequestError};
use presence::Connection;
use protocol::{
    VERSION,
    control::{Audit, AuditResult, Restart, WORDS_MAX},
};
use service::{Context, CounterVec, clock::unix_ms};
use tracing::{info, warn};

use crate::{config::Config, kept::Store, view::Views, words::harmless};

pub use plan::Told;
use plan::{Patient, Plan};

/// An instance that is asked and hears it answers within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Tells from now on.
pub fn start(context: &Context, config: &Config, connection: &Connection, views: &Views, store: &Arc<Store>) {
    let told =
        context.metrics.counter_vec("health_restarts", "Instances that were told to start again", "result");
    let doctor = Doctor {
        plan: Plan::new(config.restarts, config.pace),
        connection: connection.clone(),
        views: views.clone(),
        store: store.clone(),
        told: told.known(&["obeyed", "unheard"]),
    };
    let shutdown = context.shutdown.clone();
    context.tasks.spawn("restart", async move {
        shutdown.run_until_cancelled(doctor.run()).await;
        Ok(())
    });
}

struct Doctor {
    plan: Plan,
    connection: Connection,
    views: Views,
    store: Arc<Store>,
    told: CounterVec,
}

impl Doctor {
    async fn run(mut self) {
        while self.views.changed().await.is_ok() {
            let Some(view) = self.views.borrow_and_update().clone() else { continue };
            let Some(patient) = self.plan.choose(&view, &self.store.get().restarts) else { continue };
            let Ok(bus) = self.connection.borrow().clone() else { continue };
            self.tell(&bus, patient).await;
        }
    }

    async fn tell(&mut self, bus: &Bus, patient: Patient) {
        let (service, instance) = (patient.service.clone(), patient.instance.clone());
        let order = Restart {
            v: VERSION,
            by: env!("CARGO_PKG_NAME").to_owned(),
            reason: harmless(&patient.why).chars().take(WORDS_MAX).collect(),
            instance: Some(instance.clone()),
        };
        let (result, words) = match bus.command_restart(&service, &order, ANSWER_LIMIT).await {
            Ok(_) => {
                warn!(service, instance, reason = order.reason, "hangs, and starts again");
                self.told.with("obeyed").inc();
                (AuditResult::Done, format!("{service}: {}", order.reason))
            }
            Err(RequestError::TimedOut { .. }) if !patient.has_others => {
                warn!(
                    service,
                    instance,
                    reason = order.reason,
                    "hangs, and does not hear that it should start again"
                );
                self.told.with("unheard").inc();
                (AuditResult::Failed, format!("{service} does not hear it; {}", order.reason))
            }
            Err(error) => {
                let error = service::chain(&error);
                info!(service, instance, error, "is not there to be told to start again");
                self.plan.is_gone(patient);
                return;
            }
        };
        let at_ms = unix_ms();
        self.store.change(|kept| self.plan.note(&service, at_ms, &mut kept.restarts));
        let entry = Audit {
            v: VERSION,
            at_ms,
            service: order.by,
            by: format!("rule:{}", patient.rule),
            verb: "restart".to_owned(),
            object: instance,
            result,
            words,
        };
        if let Err(error) = bus.note(&entry).await {
            warn!(error = service::chain(&error), "what was done is not in the audit trail");
        }
    }
}
