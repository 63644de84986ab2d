//! The life of the service: the looks, the channels and the witness side by side.

use std::{sync::Arc, time::Duration};

use bus::User;
use service::Context;
use tokio::sync::watch;

use crate::{
    backups,
    config::Config,
    kept::Store,
    pages, restart, silences,
    tell::{self, Board},
    trail,
    view::{View, Views},
    watch::Watch,
    witness,
};

/// A look that is older says nothing about now.
const STALE_AFTER: Duration = Duration::from_secs(30);
/// When no look came for so long, something hangs that only a fresh start mends.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Runs the health check. NATS need not be there, now or ever: that is told like anything else.
///
/// # Errors
/// When a part of it fails.
pub async fn run(context: Context, config: Config) -> anyhow::Result<()> {
    let connection = presence::connecting(&context, User::Healthcheck, &config.nats);
    let store = Arc::new(Store::open(&config.data));
    let board = Board::default();
    let (report, views) = watch::channel::<Option<Arc<View>>>(None);
    let stale_after = STALE_AFTER.max(3 * config.look_every);
    pages::serve(&context, views.clone(), stale_after);
    let looks = context.health.component("looks").fatal_after(STUCK_AFTER);
    context.tasks.spawn("life", life(looks, views.clone(), stale_after, context.shutdown.clone()));
    restart::start(&context, &config, &connection, &views, &store);
    tell::start(&context, &config, &connection, &views, &store, &board)?;
    trail::start(&context, &connection, &views, &store, &board);
    silences::start(&context, &connection, &views, &store);
    witness::start(&context, &config, &views, &board)?;
    let backups = backups::start(&context, &config, &connection, store.clone(), &views);
    Watch::new(&context, config, connection, store, board, backups, report).run().await
}

/// Ready means that looks are made.
async fn life(
    component: service::Component,
    mut views: Views,
    stale_after: Duration,
    shutdown: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let age = views.borrow_and_update().as_ref().map(|view| view.taken.elapsed());
        match age {
            None => component.down("the first look is still to come"),
            Some(age) if age > stale_after => component.down("the last look is long ago"),
            Some(_) => component.up(),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = views.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(stale_after) => {}
        }
    }
}
