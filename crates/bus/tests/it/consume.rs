//! Stored once, taken by one, back again when it was not acknowledged.

use std::time::Duration;

use bus::Stream;
use protocol::Catalogue;
use testkit::{Nats, eventually};

use crate::message;

const SUBJECT: &str = "event.discord.1.command";

#[tokio::test]
async fn an_id_is_stored_once_and_an_acknowledged_message_never_comes_again() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "a").trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
        .await
        .unwrap();
    bus.store(&message(SUBJECT, "a")).await.unwrap();
    bus.store(&message(SUBJECT, "b")).await.unwrap();
    let mut commands = bus.consume(Stream::Events, "commands", 4).await.unwrap();
    let first = commands.next().await;
    assert_eq!(first.decode::<Catalogue>().unwrap(), crate::payload());
    assert_eq!(first.trace.as_deref(), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    first.ack_sync().await.unwrap();
    let second = commands.next().await;
    second.ack_sync().await.unwrap();
    assert_eq!((first.attempt, second.attempt), (1, 1));

    nats.kill();
    nats.resume().await;
    bus.store(&message(SUBJECT, "c")).await.unwrap();
    let third = commands.next().await;
    assert_eq!(third.attempt, 1);
    assert_eq!(third.subject, SUBJECT);
    third.ack_sync().await.unwrap();
    eventually(Duration::from_secs(5), || async {
        let events = bus::backlogs(&bus).await.remove(0);
        if events.messages == 0 { Ok(()) } else { Err(events) }
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_comes_again_and_what_was_buried_is_a_dead_letter() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "poison")).await.unwrap();
    let mut commands = bus.consume(Stream::Events, "commands", 1).await.unwrap();
    let first = commands.next().await;
    first.retry_in(Duration::from_millis(20)).await;
    let again = commands.next().await;
    assert_eq!(again.attempt, 2);
    again.bury("it broke\r\ntwice").await.unwrap();
    let left = eventually(Duration::from_secs(5), || async {
        let left = bus::backlogs(&bus).await;
        let count = |name: &str| left.iter().find(|it| it.stream == name).map_or(0, |it| it.messages);
        if (count("EVENTS"), count("DEAD")) == (0, 1) { Ok(left) } else { Err(left) }
    })
    .await;
    assert_eq!(left.len(), 5);
}
