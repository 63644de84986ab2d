//! Stored once, taken by one, back again when it was not acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Bus, Confirmed, Consumer, Delivery, Options, Queue, Stream};
use protocol::Catalogue;
use testkit::{Nats, Proxy, eventually};
use tokio::{sync::watch, time::timeout};

use crate::message;

const SUBJECT: &str = "event.discord.1.command.3";
/// Far below the time after which an unacknowledged message comes again by itself, 8 s.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Where it deleted a consumer between two requests, NATS says nothing, and its silence is noticed.
const NOTICED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_id_is_stored_once_and_an_acknowledged_message_never_comes_again() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "a").trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
        .await
        .unwrap();
    bus.store(&message(SUBJECT, "a")).await.unwrap();
    bus.store(&message(SUBJECT, "b")).await.unwrap();
    let mut commands = take_over(&bus, 4).await;
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
async fn what_was_buried_is_a_dead_letter() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "poison")).await.unwrap();
    take_over(&bus, 1).await.next().await.bury("it broke\r\ntwice").await.unwrap();
    let left = eventually(Duration::from_secs(5), || async {
        let left = bus::backlogs(&bus).await;
        let count = |name: &str| left.iter().find(|it| it.stream == name).map_or(0, |it| it.messages);
        if (count("EVENTS"), count("DEAD")) == (0, 1) { Ok(left) } else { Err(left) }
    })
    .await;
    assert_eq!(left.len(), 5);
}

/// A message that says by its subject which one it is.
async fn store(bus: &Bus, number: u64) {
    bus.store(&message(&format!("event.discord.{number}.command.3"), &number.to_string())).await.unwrap();
}

fn number(delivery: &Delivery) -> u64 {
    delivery.subject.split('.').nth(2).unwrap().parse().unwrap()
}

async fn take_over(bus: &Bus, in_flight: usize) -> Consumer {
    bus.take_over(Queue::Commands, 3, in_flight, || true).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(AT_ONCE, consumer.next()).await.expect("a message comes at once")
}

async fn left(bus: &Bus, expected: u64) {
    eventually(AT_ONCE, || async {
        let left = bus::backlogs(bus).await.remove(0).messages;
        if left == expected { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_over_gets_all_at_once_and_in_order() {
    const ROUNDS: usize = 200;
    let nats = Nats::start().await;
    let mut owners = [nats.bus("one").await, nats.bus("other").await];
    // Stores up to so many: sometimes more than are taken ahead, sometimes just while it passes on.
    let (wanted, mut want) = watch::channel(0);
    let publisher = nats.bus("publisher").await;
    let publishing = tokio::spawn(async move {
        let mut stored = 0;
        while want.wait_for(|wanted| *wanted > stored).await.is_ok() {
            stored += 1;
            store(&publisher, stored).await;
        }
    });
    let mut done = 0;
    // The owner before says that all is done which it had.
    let mut before = Vec::<Delivery>::new();
    for _ in 0..ROUNDS {
        let taken = fastrand::u64(1..24);
        wanted.send_replace(done + taken + fastrand::u64(0..40));
        let mut consumer = take_over(&owners[0], fastrand::usize(1..24)).await;
        for delivery in before.drain(..) {
            delivery.ack().await;
        }
        let mut held = Vec::new();
        for n in 1..=taken {
            let delivery = next(&mut consumer).await;
            assert_eq!((number(&delivery), delivery.attempt), (done + n, 1));
            held.push(delivery);
        }
        let kept = fastrand::usize(0..=held.len());
        for delivery in held.drain(..kept) {
            delivery.ack().await;
            done += 1;
        }
        consumer.close().await;
        before = held;
        owners.reverse();
    }
    publishing.abort();
}

#[tokio::test]
async fn who_has_lost_a_message_is_not_told_that_it_is_done() {
    let nats = Nats::start().await;
    let (bus, other) = (nats.bus("test").await, nats.bus("other").await);
    store(&bus, 1).await;
    let mut one = take_over(&bus, 4).await;
    let lost = next(&mut one).await;
    let mut two = take_over(&other, 4).await;
    assert!(lost.ack_sync().await.is_err());
    let delivery = next(&mut two).await;
    assert_eq!((number(&delivery), delivery.attempt), (1, 2));
    assert!(lost.ack_sync().await.is_err());
    assert_eq!(delivery.ack_sync().await.unwrap(), Confirmed::Done);
    assert_eq!(lost.ack_sync().await.unwrap(), Confirmed::Gone);
    left(&bus, 0).await;
}

#[tokio::test]
async fn what_may_not_be_had_is_not_taken_over() {
    let nats = Nats::start().await;
    let (bus, other) = (nats.bus("test").await, nats.bus("other").await);
    let may = Arc::new(AtomicBool::new(true));
    let asked = may.clone();
    let mut one = bus.take_over(Queue::Commands, 3, 4, move || asked.load(Ordering::Relaxed)).await.unwrap();
    let mut two = take_over(&other, 4).await;
    may.store(false, Ordering::Relaxed);
    // It notices that its consumer is gone, and does not take it back.
    assert!(timeout(Duration::from_millis(700), one.next()).await.is_err());
    assert!(!*one.attached().borrow());
    store(&bus, 1).await;
    assert_eq!(number(&next(&mut two).await), 1);
    may.store(true, Ordering::Relaxed);
    let delivery = next(&mut one).await;
    assert_eq!((number(&delivery), delivery.attempt), (1, 2));
}

#[tokio::test]
async fn after_a_cut_it_goes_on_at_once_and_gives_nothing_twice_that_is_held() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let proxy = Proxy::start(nats.url().strip_prefix("nats://").unwrap()).await;
    let options = Options { url: format!("nats://{}", proxy.address()), name: "cut".to_owned() };
    let cut = Bus::connect(options).await.unwrap();
    let mut consumer = take_over(&cut, 4).await;
    let mut attached = consumer.attached();
    assert!(*attached.borrow_and_update());
    for round in 0..3 {
        let (held, after) = (round * 2 + 1, round * 2 + 2);
        store(&bus, held).await;
        let first = next(&mut consumer).await;
        assert_eq!((number(&first), first.attempt), (held, 1));
        proxy.cut();
        let taking = tokio::spawn(async move { (consumer.next().await, consumer) });
        attached.wait_for(|attached| !attached).await.unwrap();
        proxy.resume();
        timeout(AT_ONCE * 2, attached.wait_for(|attached| *attached)).await.unwrap().unwrap();
        store(&bus, after).await;
        let (delivery, back) = timeout(AT_ONCE, taking).await.unwrap().unwrap();
        assert_eq!((number(&delivery), delivery.attempt), (after, 1));
        // It was given by a consumer that is no more, and is acknowledged by the one that is.
        for delivery in [first, delivery] {
            assert_eq!(delivery.ack_sync().await.unwrap(), Confirmed::Done);
        }
        left(&bus, 0).await;
        consumer = back;
    }
}

#[tokio::test]
async fn what_was_held_when_nats_was_killed_is_acknowledged_by_the_consumer_that_is_made_anew() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for n in 1..=3 {
        store(&bus, n).await;
    }
    let mut consumer = take_over(&bus, 1).await;
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    nats.kill();
    let taking = tokio::spawn(async move { (consumer.next().await, consumer) });
    nats.resume().await;
    let (third, _consumer) = timeout(AT_ONCE * 3, taking).await.unwrap().unwrap();
    assert_eq!(number(&third), 3);
    for delivery in held.iter().chain([&third]) {
        assert_eq!(delivery.ack_sync().await.unwrap(), Confirmed::Done);
    }
    left(&bus, 0).await;
}

#[tokio::test]
async fn who_has_no_room_can_acknowledge_what_is_held_after_nats_was_killed() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for n in 1..=4 {
        store(&bus, n).await;
    }
    let mut consumer = take_over(&bus, 2).await;
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    for delivery in held {
        let confirmed = async {
            nats.kill();
            nats.resume().await;
            eventually(AT_ONCE * 3, || delivery.ack_sync()).await
        };
        tokio::select! {
            _ = consumer.next_when(false) => panic!("there is no room"),
            confirmed = confirmed => assert_eq!(confirmed, Confirmed::Done),
        }
    }
    for n in 3..=4 {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), delivery.attempt), (n, 1));
        assert_eq!(delivery.ack_sync().await.unwrap(), Confirmed::Done);
    }
    left(&bus, 0).await;
}

