//! What failed for good is kept, whatever it looks like, until a person gives it back or removes it.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bus::{Bus, DeadError, Letter, Link, Options, Queue, Replayed, Stream, Tally};
use testkit::{Nats, eventually};

use crate::message;

const SUBJECT: &str = "event.discord.1.command.3";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes the next command and buries it.
async fn bury_next(bus: &Bus, reason: &str) {
    let mut commands = bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap();
    commands.next().await.bury(reason).await.unwrap();
    backlog(bus, "EVENTS", 0).await;
}

async fn backlog(bus: &Bus, stream: &str, expected: u64) {
    eventually(Duration::from_secs(5), || async {
        let found = bus::backlogs(bus).await.iter().find(|one| one.stream == stream).map(|one| one.messages);
        if found == Some(expected) { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn first(bus: &Bus) -> Letter {
    bus.dead_letters(None).next(1).await.unwrap().expect("a letter")
}

/// Writes to the server as no client of ours would, and waits until it has it.
fn write_raw(nats: &Nats, bytes: &[u8]) {
    let url = nats.url();
    let mut socket = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
    socket.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").unwrap();
    socket.write_all(bytes).unwrap();
    socket.write_all(b"PING\r\n").unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\n") {
        let mut part = [0; 512];
        let length = socket.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..length]);
    }
}

fn letter_of(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let sizes = format!("HPUB dead.EVENTS {} {}\r\n", headers.len(), headers.len() + payload.len());
    [sizes.as_bytes(), headers, payload, b"\r\n"].concat()
}

#[tokio::test]
async fn a_letter_is_read_given_back_and_gone() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "discord:9").trace(TRACE)).await.unwrap();
    bury_next(&bus, "it broke").await;

    let letters = bus.dead_letters(Some(Stream::Events));
    assert_eq!(letters.tally().await.unwrap(), Tally { count: 1, last: 1 });
    assert_eq!(bus.dead_letters(Some(Stream::Chatter)).tally().await.unwrap().count, 0);
    assert!(bus.dead_letters(Some(Stream::Chatter)).next(1).await.unwrap().is_none());
    let letter = letters.next(0).await.unwrap().unwrap();
    assert_eq!((letter.number, letter.stream.as_str()), (1, "EVENTS"));
    assert_eq!((letter.subject.as_deref(), letter.id.as_deref()), (Some(SUBJECT), Some("discord:9")));
    assert_eq!((letter.reason.as_deref(), letter.attempts), (Some("it broke"), Some(1)));
    assert_eq!(letter.trace.as_deref(), Some(TRACE));

    // The duplicate window still knows the id that the event had, and must not swallow this.
    let replayed = letters.replay(&letter, None).await.unwrap();
    assert_eq!(replayed, Replayed { stream: Stream::Events, already: false });
    assert!(letters.get(1).await.unwrap().is_none());
    let mut commands = bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap();
    let again = commands.next().await;
    assert_eq!((again.subject.as_str(), again.attempt), (SUBJECT, 1));
    assert_eq!((again.payload.clone(), again.trace.as_deref()), (letter.payload, Some(TRACE)));

    // It fails again: that is another letter, with a life of its own.
    again.bury("it broke again").await.unwrap();
    backlog(&bus, "EVENTS", 0).await;
    let second = first(&bus).await;
    assert_eq!((second.number, second.reason.as_deref()), (2, Some("it broke again")));
    assert!(!letters.replay(&second, None).await.unwrap().already);
    commands.next().await.ack_sync().await.unwrap();
}

#[tokio::test]
async fn a_letter_that_is_given_back_twice_is_stored_once() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "a")).await.unwrap();
    bury_next(&bus, "it broke").await;
    let letter = first(&bus).await;
    let letters = bus.dead_letters(None);
    let (one, two) = tokio::join!(letters.replay(&letter, None), letters.replay(&letter, None));
    assert_ne!(one.unwrap().already, two.unwrap().already);
    backlog(&bus, "EVENTS", 1).await;
    // Nor when it was taken meanwhile, nor when it was mended.
    bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap().next().await.ack_sync().await.unwrap();
    assert!(letters.replay(&letter, Some(b"{}".to_vec())).await.unwrap().already);
    backlog(&bus, "EVENTS", 0).await;
    assert!(!letters.remove(letter.number).await.unwrap());
}

#[tokio::test]
async fn a_letter_stays_while_its_stream_refuses_it() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    bus.store(&message(SUBJECT, "a")).await.unwrap();
    bury_next(&bus, "it broke").await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let mut config = jetstream.get_stream("EVENTS").await.unwrap().cached_info().config.clone();
    config.max_messages = 1;
    jetstream.update_stream(config).await.unwrap();
    bus.store(&message(SUBJECT, "b")).await.unwrap();

    let letter = first(&bus).await;
    let letters = bus.dead_letters(None);
    let error = letters.replay(&letter, None).await.unwrap_err();
    assert_eq!(error.to_string(), "dead letter 1 was not stored in EVENTS again, and is kept");
    assert!(!error.is_of_the_letter());
    assert_eq!(letters.tally().await.unwrap().count, 1);

    bus.take_over(Queue::Commands, 3, 1, || true).await.unwrap().next().await.ack_sync().await.unwrap();
    assert!(!letters.replay(&letter, None).await.unwrap().already);
    backlog(&bus, "EVENTS", 1).await;
    assert_eq!(letters.tally().await.unwrap(), Tally { count: 0, last: 1 });

    jetstream.delete_stream("EVENTS").await.unwrap();
    assert!(!letters.replay(&letter, None).await.unwrap_err().is_of_the_letter());
    jetstream.delete_stream("DEAD").await.unwrap();
    assert!(matches!(letters.tally().await, Err(DeadError::NoStream)));
    assert!(matches!(letters.next(1).await, Err(DeadError::NoStream)));
}

