//! Streams and buckets as files, and back, across the accounts.

use std::path::Path;

use bus::{BucketName, Bus, Cut, SAVED, SnapshotError, User};
use protocol::Catalogue;
use testkit::Nats;
use tokio::fs::File;

use crate::{message, payload};

async fn save(bus: &Bus, name: &str, folder: &Path) -> Cut {
    let mut file = File::create(folder.join(name)).await.unwrap();
    let cut = bus.save_stream(name, &mut file).await.unwrap();
    file.sync_all().await.unwrap();
    cut
}

async fn put_back(bus: &Bus, name: &str, cut: &Cut, folder: &Path) -> Result<u64, SnapshotError> {
    let mut file = File::open(folder.join(name)).await.unwrap();
    bus.put_stream_back(name, cut, &mut file).await
}

#[tokio::test]
async fn with_its_own_rights_backup_saves_all_and_puts_back_what_lasts() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    let worker = nats.bus_as(User::CommandWorker, "worker").await;
    let backup = nats.bus_as(User::Backup, "backup").await;
    // More than the server sends at once.
    for number in 0..200 {
        let id = format!("{number}-{}", "x".repeat(20_000));
        gateway.store(&message("event.discord.1.raid", &id)).await.unwrap();
    }
    let settings = worker.bucket(BucketName::Settings).await.unwrap();
    settings.put("catalogue", &payload()).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut cuts = Vec::new();
    for saved in SAVED {
        assert!(backup.can_be_saved(saved.name).await.unwrap(), "{}", saved.name);
        let cut = save(&backup, saved.name, folder.path()).await;
        cuts.push((saved, cut));
    }
    assert_eq!(cuts[0].1.messages(), 200);
    for (saved, cut) in cuts.iter().filter(|(saved, _)| saved.lasting) {
        // What is there is not overwritten.
        let there = put_back(&backup, saved.name, cut, folder.path()).await;
        assert!(matches!(there, Err(SnapshotError::Refused { .. })), "{there:?}");
        backup.remove_stream(saved.name).await.unwrap();
        assert_eq!(backup.stream_now(saved.name).await.unwrap(), None);
        backup.remove_stream(saved.name).await.unwrap();
        assert_eq!(put_back(&backup, saved.name, cut, folder.path()).await.unwrap(), cut.messages());
        let now = backup.stream_now(saved.name).await.unwrap().unwrap();
        assert_eq!((now.messages(), now.began()), (cut.messages(), cut.began()), "{}", saved.name);
    }
    let catalogue = settings.entry::<Catalogue>("catalogue").await.unwrap();
    assert_eq!(catalogue.map(|entry| entry.value), Some(payload()));
    backup.round_trip().await;
    assert_eq!(backup.refused(), 0);
    // What only passes is not its to remove.
    assert!(backup.remove_stream("EVENTS").await.is_err());
    assert!(gateway.stream_now("EVENTS").await.is_err());
}

#[tokio::test]
async fn a_torn_snapshot_becomes_no_stream() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for number in 0..50 {
        bus.store(&message("event.discord.1.raid", &format!("{number}-{}", "x".repeat(9000)))).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let cut = save(&bus, "EVENTS", folder.path()).await;
    bus.remove_stream("EVENTS").await.unwrap();
    let path = folder.path().join("EVENTS");
    let bytes = std::fs::read(&path).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for torn in [bytes[..bytes.len() / 2].to_vec(), flipped, Vec::new()] {
        std::fs::write(&path, torn).unwrap();
        assert!(put_back(&bus, "EVENTS", &cut, folder.path()).await.is_err());
        assert_eq!(bus.stream_now("EVENTS").await.unwrap(), None);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(put_back(&bus, "EVENTS", &cut, folder.path()).await.unwrap(), 50);
}

#[tokio::test]
async fn what_is_in_memory_or_not_there_is_told_apart_from_what_can_be_saved() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    assert!(!bus.can_be_saved("ONCE").await.unwrap());
    assert!(!bus.can_be_saved("NOTHING").await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("x")).await.unwrap();
    let refused = bus.save_stream("NOTHING", &mut file).await;
    assert!(matches!(refused, Err(SnapshotError::Refused { .. })), "{refused:?}");
}
