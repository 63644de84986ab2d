//! Services find each other with the standard protocol.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{ServiceStats, VERSION};
use testkit::Nats;

fn stats(instance: &str) -> ServiceStats {
    ServiceStats {
        v: VERSION,
        service: "command-worker".to_owned(),
        instance: instance.to_owned(),
        build: "0.1.0 (test)".to_owned(),
        uptime_s: 1,
        ready: true,
        reason: String::new(),
        resident_bytes: 1024,
        metrics: BTreeMap::from([("events_total".to_owned(), 3.0)]),
    }
}

#[tokio::test]
async fn every_instance_answers_until_it_is_dropped() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let other = nats.bus("other").await;
    let one = bus.announce("command-worker", || stats("one")).await.unwrap();
    let _two = other.announce("command-worker", || stats("two")).await.unwrap();
    bus.round_trip().await;
    other.round_trip().await;
    let within = Duration::from_secs(2);
    assert_eq!(bus.stats(within).await, [stats("one"), stats("two")]);
    drop(one);
    testkit::eventually(Duration::from_secs(5), || async {
        let seen = bus.stats(within).await;
        if seen == [stats("two")] { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_heard_however_late_and_as_one_to_its_question() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut roll = bus.roll().await.unwrap();
    let _one = bus.announce("command-worker", || stats("one")).await.unwrap();
    bus.round_trip().await;
    for _ in 0..40 {
        roll.ask().await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(5), roll.next()).await.unwrap().unwrap();
        assert_eq!(heard.stats, stats("one"));
        assert!(heard.took.is_some_and(|took| took < Duration::from_secs(5)), "{heard:?}");
    }
}

/// A service that was started again by hand looked like one that had failed.
#[tokio::test]
async fn who_asked_last_hears_the_last_word_and_nobody_takes_it_for_an_answer() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let other = nats.bus("other").await;
    let mut roll = bus.roll().await.unwrap();
    let ready = Arc::new(AtomicBool::new(true));
    let told = ready.clone();
    let stats_now = move || ServiceStats { ready: told.load(Ordering::Relaxed), ..stats("one") };
    let one = other.announce("command-worker", stats_now).await.unwrap();
    other.round_trip().await;
    let next = async |roll: &mut bus::Roll| {
        tokio::time::timeout(Duration::from_secs(30), roll.next()).await.unwrap().unwrap()
    };
    // More often than it remembers.
    for _ in 0..40 {
        roll.ask().await.unwrap();
        assert!(next(&mut roll).await.took.is_some());
    }
    ready.store(false, Ordering::Relaxed);
    drop(one);
    // As at the end of every service.
    other.drain().await;
    let last = next(&mut roll).await;
    assert_eq!((last.took, last.stats), (None, ServiceStats { ready: false, ..stats("one") }));
    assert_eq!(bus.stats(Duration::from_millis(300)).await, []);
}
