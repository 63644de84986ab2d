//! A NATS that has lost its disk must not be saved over and over until the last backup that holds something is gone.

use std::fs;

use bus::Storage;
use protocol::control::BackupOrder;

use crate::world::{World, restore};

#[tokio::test]
async fn a_stream_that_is_gone_and_a_bucket_that_is_nearly_empty_are_missed() {
    let world = World::start().await;
    let keys = ["one", "two", "three"];
    for key in keys {
        world.set(key).await;
    }
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    for stream in ["KV_settings", "DEAD"] {
        world.bus.remove_stream(stream).await.unwrap();
        let end = world.does(BackupOrder::Create).await;
        assert!(!end.good && end.words.contains(stream), "{}", end.words);
        bus::provision(&world.bus, Storage::File).await.unwrap();
    }
    // A worker puts its catalogue there as soon as it starts.
    world.set("one").await;
    let end = world.does(BackupOrder::Create).await;
    assert!(
        !end.good && end.words.contains("held 3 entries in the last backup, and holds 1 now"),
        "{}",
        end.words
    );
    assert_eq!(world.list().await.len(), 1);
    world.good(restore("latest", None)).await;
    for key in keys {
        assert!(world.has(key).await, "{key}");
    }
    world.good(BackupOrder::Create).await;
    world.bus.remove_stream("KV_settings").await.unwrap();
    bus::provision(&world.bus, Storage::File).await.unwrap();
    assert!(!world.does(BackupOrder::Create).await.good);
    service.stop().await;
    // As it says, for who begins anew on purpose.
    fs::remove_file(world.path("data/backup.json")).unwrap();
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    service.stop().await;
}
