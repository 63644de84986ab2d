//! How backups stand: asked of the service `backup`, once there is one.

use std::{sync::Arc, time::Duration};

use presence::Connection;
use protocol::{
    VERSION,
    control::{BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus, JobEnd},
};
use service::{Context, clock::unix_ms};
use tokio::sync::watch;
use tracing::debug;

use crate::{
    config::Config,
    kept::Store,
    view::{View, Views},
};

/// The service that makes them.
pub const SERVICE: &str = "backup";
/// Between two questions.
const EVERY: Duration = Duration::from_secs(60);
/// It answers at once.
const LIMIT: Duration = Duration::from_secs(3);

/// How backups stand, and since when that is watched, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    /// What it said last.
    pub status: BackupStatus,
    /// When it was asked first.
    pub since_ms: u64,
    /// How the last try to make one ended, also when something else was done since.
    pub tried: Option<JobEnd>,
}

/// The last answer; `None` before the first one.
pub type Answers = watch::Receiver<Option<Backups>>;

/// Asks from now on.
pub fn start(
    context: &Context,
    config: &Config,
    connection: &Connection,
    store: Arc<Store>,
    views: &Views,
) -> Answers {
    let (report, answers) = watch::channel(None);
    let (connection, mut views, pace) = (connection.clone(), views.clone(), config.pace);
    let shutdown = context.shutdown.clone();
    context.tasks.spawn("backups", async move {
        let asking = async {
            while views.wait_for(|view| view.as_ref().is_some_and(|view| is_there(view))).await.is_ok() {
                let bus = connection.borrow().clone();
                if let Ok(bus) = bus {
                    ask(&bus, &store, &report).await;
                }
                tokio::time::sleep(pace.of(EVERY)).await;
            }
        };
        shutdown.run_until_cancelled(asking).await;
        Ok(())
    });
    answers
}

fn is_there(view: &View) -> bool {
    view.found.services.iter().any(|service| service.name == SERVICE && !service.instances.is_empty())
}

async fn ask(bus: &bus::Bus, store: &Store, report: &watch::Sender<Option<Backups>>) {
    let order =
        BackupRequest { v: VERSION, by: env!("CARGO_PKG_NAME").to_owned(), order: BackupOrder::Status };
    match bus.command(SERVICE, &order, LIMIT).await {
        Ok(BackupAnswer { reply: BackupReply::Status(status), .. }) => {
            let kept = store.get();
            let since_ms = kept.backups_since_ms.unwrap_or_else(unix_ms);
            let ended =
                status.job.as_ref().filter(|job| job.verb == "create").and_then(|job| job.end.clone());
            let tried = ended.or(kept.backup_tried);
            store.change(|kept| {
                kept.backups_since_ms = Some(since_ms);
                kept.backup_tried.clone_from(&tried);
            });
            report.send_replace(Some(Backups { status: *status, since_ms, tried }));
        }
        // That it does not answer is told of by another rule; what it said last goes on getting older.
        Ok(BackupAnswer { reply, .. }) => debug!(?reply, "backup did not say how backups stand"),
        Err(error) => debug!(error = service::chain(&error), "backup did not say how backups stand"),
    }
}
