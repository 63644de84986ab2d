//! Provisioning is safe to repeat, and old servers and missing streams are named.

use bus::{Bus, Options, Storage, Stream, backlogs, provision};
use testkit::Nats;

#[tokio::test]
async fn provisioning_again_and_at_once_changes_nothing() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let (one, two) = tokio::join!(provision(&bus, Storage::File), provision(&bus, Storage::File));
    one.unwrap();
    two.unwrap();
    let streams: Vec<_> = backlogs(&bus).await.into_iter().map(|backlog| backlog.stream).collect();
    assert_eq!(streams, ["EVENTS", "CHATTER", "ACTIONS_DISCORD", "ACTIONS_TWITCH", "DEAD"]);
}

#[tokio::test]
async fn a_missing_stream_is_named_with_what_to_do() {
    let nats = Nats::start().await;
    let bus = Bus::connect(Options { url: nats.url(), name: "test".to_owned() }).await.unwrap();
    let error = bus.consume(Stream::Events, "commands", 1).await.unwrap_err();
    assert_eq!(error.to_string(), "the consumer commands of EVENTS is not there: has `vigie provision` run?");
}
