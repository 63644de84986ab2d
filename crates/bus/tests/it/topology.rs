//! Provisioning is safe to repeat, and old servers and missing streams are named.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use bus::{BucketName, Bus, Options, Queue, Storage, Stream, backlogs, provision};
use protocol::Platform;
use testkit::Nats;
use tokio::time::timeout;

use crate::message;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);
/// All streams and buckets: work queues, dead letters, holds and the audit trail among them.
const EVERYTHING: usize = Stream::ALL.len() + BucketName::ALL.len() + 3;

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
    let error = bus.consume(Stream::Events, "community", 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the consumer community of EVENTS is not there: has `vigie provision` run?"
    );
    let error = bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap_err();
    assert!(error.to_string().starts_with("the consumer commands-3- of EVENTS is not there"), "{error}");
}

#[tokio::test]
async fn what_another_version_took_by_gives_way_and_what_is_owned_stays() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let old = pull::Config {
        durable_name: Some("commands".to_owned()),
        filter_subject: "event.*.*.command.>".to_owned(),
        ..pull::Config::default()
    };
    stream.create_consumer(old).await.unwrap();
    assert!(bus.take_over(Queue::Commands, 3, 1, || true).await.is_err(), "it is in the way");
    provision(&bus, Storage::File).await.unwrap();
    let mut commands = bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap();
    provision(&bus, Storage::File).await.unwrap();
    bus.store(&message("event.discord.1.command.3", "a")).await.unwrap();
    assert_eq!(timeout(SOON, commands.next()).await.expect("it is still there").attempt, 1);
}

#[tokio::test]
async fn a_consumer_that_keeps_its_state_on_disk_is_made_anew_and_loses_no_message() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.delete_consumer("community").await.unwrap();
    let on_disk = pull::Config {
        durable_name: Some("community".to_owned()),
        filter_subject: "event.*.*.raid".to_owned(),
        ..pull::Config::default()
    };
    stream.create_consumer(on_disk).await.unwrap();
    bus.store(&message("event.discord.1.raid", "a")).await.unwrap();
    provision(&bus, Storage::File).await.unwrap();
    let community = stream.consumer_info("community").await.unwrap();
    assert!(community.config.memory_storage);
    assert_eq!(bus::missing(&bus).await, [""; 0]);
    let mut community = bus.consume(Stream::Events, "community", 1).await.unwrap();
    timeout(SOON, community.next()).await.expect("it is still there").ack_sync().await.unwrap();
    stream.delete_consumer("community").await.unwrap();
    jetstream.delete_stream("DEAD").await.unwrap();
    assert_eq!(bus::missing(&bus).await, ["consumers of EVENTS", "DEAD"]);
    provision(&bus, Storage::File).await.unwrap();
    assert_eq!(bus::missing(&bus).await, [""; 0]);
}

#[tokio::test]
async fn a_survey_shows_what_waits_for_whom() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let empty = bus.survey().await.unwrap();
    assert_eq!((empty.streams.len(), empty.missing.len()), (EVERYTHING, 0), "{empty:?}");
    assert!(empty.streams.iter().all(|stream| stream.oldest.is_zero() || stream.messages > 0), "{empty:?}");
    for n in 0..3 {
        bus.store(&message("action.discord.3.1", &n.to_string())).await.unwrap();
    }
    bus.store(&message("event.twitch.1.raid", "raid")).await.unwrap();
    let queue = Queue::Actions(Platform::Discord);
    let mut owner = bus.take_over(queue, 3, 1, || true).await.unwrap();
    let held = owner.next().await;
    let survey = bus.survey().await.unwrap();
    let stream = survey.streams.iter().find(|stream| stream.name == "ACTIONS_DISCORD").unwrap();
    assert_eq!((stream.messages, stream.last), (3, 3));
    assert!(stream.limit_bytes.is_some_and(|limit| limit > stream.bytes), "{stream:?}");
    let queue = |name| survey.queues.iter().find(|queue| queue.name == name).unwrap();
    let actions = queue("actions_discord");
    assert_eq!((actions.consumers, actions.ack_pending + actions.pending), (1, 3), "{actions:?}");
    assert_eq!((queue("community").consumers, queue("community").pending), (1, 1));
    assert_eq!((queue("actions_twitch").consumers, queue("commands").consumers), (0, 0));
    drop(held);
    assert!(bus.round_trip_time().await.is_some());
}

#[tokio::test]
async fn a_survey_names_what_is_missing() {
    let nats = Nats::start().await;
    let options = Options { url: nats.url(), name: "test".to_owned() };
    let bus = Bus::connect(options).await.unwrap();
    let survey = bus.survey().await.unwrap();
    assert_eq!((survey.streams.len(), survey.missing.len()), (0, EVERYTHING), "{survey:?}");
}
