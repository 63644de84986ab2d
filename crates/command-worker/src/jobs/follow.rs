//! Looking how orders go, and telling whoever gave them: by one worker at a time, bounded in time and number.

use std::{collections::BTreeMap, time::Duration};

use bus::BucketError;
use commands::{Look, Office};
use protocol::{ACTION_LIFE_MS, Action, COMMAND_LIFE_MS};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    jobs::{
        KEY,
        page::{Followed, Page},
        stand::{Seen, Stand},
    },
    worker::Worker,
};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(1_500);
/// How often a message is changed at most: Discord lets five changes in as many seconds through, to all of a channel
/// (<https://discord.com/developers/docs/topics/rate-limits>).
const CHANGE_EVERY_MS: u64 = 2_500;
/// How long a worker is taken for the one that follows, after it said so last. What it says meanwhile is of no use later.
const HOLD_MS: u64 = 12_000;
/// Looked at for so long while nothing of it changes: a build on a Raspberry Pi says nothing new for three hours.
const QUIET_LIMIT: Duration = Duration::from_secs(3 * 3600 + 300);
/// Looked at for so long in all: a build, a backup before it that waits for another (1 h 15), and the rest of a deploy, there
/// and back. What takes longer is asked for by a person.
const FOLLOW_LIMIT: Duration = Duration::from_secs(5 * 3600);
/// After so long an order of which nobody noted what the service calls it is given up.
const LOST_LIMIT: Duration = Duration::from_secs(30 * 60);
/// After so long whoever gave an order in chat has noted what the service calls it, or never will.
const NOTED_MS: u64 = 10_000;
/// How long after it was asked the message that shows it may be unknown: it lives no longer unsent.
const MESSAGE_LIMIT_MS: u64 = ACTION_LIFE_MS + 5_000;
/// How long the end may take to be said: a gateway may be replaced meanwhile.
const END_LIFE_MS: u64 = 10 * 60 * 1000;
/// How long the last of it may take at a shutdown.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Follows until the shutdown, whenever no other worker does.
pub async fn follow(worker: &Worker, shutdown: &CancellationToken) {
    let mut pages = worker.jobs.bucket.watch::<Page>(KEY);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let open = worker.jobs.seen().is_open();
        tokio::select! {
            () = shutdown.cancelled() => break,
            page = pages.next() => *worker.jobs.seen() = page.unwrap_or_default(),
            _ = looks.tick(), if open => look_round(worker).await,
        }
    }
    let me = worker.instance();
    if worker.jobs.seen().holder == me {
        // The next one goes on at once.
        let release = worker.jobs.change(|page| {
            if page.holder == me {
                page.holder.clear();
            }
        });
        if !matches!(timeout(RELEASE_LIMIT, release).await, Ok(Ok(()))) {
            warn!("who looks after orders was not said; the next one does in some seconds");
        }
    }
}

async fn look_round(worker: &Worker) {
    if !worker.jobs.seen().is_free_for(worker.instance(), service::clock::unix_ms()) {
        return;
    }
    match round(worker).await {
        // Another one was faster, or an order came: next time.
        Ok(()) | Err(BucketError::Changed { .. }) => {}
        Err(error) => warn!(error = service::chain(&error), "how orders go was not looked at"),
    }
}

/// Looks at all of them once, and tells what is new.
async fn round(worker: &Worker) -> Result<(), BucketError> {
    let (mut page, revision) = worker.jobs.read().await?;
    let now_ms = service::clock::unix_ms();
    if !page.is_free_for(worker.instance(), now_ms) {
        *worker.jobs.seen() = page;
        return Ok(());
    }
    let (before, until_ms) = (page.clone(), now_ms + HOLD_MS);
    let seen = ask(worker, &page).await;
    let mut changes = Vec::new();
    find_lost(&mut page, &seen, now_ms);
    for one in page.jobs.iter_mut().filter(|one| !one.over) {
        if let Some(end) = one.end.clone() {
            one.over = told(worker, one, &end, now_ms).await;
        } else if let Some(stand) = stand(one, &seen, now_ms) {
            changes.extend(show(one, stand, now_ms, until_ms));
        }
    }
    if page == before && page.holder == worker.instance() && page.until_ms >= now_ms + HOLD_MS / 2 {
        return Ok(());
    }
    worker.instance().clone_into(&mut page.holder);
    page.until_ms = until_ms;
    // First on the page, then said: who was overtaken meanwhile says nothing.
    worker.jobs.write(page, revision).await?;
    for change in &changes {
        say(worker, change).await;
    }
    Ok(())
}

/// What the services say of what is followed; without those that do not answer.
async fn ask(worker: &Worker, page: &Page) -> BTreeMap<Office, Seen> {
    let mut seen = BTreeMap::new();
    for office in [Office::Deploy, Office::Backup] {
        let followed =
            page.jobs.iter().filter(|one| one.order.office() == office && !one.over && one.end.is_none());
        // Of one without a name the service has to say all that it knows.
        let jobs: Vec<&str> = followed.map(|one| one.job.as_deref().unwrap_or_default()).collect();
        if jobs.is_empty() {
            continue;
        }
        // A deploy may start it again: it answers later.
        if let Ok(said) = Seen::ask(&worker.bus, office, &jobs).await {
            seen.insert(office, said);
        }
    }
    seen
}

