//! Reads the audit trail as it grows: each entry once, over all starts. What it says that people should know waits
//! then for each channel, in what is kept.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use presence::Connection;
use protocol::{
    VERSION,
    control::{Audit, AuditResult, Deploy, DeployAnswer, DeployOrder, DeployReply, DeployRequest},
};
use service::{Context, clock::unix_ms};
use tracing::{debug, warn};

use crate::{
    kept::Store,
    news::News,
    tell::Board,
    view::{View, Views},
};

/// The stream of the trail.
const STREAM: &str = "AUDIT";
/// So many entries are read after one look; the rest after the next one.
const READ_MAX: u64 = 100;
/// The deployer answers at once.
const LIMIT: Duration = Duration::from_secs(3);
/// As what it is asked.
const DEPLOYER: &str = "deploy";

/// Reads from now on.
pub fn start(context: &Context, connection: &Connection, views: &Views, store: &Arc<Store>, board: &Board) {
    let (connection, mut views) = (connection.clone(), views.clone());
    let (store, board, shutdown) = (store.clone(), board.clone(), context.shutdown.clone());
    context.tasks.spawn("trail", async move {
        let reading = async {
            while views.changed().await.is_ok() {
                let last = views.borrow_and_update().as_ref().and_then(|view| last(view));
                let (Some(last), Ok(bus)) = (last, connection.borrow().clone()) else { continue };
                match store.get().trail {
                    // What was done before this watch first ran is no news.
                    None => store.change(|kept| kept.trail = Some(last)),
                    Some(number) if number != last => read(&bus, number, &store, &board).await,
                    Some(_) => {}
                }
            }
        };
        shutdown.run_until_cancelled(reading).await;
        Ok(())
    });
}

/// The number of the newest entry, as the last look has it.
fn last(view: &View) -> Option<u64> {
    let up = view.found.nats.trouble.is_none();
    let mut streams = view.found.nats.survey.streams.iter().filter(|_| up);
    streams.find(|stream| stream.name == STREAM).map(|stream| stream.last)
}

async fn read(bus: &Bus, number: u64, store: &Store, board: &Board) {
    let since = match bus.trail_since(number, READ_MAX).await {
        Ok(since) => since,
        Err(error) => {
            // Nothing is lost: it is read after the next look.
            warn!(error = service::chain(&error), "the audit trail was not read");
            return;
        }
    };
    let deploys = match since.entries.iter().any(|(_, entry)| is_end(entry)) {
        true => deploys(bus).await,
        false => Vec::new(),
    };
    let of = |entry: &Audit| deploys.iter().find(|deploy| is_end(entry) && deploy.ended_ms == entry.at_ms);
    let news = since.entries.iter().filter_map(|(number, entry)| News::of(*number, entry, of(entry)));
    let news: Vec<News> = news.collect();
    // Together, so that what is read is either still to be read or waits.
    store.change(|kept| {
        kept.trail = Some(since.number);
        for name in board.channels().keys() {
            kept.channels.entry((*name).to_owned()).or_default().waiting.add(&news, unix_ms());
        }
    });
}

/// Whether it says how a deploy ended.
fn is_end(entry: &Audit) -> bool {
    let is_deploy = entry.service == "deployer" && matches!(entry.verb.as_str(), "request" | "rollback");
    is_deploy && entry.result != AuditResult::Begun
}

/// What the deployer knows of deploys that are over. Without it the trail itself must do.
async fn deploys(bus: &Bus) -> Vec<Deploy> {
    let by = env!("CARGO_PKG_NAME").to_owned();
    let order = DeployRequest { v: VERSION, by, order: DeployOrder::History };
    match bus.command(DEPLOYER, &order, LIMIT).await {
        Ok(DeployAnswer { reply: DeployReply::History { deploys }, .. }) => deploys,
        Ok(DeployAnswer { reply, .. }) => {
            debug!(?reply, "the deployer did not say how deploys ended");
            Vec::new()
        }
        Err(error) => {
            debug!(error = service::chain(&error), "the deployer did not say how deploys ended");
            Vec::new()
        }
    }
}
