//! What is asked over NATS, and what is told.

use bus::User;
use protocol::control::{AuditResult, BackupOrder, BackupStatus};
use testkit::Nats;

use crate::{
    programs,
    world::{SOON, World, restore},
};

#[tokio::test]
async fn with_its_own_rights_it_saves_lists_verifies_proves_and_restores() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let operator = nats.bus_as(User::Operator, "operator").await;
    let restic = programs::restic();
    let world = World::of(nats, operator);
    let mut config = world.config(restic);
    config.nats.nkey = world.nats.login(User::Backup).nkey;
    config.export = Some(world.path("export"));
    let service = world.serve(config).await;

    let words = world.good(BackupOrder::Create).await;
    assert!(words.contains("database, folder:gitea") && words.contains("streams"), "{words}");
    let backups = world.list().await;
    assert_eq!(backups.len(), 1);
    assert!(backups[0].proved_ms.is_none() && backups[0].bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(backups[0].parts.contains(&"settings".to_owned()), restic);
    world.good(BackupOrder::Verify).await;
    let words = world.good(BackupOrder::Drill).await;
    assert!(words.contains("came back whole") && words.contains("3 rows"), "{words}");
    assert!(world.list().await[0].proved_ms.is_some());
    let words = world.good(restore("latest", None)).await;
    assert!(words.contains("came back whole"), "{words}");
    world.is_tidy();

    let metrics = service.context.metrics.text();
    for line in ["vigie_backup_last_good 1.0\n", "vigie_backup_drill_good 1.0\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(metrics.contains("vigie_backup_jobs_total{end=\"good\"} 4\n"), "{metrics}");
    // Each was begun and done, the newest first, on behalf of who asked.
    let trail = testkit::eventually(SOON, || async {
        let trail = world.bus.trail(100).await.unwrap();
        if trail.len() == 8 { Ok(trail) } else { Err(trail) }
    })
    .await;
    assert!(trail.iter().all(|entry| entry.by == "test" && entry.service == "backup"));
    assert_eq!(trail[0].verb, "restore");
    assert_eq!(trail.iter().filter(|entry| entry.result == AuditResult::Done).count(), 4);
    service.stop().await;
}

#[tokio::test]
async fn two_jobs_at_a_time_are_one_or_refused() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    // A writer that holds the database locks nobody out in WAL, so a lock on the whole of it is taken.
    let database = world.database();
    database.execute_batch("PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE").unwrap();
    let first = world.order(BackupOrder::Create).await.unwrap();
    assert_eq!(world.order(BackupOrder::Create).await.unwrap(), first);
    let refused = world.order(BackupOrder::Drill).await.unwrap_err();
    assert!(refused.contains("create is running"), "{refused}");
    database.execute_batch("COMMIT").unwrap();
    assert!(world.end_of(&first).await.good);
    assert!(world.status().await.good_ms.is_some());
    service.stop().await;
}

#[tokio::test]
async fn without_a_place_for_backups_it_is_off_and_says_so() {
    let world = World::start().await;
    let mut config = world.config(false);
    config.export = None;
    let service = world.serve(config).await;
    let refused = world.order(BackupOrder::Create).await.unwrap_err();
    assert!(refused.contains("BACKUP_REPOSITORY"), "{refused}");
    let refused = world.order(BackupOrder::List).await.unwrap_err();
    assert!(refused.contains("backups are off"), "no list is not an empty one: {refused}");
    assert_eq!(world.status().await, BackupStatus::default(), "there is nothing to watch");
    assert!(service.context.health.readiness().ready);
    service.stop().await;
}

#[tokio::test]
async fn a_second_one_in_the_same_folder_does_not_start() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    let context = service::Context::new("backup");
    let error = backup::run(context, world.config(false)).await.unwrap_err();
    assert!(format!("{error:#}").contains("another backup uses"), "{error:#}");
    service.stop().await;
}