/// Finds what the services call orders of which it was not noted: whoever gave them died, or was cut off.
fn find_lost(page: &mut Page, seen: &BTreeMap<Office, Seen>, now_ms: u64) {
    let mut noted: Vec<String> = page.jobs.iter().filter_map(|one| one.job.clone()).collect();
    for one in page.jobs.iter_mut().filter(|one| !one.over && one.job.is_none()) {
        let age_ms = now_ms.saturating_sub(one.asked_ms);
        let seen = seen.get(&one.order.office());
        if let Some(job) = seen.filter(|_| age_ms > NOTED_MS).and_then(|seen| seen.name_of(one, &noted)) {
            one.job = Some(job.to_owned());
            noted.push(job.to_owned());
        } else {
            // It was not given, and its event does not come again. What is at another one may begin it after that.
            let is_known = age_ms > COMMAND_LIFE_MS && seen.is_some_and(|seen| !seen.is_busy());
            one.over = is_known || Duration::from_millis(age_ms) > LOST_LIMIT;
        }
    }
}

fn stand(one: &Followed, seen: &BTreeMap<Office, Seen>, now_ms: u64) -> Option<Stand> {
    let job = one.job.as_ref()?;
    let since = |then_ms: u64| Duration::from_millis(now_ms.saturating_sub(then_ms));
    let after = since(one.asked_ms);
    if after > FOLLOW_LIMIT || since(one.asked_ms.max(one.changed_ms)) > QUIET_LIMIT {
        return Some(Stand::Over(one.words().look(job, Look::GivenUp { after })));
    }
    Some(seen.get(&one.order.office())?.stand(one, job))
}

/// Notes how it stands, also where no message shows it; the change that does, if one is due.
fn show(one: &mut Followed, stand: Stand, now_ms: u64, until_ms: u64) -> Option<Action> {
    let text = match stand {
        Stand::Unknown => return None,
        Stand::Over(end) => {
            one.end = Some(end);
            return None;
        }
        Stand::Waits(text) => text,
        Stand::GoesOn(text) => {
            one.begun = true;
            text
        }
    };
    if is_awaited(one, now_ms) || text == one.shown || now_ms < one.changed_ms + CHANGE_EVERY_MS {
        return None;
    }
    one.shown = text;
    one.changed_ms = now_ms;
    // A worker that is stopped here and goes on later must not put this over what another one has said.
    let change = one.change(until_ms)?;
    one.changes += 1;
    Some(change)
}

/// Whether the message that shows it may still get known.
fn is_awaited(one: &Followed, now_ms: u64) -> bool {
    // What was changed once was known, and is gone.
    let is_unknown = one.changes_messages() && one.message.is_none() && one.changes == 0 && !one.again;
    is_unknown && now_ms.saturating_sub(one.asked_ms) < MESSAGE_LIMIT_MS
}

/// Tells the end, which is on the page; whether nothing is left to be done.
async fn told(worker: &Worker, one: &Followed, end: &str, now_ms: u64) -> bool {
    !is_awaited(one, now_ms) && say(worker, &one.last(end, now_ms + END_LIFE_MS)).await
}

async fn say(worker: &Worker, action: &Action) -> bool {
    let span = tracing::info_span!("worker.follow", otel.kind = "internal", event_id = %action.cause);
    let trace = service::trace::start(&span);
    match worker.publish(action, &trace).await {
        Ok(()) => true,
        Err(error) => {
            warn!(action = %action.id, error = &*error, "how an order goes was not said");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{MessageId, Platform, control::Job};

    use super::*;
    use crate::jobs::page::tests::followed;

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn order(platform: Platform) -> Followed {
        let message = (platform == Platform::Discord).then(|| MessageId::from(100_u64));
        Followed { job: Some("job-1".to_owned()), message, platform, ..followed(1) }
    }

    /// What the service says of it.
    fn seen(step: &str) -> BTreeMap<Office, Seen> {
        let (verb, by, step) = ("create".to_owned(), "discord:5".to_owned(), step.to_owned());
        let job =
            Job { id: "job-1".to_owned(), verb, by, step, done: 1, total: Some(10), began_ms: 1, end: None };
        [(Office::Backup, Seen { job: Some(job), ..Seen::default() })].into()
    }

    fn given_up(one: &Followed, step: &str, now_ms: u64) -> Option<String> {
        match stand(one, &seen(step), now_ms) {
            Some(Stand::GoesOn(_)) => None,
            Some(Stand::Over(text)) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    /// A build took longer than half an hour, and whoever asked for it was never told how it ended.
    #[test]
    fn it_is_looked_for_as_long_as_a_build_says_nothing_new_and_not_for_ever() {
        for platform in [Platform::Discord, Platform::Twitch] {
            let mut one = order(platform);
            assert_eq!(given_up(&one, "fetch", 3 * HOUR_MS), None);
            let text = given_up(&one, "fetch", 3 * HOUR_MS + 6 * MINUTE_MS).unwrap();
            assert!(text.contains("still goes on after 3 h 5 min"), "{text}");
            // What is new is noted also where no message shows it.
            let at_ms = 3 * HOUR_MS;
            let change = show(&mut one, Stand::GoesOn("the workers".to_owned()), at_ms, at_ms);
            assert_eq!((change.is_some(), one.changed_ms), (platform == Platform::Discord, at_ms));
            assert_eq!(given_up(&one, "workers", 5 * HOUR_MS), None);
            assert!(given_up(&one, "workers", 5 * HOUR_MS + MINUTE_MS).is_some());
        }
    }

    #[test]
    fn what_a_message_that_is_not_known_yet_is_to_show_is_not_taken_for_shown() {
        let mut one = Followed { message: None, ..order(Platform::Discord) };
        assert!(show(&mut one, Stand::GoesOn("look".to_owned()), 3_000, 9_000).is_none());
        assert_eq!(one.shown, "");
        one.message = Some(MessageId::from(100_u64));
        assert!(show(&mut one, Stand::GoesOn("look".to_owned()), 4_000, 9_000).is_some());
    }
}
