//! Stored once, taken by one, back again when it was not acknowledged.

use std::time::{Duration, Instant};

use bus::{Bus, Consumer, Delivery, Options, Stream, give_back, in_progress, topology::ACTION_ACK_WAIT};
use protocol::Catalogue;
use testkit::{Nats, Proxy, eventually};
use tokio::{sync::watch, time::timeout};

use crate::message;

const SUBJECT: &str = "event.discord.1.command";
/// Far below the time after which an unacknowledged message comes again, 10 s.
const AT_ONCE: Duration = Duration::from_secs(2);

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

/// A message that says by its subject which one it is.
async fn store(bus: &Bus, number: u64) {
    bus.store(&message(&format!("event.discord.{number}.command"), &number.to_string())).await.unwrap();
}

fn number(delivery: &Delivery) -> u64 {
    delivery.subject.split('.').nth(2).unwrap().parse().unwrap()
}

async fn consume(bus: &Bus, in_flight: usize) -> Consumer {
    bus.consume(Stream::Events, "commands", in_flight).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(AT_ONCE, consumer.next()).await.expect("a message comes at once")
}

#[tokio::test]
async fn whoever_comes_after_a_close_gets_all_at_once_and_in_order() {
    const ROUNDS: usize = 200;
    let nats = Nats::start().await;
    let mut owners = [nats.bus("one").await, nats.bus("other").await];
    // Stores up to so many: sometimes more than are taken ahead, sometimes just while a pull ends.
    let (wanted, mut want) = watch::channel(0);
    let publisher = nats.bus("publisher").await;
    let publishing = tokio::spawn(async move {
        let mut stored = 0;
        while want.wait_for(|wanted| *wanted > stored).await.is_ok() {
            stored += 1;
            store(&publisher, stored).await;
        }
    });
    let (mut done, mut in_flight_at_a_close) = (0, 0);
    for _ in 0..ROUNDS {
        let taken = fastrand::u64(1..24);
        wanted.send_replace(done + taken + fastrand::u64(0..40));
        let mut consumer = consume(&owners[0], fastrand::usize(1..24)).await;
        let mut held = Vec::new();
        for n in 1..=taken {
            let delivery = next(&mut consumer).await;
            assert_eq!(number(&delivery), done + n);
            held.push(delivery);
        }
        let kept = fastrand::usize(0..=held.len());
        for delivery in held.drain(..kept) {
            delivery.ack().await;
            done += 1;
        }
        let ahead = consumer.close().await;
        in_flight_at_a_close += ahead.len();
        let back: Vec<_> = held.iter().chain(&ahead).map(number).collect();
        assert!(back.iter().copied().eq((done + 1..).take(back.len())), "after {done}: {back:?}");
        give_back(ahead.iter().chain(&held)).await;
        owners.reverse();
    }
    assert!(in_flight_at_a_close > ROUNDS, "{in_flight_at_a_close}");
    publishing.abort();
}

#[tokio::test]
async fn a_consumer_that_was_closed_gets_nothing_more() {
    let nats = Nats::start().await;
    let (bus, other) = (nats.bus("test").await, nats.bus("other").await);
    let mut idle = consume(&bus, 16).await;
    assert!(timeout(Duration::from_millis(100), idle.next()).await.is_err());
    let mut never_asked = consume(&bus, 16).await;
    let mut others = consume(&other, 1).await;
    let started = Instant::now();
    assert!(idle.close().await.is_empty());
    assert!(started.elapsed() < AT_ONCE / 4, "{:?}", started.elapsed());
    for n in 1..=8 {
        store(&bus, n).await;
        let delivery = next(&mut others).await;
        assert_eq!((number(&delivery), delivery.attempt), (n, 1));
        delivery.ack_sync().await.unwrap();
    }
    // Nothing is taken before somebody waits for it.
    store(&bus, 9).await;
    assert_eq!(number(&next(&mut never_asked).await), 9);
    assert!(others.close().await.is_empty());
}

