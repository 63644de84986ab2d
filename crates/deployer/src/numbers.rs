//! What is told of deploys besides their count, from the book. The names are in `docs/metrics.md`; what was never is 0,
//! as a time of long ago.

use std::sync::Arc;

use protocol::control::{Deploy, DeployState};
use service::Metrics;

use crate::{
    book::Book,
    desk::Desk,
    plan::{Job, Way},
};

/// Registers them.
pub fn register(metrics: &Metrics, desk: &Arc<Desk>) {
    let gauge = |name, help, of: fn(&Book) -> f64| {
        let desk = desk.clone();
        metrics.gauge_of(name, help, move || of(&desk.book()));
    };
    gauge("deploy_running", "1 while a deploy goes on", |book| f64::from(book.job.is_some()));
    gauge("deploy_going_back", "1 while a deploy that failed goes back", |book| {
        f64::from(book.job.as_ref().is_some_and(|job: &Job| job.way == Way::Back))
    });
    gauge("deploy_last_timestamp_seconds", "When the last deploy that changed anything was over", |book| {
        seconds(last(book).map_or(0, |deploy| deploy.ended_ms))
    });
    gauge("deploy_last_good", "1 when the last deploy that changed anything was rolled out", |book| {
        f64::from(last(book).is_some_and(|deploy| deploy.state == DeployState::RolledOut))
    });
    gauge("deploy_last_seconds", "How long the last deploy that changed anything took", |book| {
        seconds(last(book).map_or(0, |deploy| deploy.ended_ms.saturating_sub(deploy.began_ms)))
    });
    gauge("deploy_kept", "Versions that can be gone back to", |book| book.kept.len() as f64);
}

fn last(book: &Book) -> Option<&Deploy> {
    book.history.iter().find(|deploy| deploy.state != DeployState::NeverStarted)
}

/// No time has so many milliseconds that this loses any.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
