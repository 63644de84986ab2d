//! Order and completeness of many messages, with and without an outage.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Options, Outbox, OutboxError, Queue};
use testkit::{Nats, Proxy, eventually};

use crate::message;

#[tokio::test]
async fn tokens_come_back_in_order_also_over_a_killed_server() {
    const COUNT: u32 = 400;
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let stored = Arc::new(Mutex::new(Vec::new()));
    let sink = stored.clone();
    let outbox = Outbox::start(bus.clone(), 64, move |token: u32| sink.lock().unwrap().push(token));
    let sending = async {
        for n in 0..COUNT {
            outbox.send(message("event.discord.1.command.3", &n.to_string()), n).await.unwrap();
        }
    };
    let outage = async {
        eventually(Duration::from_secs(10), || async {
            let seen = stored.lock().unwrap().len();
            if seen > 50 { Ok(()) } else { Err(seen) }
        })
        .await;
        nats.kill();
        nats.resume().await;
    };
    tokio::join!(sending, outage);
    assert!(outbox.flush(Duration::from_secs(20)).await, "{} pending", outbox.pending());
    assert_eq!(*stored.lock().unwrap(), (0..COUNT).collect::<Vec<_>>());

    let mut commands = bus.take_over(Queue::Commands, 3, 64, || true).await.unwrap();
    let mut taken = 0;
    while taken < COUNT {
        commands.next().await.ack().await;
        taken += 1;
    }
    eventually(Duration::from_secs(5), || async {
        let events = bus::backlogs(&bus).await.remove(0);
        if events.messages == 0 { Ok(()) } else { Err(events) }
    })
    .await;
}

/// What is on its way when a connection ends is sent again as soon as there is another one, not only when
/// its acknowledgement is overdue.
#[tokio::test]
async fn a_lost_connection_is_no_reason_to_wait_for_an_acknowledgement() {
    let nats = Nats::start().await;
    nats.bus("provision").await;
    let proxy = Proxy::start(nats.url().trim_start_matches("nats://")).await;
    let options = Options { url: format!("nats://{}", proxy.address()), name: "test".to_owned() };
    let bus = Bus::connect(options).await.unwrap();
    let outbox = Outbox::start(bus.clone(), 8, |(): ()| {});
    let mut link = bus.link();
    proxy.stall();
    outbox.send(message("event.discord.1.command.3", "outbox"), ()).await.unwrap();
    let alone = message("event.discord.1.command.3", "store");
    let storing = bus.store(&alone);
    let outage = async {
        proxy.cut();
        link.wait_for(|link| *link == bus::Link::Down).await.unwrap();
        proxy.resume();
        // An acknowledgement is overdue after 5 s.
        outbox.flush(Duration::from_secs(4)).await
    };
    let both = async { tokio::join!(storing, outage) };
    let (stored, flushed) = tokio::time::timeout(Duration::from_secs(4), both).await.unwrap();
    assert!(flushed, "{} pending", outbox.pending());
    stored.unwrap();
}

#[tokio::test]
async fn what_could_never_be_stored_is_refused_at_once() {
    let nats = Nats::start().await;
    let outbox = Outbox::start(nats.bus("test").await, 1, |(): ()| {});
    let catalogue = protocol::Catalogue {
        commands: vec![protocol::CommandSpec {
            name: "x".repeat(300 * 1024),
            description: protocol::Localized::default(),
            rank: protocol::Rank::Everyone,
            options: Vec::new(),
        }],
        ..crate::payload()
    };
    let large = bus::Message::new("event.discord.1.command.3", "large", &catalogue).unwrap();
    assert!(matches!(outbox.send(large, ()).await, Err(OutboxError::TooLarge { .. })));
    assert!(outbox.flush(Duration::from_secs(1)).await);
}