#[tokio::test]
async fn what_one_gives_back_another_has_at_once_while_both_take() {
    let nats = Nats::start().await;
    let (bus, other) = (nats.bus("test").await, nats.bus("other").await);
    let (mut one, mut two) = (consume(&bus, 8).await, consume(&other, 8).await);
    for n in 1..=8 {
        store(&bus, n).await;
    }
    let first = next(&mut one).await;
    let mut back = one.close().await;
    assert_eq!(back.len(), 7);
    back.push(first);
    give_back(&back).await;
    for n in 1..=8 {
        let delivery = next(&mut two).await;
        assert_eq!((number(&delivery), delivery.attempt), (n, 2));
    }
}

#[tokio::test]
async fn after_a_cut_it_goes_on_at_once() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let proxy = Proxy::start(nats.url().strip_prefix("nats://").unwrap()).await;
    let options = Options { url: format!("nats://{}", proxy.address()), name: "cut".to_owned() };
    let cut = Bus::connect(options).await.unwrap();
    let mut consumer = consume(&cut, 4).await;
    let mut attached = consumer.attached();
    assert!(*attached.borrow_and_update());
    for n in 1..=3 {
        store(&bus, n).await;
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), delivery.attempt), (n, 1));
        delivery.ack_sync().await.unwrap();
        proxy.cut();
        let taking = tokio::spawn(async move { (consumer.next().await, consumer) });
        attached.wait_for(|attached| !attached).await.unwrap();
        proxy.resume();
        timeout(AT_ONCE * 2, attached.wait_for(|attached| *attached)).await.unwrap().unwrap();
        store(&bus, n + 10).await;
        let (delivery, back) = timeout(AT_ONCE, taking).await.unwrap().unwrap();
        assert_eq!((number(&delivery), delivery.attempt), (n + 10, 1));
        delivery.ack_sync().await.unwrap();
        consumer = back;
    }
}

#[tokio::test]
async fn a_close_does_not_wait_for_a_server_that_is_away() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for n in 1..=4 {
        store(&bus, n).await;
    }
    let mut consumer = consume(&bus, 4).await;
    let first = next(&mut consumer).await;
    nats.kill();
    let started = Instant::now();
    let mut back = consumer.close().await;
    back.push(first);
    give_back(&back).await;
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_consumer_that_is_made_anew_is_attached_again() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut consumer = consume(&bus, 4).await;
    let mut attached = consumer.attached();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let taking = tokio::spawn(async move { consumer.next().await });
    attached.mark_unchanged();
    eventually(AT_ONCE, || async {
        let deleted = client.request("$JS.API.CONSUMER.DELETE.EVENTS.commands", "".into()).await.unwrap();
        if attached.has_changed().unwrap() { Ok(()) } else { Err(deleted) }
    })
    .await;
    assert!(!*attached.borrow());
    bus::provision(&bus, bus::Storage::File).await.unwrap();
    timeout(AT_ONCE, attached.wait_for(|attached| *attached)).await.unwrap().unwrap();
    store(&bus, 1).await;
    assert_eq!(number(&timeout(AT_ONCE, taking).await.unwrap().unwrap()), 1);
}

#[tokio::test]
async fn the_server_confirms_that_it_heard_what_is_in_progress() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    for n in 1..=3 {
        let subject = format!("action.discord.3.{n}");
        bus.store(&message(&subject, &subject)).await.unwrap();
    }
    let take = || bus.consume(Stream::ActionsDiscord, "partition-3", 3);
    let mut consumer = take().await.unwrap();
    let held = [next(&mut consumer).await, next(&mut consumer).await, next(&mut consumer).await];
    // Past the time for the first two if the server had not heard it, and of the third alone it does not.
    tokio::time::sleep_until(held[2].arrived + ACTION_ACK_WAIT * 3 / 4).await;
    in_progress(&held[..2]).await.unwrap();
    let third = timeout(ACTION_ACK_WAIT / 2, consumer.next()).await.expect("the third comes again");
    assert_eq!((third.subject.as_str(), third.attempt), ("action.discord.3.3", 2));
    assert!(timeout(AT_ONCE, consumer.next()).await.is_err());
    nats.kill();
    assert!(timeout(AT_ONCE, in_progress(&held)).await.is_err());
}
