//! Takes deploys step by step, and writes down each step before it begins and after it ended.

use std::{sync::Arc, time::Duration};

use protocol::control::DeployState;
use service::{Component, CounterVec, clock::unix_ms};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    book::Book,
    desk::Desk,
    hands::Hands,
    heir,
    plan::{End, Job, Want, Way},
};

/// After a step of the way back failed, before it is begun again; also between tries to write the journal.
pub const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// How deploys end.
pub const ENDS: [&str; 4] = ["rolled_out", "rolled_back_to", "never_started", "rollback_failed"];

/// Takes deploys as they come, until `shutdown`. What goes on then goes on after the next start.
pub async fn run(
    desk: Arc<Desk>,
    hands: Hands,
    journal: Component,
    ends: CounterVec,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut changes = desk.changes();
    let work = async {
        loop {
            changes.mark_unchanged();
            let book = desk.book();
            match (book.succession.clone(), book.job.clone()) {
                (Some(own), _) => heir::go_on(&desk, &hands, &journal, own).await,
                (None, Some(job)) => step(&desk, &hands, &journal, &ends, job, &book).await,
                (None, None) if book.look => look(&desk, &hands, &journal, &book).await,
                // It cannot end: `desk` lives here.
                (None, None) => drop(changes.changed().await),
            }
        }
    };
    tokio::select! {
        () = work => Ok(()),
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn step(desk: &Desk, hands: &Hands, journal: &Component, ends: &CounterVec, job: Job, book: &Book) {
    let word = job.step.word();
    let back = job.way == Way::Back;
    let begun = write(desk, journal, |book| book.job.as_mut().map_or(Ok(()), Job::begin)).await;
    info!(deploy = job.id, step = word, back, "begins");
    let result = match begun {
        Ok(()) => hands.perform(&job, book).await,
        Err(words) => Err(words),
    };
    let failed = result.is_err();
    if let Err(words) = &result {
        warn!(deploy = job.id, step = word, back, words, "failed");
    }
    let end = write(desk, journal, |book| book.advance(result.clone(), unix_ms())).await;
    desk.note("");
    match end {
        Some(end) => {
            say(&job, &end);
            if let Some(state) = end.state {
                ends.with(word_of(state)).inc();
                hands.tidy(&desk.book()).await;
            }
        }
        None if failed && back => sleep(RETRY_PAUSE.min(hands.pace.limit)).await,
        None => {}
    }
}

/// Whoever hears of pushes was replaced a moment ago, and may have missed one.
async fn look(desk: &Desk, hands: &Hands, journal: &Component, book: &Book) {
    for last in [false, false, true] {
        match hands.newest(book).await {
            Ok(newest) => {
                let want = || Want::Newest { force: false, commit: None };
                let is_new = !book.knows(&newest);
                write(desk, journal, |book| {
                    book.look = false;
                    is_new.then(|| book.accept("deployer".to_owned(), want(), unix_ms()))
                })
                .await;
                return;
            }
            Err(words) if last => {
                warn!(words, "it is not known whether something was pushed during the deploy");
            }
            Err(_) => sleep(RETRY_PAUSE.min(hands.pace.limit)).await,
        }
    }
    write(desk, journal, |book| book.look = false).await;
}

const fn word_of(state: DeployState) -> &'static str {
    match state {
        DeployState::RolledOut => "rolled_out",
        DeployState::RolledBackTo => "rolled_back_to",
        DeployState::NeverStarted => "never_started",
        DeployState::RollbackFailed => "rollback_failed",
    }
}

fn say(job: &Job, end: &End) {
    let (deploy, words) = (&job.id, &end.words);
    match end.state {
        Some(DeployState::RolledBackTo | DeployState::RollbackFailed) => error!(deploy, words, "failed"),
        Some(DeployState::NeverStarted) => warn!(deploy, words, "nothing was changed"),
        Some(DeployState::RolledOut) | None => info!(deploy, words, "done"),
    }
}

/// Nothing goes on until it is written.
pub async fn write<T>(desk: &Desk, journal: &Component, change: impl Fn(&mut Book) -> T) -> T {
    loop {
        match desk.change(&change) {
            Ok(answer) => {
                journal.up();
                return answer;
            }
            Err(error) => journal.down(service::chain(&error)),
        }
        sleep(RETRY_PAUSE).await;
    }
}
