//! The clock: what is due, what was missed, and jumps.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use backup::Timetable;
use protocol::control::{BackupOrder, Job};
use testkit::eventually;

use crate::world::{SOON, World};

const HOUR: u64 = 3_600_000;
/// 2026-11-22T00:00:00Z
const START: u64 = 1_795_305_600_000;

/// One clock for each test, which each run in their own process or share it.
static NOW: AtomicU64 = AtomicU64::new(START);
static NIGHT: AtomicU64 = AtomicU64::new(START);

fn now() -> u64 {
    NOW.load(Ordering::Relaxed)
}

fn night() -> u64 {
    NIGHT.load(Ordering::Relaxed)
}

async fn backups(world: &World, count: usize) {
    eventually(SOON, || async {
        let found = world.list().await.len();
        let over = world.status().await.job.is_none_or(|job| job.end.is_some());
        if found == count && over { Ok(()) } else { Err((found, over)) }
    })
    .await;
}

#[tokio::test]
async fn backups_and_drills_are_made_when_they_are_due_whatever_the_clock_does() {
    let world = World::start().await;
    let config = || {
        let mut config = world.config(false);
        config.clock = now;
        config.schedule = Timetable::read("30 3 * * *").unwrap();
        config.drill = Timetable::read("30 4 * * *").unwrap();
        config
    };
    let service = world.serve(config()).await;
    assert_eq!(world.status().await.next_ms, Some(START + 3 * HOUR + HOUR / 2));
    NOW.store(START + 4 * HOUR, Ordering::Relaxed);
    backups(&world, 1).await;
    NOW.store(START + 5 * HOUR, Ordering::Relaxed);
    let drill = eventually(SOON, || async {
        let status = world.status().await;
        status.drill.clone().ok_or(status)
    })
    .await;
    assert!(drill.good, "{}", drill.words);
    service.stop().await;

    // Three nights without power: one backup, at the start.
    NOW.store(START + 77 * HOUR, Ordering::Relaxed);
    let service = world.serve(config()).await;
    backups(&world, 2).await;
    // A Pi without a clock of its own begins long ago; what is made then is the newest all the same.
    NOW.store(HOUR, Ordering::Relaxed);
    world.good(BackupOrder::Create).await;
    let listed = world.list().await;
    assert_eq!((listed.len(), listed[0].at_ms), (3, HOUR));
    let words = world.good(BackupOrder::Drill).await;
    assert!(words.starts_with(&listed[0].id), "{words}");
    // The service has looked at that clock, before it is put right.
    eventually(SOON, || async {
        let next = world.status().await.next_ms;
        if next == Some(3 * HOUR + HOUR / 2) { Ok(()) } else { Err(next) }
    })
    .await;
    NOW.store(START + 78 * HOUR, Ordering::Relaxed);
    // Not counted: the drill that is due as well is followed by a prune.
    eventually(SOON, || async {
        let listed = world.list().await;
        let over = world.status().await.job.is_none_or(|job| job.end.is_some());
        if listed[0].at_ms == now() && over { Ok(()) } else { Err((listed, over)) }
    })
    .await;
    service.stop().await;

    // A power cut in the midst of the one of tonight: it is tried again, though it was due before.
    let path = world.path("data/backup.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    kept["job"] = serde_json::json!({
        "id": "create-1", "verb": "create", "by": "schedule", "step": "database", "done": 0, "total": null,
        "began_ms": 1, "end": null,
    });
    kept["created_at_ms"] = now().into();
    std::fs::write(&path, kept.to_string()).unwrap();
    let service = world.serve(config()).await;
    eventually(SOON, || async {
        let listed = world.list().await;
        if listed[0].id.ends_with("-2") { Ok(()) } else { Err(listed) }
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_and_fails_takes_no_try_away_from_what_was_due() {
    let world = World::start().await;
    let mut config = world.config(false);
    config.clock = night;
    config.schedule = Timetable::read("30 3 * * *").unwrap();
    config.tick = Duration::from_millis(100);
    let service = world.serve(config).await;
    world.good(BackupOrder::Create).await;
    // Its disk is not there.
    std::fs::rename(world.path("bot"), world.path("elsewhere")).unwrap();
    NIGHT.store(START + 4 * HOUR, Ordering::Relaxed);
    eventually(SOON, || async {
        let job = world.status().await.job;
        let failed = |job: &Job| job.by == "schedule" && job.end.as_ref().is_some_and(|end| !end.good);
        if job.as_ref().is_some_and(failed) { Ok(()) } else { Err(job) }
    })
    .await;
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good, "{}", end.words);
    std::fs::rename(world.path("elsewhere"), world.path("bot")).unwrap();
    backups(&world, 2).await;
    service.stop().await;
}
