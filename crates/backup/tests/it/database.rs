//! SQLite with writers at work, and with what a killed writer left behind.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use protocol::control::BackupOrder;
use rusqlite::Connection;

use crate::world::{SOON, World, restore};

fn rows(database: &Path, query: &str) -> i64 {
    Connection::open(database).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn with_writers_at_load_a_backup_is_one_moment() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    // Two rows in two tables, in one transaction: whoever sees one without the other sees no moment.
    let writer = std::thread::spawn({
        let (database, stop, written) = (world.database(), stop.clone(), written.clone());
        move || {
            let body = "x".repeat(2000);
            while !stop.load(Ordering::Relaxed) {
                let insert = format!(
                    "BEGIN; INSERT INTO people VALUES ('{body}'); INSERT INTO points VALUES (1); COMMIT"
                );
                database.execute_batch(&insert).unwrap();
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    testkit::eventually(SOON, || async {
        let count = written.load(Ordering::Relaxed);
        if count > 500 { Ok(()) } else { Err(count) }
    })
    .await;
    for number in 0..3 {
        let before = written.load(Ordering::Relaxed);
        world.good(BackupOrder::Create).await;
        let into = world.path(&format!("moment-{number}"));
        world.good(restore("latest", Some(&into))).await;
        let copy = into.join("database/sqlite.db");
        let people = rows(&copy, "SELECT count(*) FROM people") - 3;
        assert_eq!(people, rows(&copy, "SELECT count(*) FROM points"));
        assert!(people >= before, "what was committed before is in it: {people} {before}");
        assert!(written.load(Ordering::Relaxed) > before, "the writer was not kept waiting");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    service.stop().await;
}

#[tokio::test]
async fn what_a_killed_writer_left_in_the_log_is_saved_and_does_not_come_back_over_a_restore() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    let writer = world.database();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    writer.execute_batch("INSERT INTO people VALUES ('only in the log')").unwrap();
    // As after a kill: the log beside the database, and nobody has it open.
    let (database, log) = (world.path("bot/vigie.db"), world.path("bot/vigie.db-wal"));
    let killed = (fs::read(&database).unwrap(), fs::read(&log).unwrap());
    drop(writer);
    fs::write(&database, killed.0).unwrap();
    fs::write(&log, &killed.1).unwrap();
    world.good(BackupOrder::Create).await;
    let into = world.path("copy");
    world.good(restore("latest", Some(&into))).await;
    let copy = into.join("database/sqlite.db");
    assert!(!into.join("database/sqlite.db-wal").exists());
    assert_eq!(rows(&copy, "SELECT count(*) FROM people"), 4);

    // More is written, and killed again; the old database comes back without it.
    let writer = world.database();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    writer.execute_batch("INSERT INTO people VALUES ('after the backup')").unwrap();
    let killed = (fs::read(&database).unwrap(), fs::read(&log).unwrap());
    drop(writer);
    fs::write(&database, killed.0).unwrap();
    fs::write(&log, &killed.1).unwrap();
    world.good(restore("latest", None)).await;
    assert_eq!(world.count(), 4);
    service.stop().await;
}

#[tokio::test]
async fn a_torn_database_is_told_and_never_taken_for_a_backup() {
    let world = World::start().await;
    world.people(2000);
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    world.database().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path = world.path("bot/vigie.db");
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[length / 2..length / 2 + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("saving the database"), "{}", end.words);
    assert_eq!(world.list().await.len(), 1);
    // The good one brings it back.
    world.good(restore("latest", None)).await;
    assert_eq!(world.count(), 2003);
    service.stop().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_missed() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    fs::rename(world.path("bot"), world.path("elsewhere")).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("is its disk there?"), "{}", end.words);
    assert_eq!(world.list().await.len(), 1);
    // And brought back to where it was.
    world.good(restore("latest", None)).await;
    assert_eq!(world.count(), 3);
    service.stop().await;
}