/// Takes over, and dies with what it was given, again and again, until `culprit` was tried so often that it
/// is put away. Gives the numbers that were done, and how often each was tried.
async fn die_of(bus: &Bus, culprit: u64, of: u64) -> Vec<(u64, u32)> {
    let mut done = Vec::new();
    while done.len() < usize::try_from(of).unwrap() {
        let mut consumer = take_over(bus, 8).await;
        while let Ok(delivery) = timeout(AT_ONCE, consumer.next()).await {
            let (number, attempt) = (number(&delivery), delivery.attempt);
            if number == culprit && attempt <= 4 {
                break;
            }
            delivery.ack_sync().await.unwrap();
            done.push((number, attempt));
            if done.len() == usize::try_from(of).unwrap() {
                break;
            }
        }
    }
    done
}

#[tokio::test]
async fn what_kills_its_owners_is_found_and_what_is_next_to_it_is_not_taken_for_it() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for n in 1..=20 {
        store(&bus, n).await;
    }
    let done = die_of(&bus, 4, 20).await;
    let numbers: Vec<_> = done.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    for (number, attempt) in done {
        match number {
            4 => assert_eq!(attempt, 5),
            _ => assert!(attempt <= 3, "{number} was tried {attempt} times"),
        }
    }
    left(&bus, 0).await;
}

#[tokio::test]
async fn a_shared_consumer_that_is_made_anew_is_attached_again() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut consumer = bus.consume(Stream::Events, "community", 4).await.unwrap();
    let mut attached = consumer.attached();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let taking = tokio::spawn(async move { consumer.next().await });
    attached.mark_unchanged();
    eventually(NOTICED, || async {
        let deleted = client.request("$JS.API.CONSUMER.DELETE.EVENTS.community", "".into()).await.unwrap();
        if attached.has_changed().unwrap() { Ok(()) } else { Err(deleted) }
    })
    .await;
    assert!(!*attached.borrow());
    bus::provision(&bus, bus::Storage::File).await.unwrap();
    timeout(NOTICED, attached.wait_for(|attached| *attached)).await.unwrap().unwrap();
    bus.store(&message("event.discord.1.raid", "raid")).await.unwrap();
    assert_eq!(timeout(NOTICED, taking).await.unwrap().unwrap().subject, "event.discord.1.raid");
}
