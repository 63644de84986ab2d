//! What a service says of itself.

use bus::{AnnounceError, Announcement, Bus};
use protocol::{ServiceStats, VERSION};
use service::Context;

/// Is found and counted until the announcement is dropped.
///
/// # Errors
/// When the connection is closed.
pub async fn announce(context: &Context, bus: &Bus) -> Result<Announcement, AnnounceError> {
    let told = context.clone();
    bus.announce(context.name, move || stats(&told)).await
}

fn stats(context: &Context) -> ServiceStats {
    let readiness = context.health.readiness();
    ServiceStats {
        v: VERSION,
        service: context.name.to_owned(),
        instance: context.instance.clone(),
        build: service::BUILD.to_owned(),
        uptime_s: context.started.elapsed().as_secs(),
        ready: readiness.ready,
        reason: readiness.reason,
        resident_bytes: service::resident_bytes(),
        metrics: context.metrics.snapshot(),
    }
}