#[tokio::test]
async fn a_letter_is_shown_however_broken_and_can_do_no_harm() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let huge = vec![b'x'; bus::topology::MAX_PAYLOAD_BYTES];
    let deletes = b"NATS/1.0\r\nVigie-Subject: $JS.API.STREAM.DELETE.EVENTS\r\n\r\n";
    for letter in [
        b"PUB dead.EVENTS 1\r\n{\r\n".to_vec(),
        letter_of(b"NATS/1.0\r\nVigie-Reason: \xff\xfe\r\nno colon\r\n\r\n", b"\xff\x00"),
        letter_of(deletes, b"{}"),
        letter_of(b"NATS/1.0\r\nVigie-Subject: event.discord.1.command\r\n\r\n", &huge),
    ] {
        write_raw(&nats, &letter);
    }
    let letters = bus.dead_letters(None);
    let mut refusals = Vec::new();
    for number in 1..=3 {
        let letter = letters.get(number).await.unwrap().unwrap();
        let error = letters.replay(&letter, None).await.unwrap_err();
        assert!(error.is_of_the_letter());
        refusals.push(error.to_string());
    }
    assert_eq!(
        refusals,
        [
            "dead letter 1 does not say which subject it came from",
            "dead letter 2 does not say which subject it came from",
            "dead letter 3 says that it came from \"$JS.API.STREAM.DELETE.EVENTS\", which is of no stream",
        ]
    );
    let broken = letters.get(2).await.unwrap().unwrap();
    assert_eq!((broken.reason.as_deref(), &broken.payload[..]), (Some("\u{fffd}\u{fffd}"), &b"\xff\x00"[..]));
    let large = letters.get(4).await.unwrap().unwrap();
    assert_eq!(large.payload, huge);
    letters.replay(&large, None).await.unwrap();
    backlog(&bus, "EVENTS", 1).await;
    assert_eq!(letters.tally().await.unwrap().count, 3);
    assert_eq!(*bus.link().borrow(), Link::Up);
}

#[tokio::test]
async fn many_letters_are_counted_found_by_time_and_removed_by_stream() {
    const COUNT: u64 = 10_000;
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut lines = String::new();
    for n in 0..COUNT {
        let stream = if n % 4 == 3 { "CHATTER" } else { "EVENTS" };
        let _ = write!(lines, "PUB dead.{stream} 2\r\n{{}}\r\n");
    }
    write_raw(&nats, lines.as_bytes());
    let letters = bus.dead_letters(None);
    eventually(Duration::from_secs(20), || async {
        let tally = letters.tally().await.unwrap();
        if tally == (Tally { count: COUNT, last: COUNT }) { Ok(()) } else { Err(tally) }
    })
    .await;
    let chatter = bus.dead_letters(Some(Stream::Chatter));
    assert_eq!(chatter.tally().await.unwrap().count, COUNT / 4);
    assert_eq!(chatter.next(5_001).await.unwrap().unwrap().number, 5_004);

    let border = letters.get(6_000).await.unwrap().unwrap();
    let last = letters.last_before(border.at_ms()).await.unwrap();
    assert!(last < 6_000, "{last}");
    assert!(letters.get(last + 1).await.unwrap().unwrap().at_ms() >= border.at_ms());
    if last > 0 {
        assert!(letters.get(last).await.unwrap().unwrap().at_ms() < border.at_ms());
    }
    assert_eq!(letters.last_before(0).await.unwrap(), 0);
    assert_eq!(letters.last_before(u64::MAX).await.unwrap(), COUNT);

    assert_eq!(chatter.remove_through(0).await.unwrap(), 0);
    assert_eq!(chatter.remove_through(8).await.unwrap(), 2);
    assert_eq!(letters.remove_through(COUNT / 2).await.unwrap(), COUNT / 2 - 2);
    assert_eq!(letters.next(1).await.unwrap().unwrap().number, COUNT / 2 + 1);
    // Numbers without a letter are in the way of nothing.
    let expected = if last > COUNT / 2 { last } else { 0 };
    assert_eq!(letters.last_before(border.at_ms()).await.unwrap(), expected);
    assert_eq!(letters.remove_through(u64::MAX).await.unwrap(), COUNT / 2);
    assert!(letters.next(1).await.unwrap().is_none());
    assert_eq!(letters.last_before(u64::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_without_streams_is_told_from_one_without_letters() {
    let nats = Nats::start().await;
    let options = Options { url: nats.url(), name: "test".to_owned() };
    let bus = Bus::connect(options).await.unwrap();
    let letters = bus.dead_letters(None);
    let error = letters.tally().await.unwrap_err();
    assert_eq!(error.to_string(), "NATS has no stream DEAD: run `vigie provision`");
    assert!(matches!(letters.remove(1).await, Err(DeadError::NoStream)));
}
