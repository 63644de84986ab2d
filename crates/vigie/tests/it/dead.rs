//! `vigie dead` against a real server: what failed for good is listed, shown, given back and dropped.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bus::{Bus, Message, Queue, Stream};
use protocol::{Author, ChatMessage, Command, Event, EventBody, EventId, Platform, Rank, VERSION, subject};
use serde_json::Value;
use testkit::{Everything, Junk, Nats, eventually};

use crate::folder::Folder;

const SOON: Duration = Duration::from_secs(30);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub struct World {
    pub folder: Folder,
    pub nats: Nats,
    bus: Bus,
}

/// What a run of `vigie dead` said.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    pub async fn start() -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        Self { folder: Folder::new(), nats, bus }
    }

    async fn dead(&self, arguments: &[&str]) -> Told {
        let mut command = self.folder.vigie(&["dead"]);
        command.args(arguments).env("NATS_URL", self.nats.url());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Told {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A command that nobody could finish, as a worker puts it away.
    async fn poison(&self, n: u64, age_ms: u64) -> Event {
        let event = event(n, service::clock::unix_ms() - age_ms);
        let message = Message::new(subject::event(&event), event.id.as_str(), &event).unwrap().trace(TRACE);
        self.bus.store(&message).await.unwrap();
        let mut commands = Everything::of(&self.bus, Queue::Commands, 1).await;
        commands.next().await.bury("4 workers took it and none finished it").await.unwrap();
        self.backlog("EVENTS", 0).await;
        event
    }

    /// The same as it lies there when it was tried once; which try it was is not left to chance.
    pub async fn buried(&self, numbers: &[(u64, i64)]) {
        for (n, age_ms) in numbers {
            let event = event(*n, service::clock::unix_ms().saturating_add_signed(-age_ms));
            let (id, subject, payload) =
                (&event.id, subject::event(&event), serde_json::to_string(&event).unwrap());
            let headers = format!(
                "NATS/1.0\r\nNats-Msg-Id: dead:{id}\r\ntraceparent: {TRACE}\r\nVigie-Subject: {subject}\r\n\
                 Vigie-Reason: 4 workers took it and none finished it\r\nVigie-Attempts: 1\r\n\r\n"
            );
            let (first, all) = (headers.len(), headers.len() + payload.len());
            self.write_raw(format!("HPUB dead.EVENTS {first} {all}\r\n{headers}{payload}\r\n").as_bytes());
        }
        self.backlog("DEAD", numbers.len() as u64).await;
    }

    /// The next event of the workers' queue.
    async fn next_event(&self) -> Event {
        let mut commands = Everything::of(&self.bus, Queue::Commands, 1).await;
        let delivery = tokio::time::timeout(SOON, commands.next()).await.expect("an event");
        delivery.ack_sync().await.unwrap();
        assert_eq!(delivery.trace.as_deref(), Some(TRACE));
        delivery.decode().unwrap()
    }

    async fn backlog(&self, stream: &str, expected: u64) {
        eventually(SOON, || async {
            let backlogs = bus::backlogs(&self.bus).await;
            let found = backlogs.iter().find(|one| one.stream == stream).map(|one| one.messages);
            if found == Some(expected) { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Writes to the server as no client of ours would, and waits until it has it.
    fn write_raw(&self, bytes: &[u8]) {
        let url = self.nats.url();
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
}

fn event(n: u64, at_ms: u64) -> Event {
    let author = Author { id: 5.into(), name: "Ines".to_owned(), rank: Rank::Everyone, bot: false };
    let message = ChatMessage {
        id: n.into(),
        channel: 2.into(),
        author,
        text: "!ping \u{1b}[2J".to_owned(),
        reply_to: None,
    };
    Event {
        v: VERSION,
        id: EventId::of_platform(Platform::Twitch, &n.to_string()).unwrap(),
        platform: Platform::Twitch,
        community: 1.into(),
        at_ms,
        received_us: at_ms * 1000,
        body: EventBody::Command(Command { message, prefix: "!".to_owned() }),
    }
}

fn lines(text: &str) -> usize {
    text.lines().count()
}

#[tokio::test]
async fn a_letter_is_listed_shown_and_given_back() {
    let world = World::start().await;
    assert_eq!(world.dead(&["list"]).await.out, "no dead letters\n");
    let event = world.poison(7, 0).await;

    let list = world.dead(&["list"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    for part in ["NUMBER", " EVENTS  event.twitch.1.command.", " 4 workers took it", "\n1 dead letter\n"] {
        assert!(list.out.contains(part), "{part}: {}", list.out);
    }
    let line: Value = serde_json::from_str(&world.dead(&["list", "--json"]).await.out).unwrap();
    assert_eq!((&line["number"], &line["id"], &line["attempts"]), (&1.into(), &"twitch:7".into(), &1.into()));
    assert_eq!(line["trace"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(world.dead(&["list", "--stream", "chatter"]).await.out, "no dead letters\n");

    let shown = world.dead(&["show", "1"]).await;
    assert!(
        shown.out.contains("\"text\": \"!ping \\u001b[2J\"") && !shown.out.contains('\u{1b}'),
        "{shown:?}"
    );
    let shown: Value = serde_json::from_str(&world.dead(&["show", "1", "--json"]).await.out).unwrap();
    assert_eq!(shown["payload"]["id"], "twitch:7");

    let replayed = world.dead(&["replay", "1"]).await;
    assert_eq!((replayed.code, &*replayed.out), (Some(0), "1 dead letter is back where it came from\n"));
    assert_eq!(world.next_event().await, event);

    let again = world.dead(&["replay", "1"]).await;
    assert_eq!((again.code, &*again.err), (Some(1), "there is no dead letter 1\n"));
    assert_eq!(world.dead(&["show", "1"]).await.code, Some(1));
    world.backlog("EVENTS", 0).await;
}

#[tokio::test]
async fn a_command_that_would_come_too_late_is_kept_until_it_is_given_the_present_time() {
    let world = World::start().await;
    let old = world.poison(7, 2 * 3600 * 1000).await;
    let new = world.poison(8, 0).await;

    let told = world.dead(&["replay", "--all"]).await;
    assert_eq!(told.code, Some(1));
    assert_eq!(told.out, "1 dead letter is back where it came from, 1 not\n");
    assert!(
        told.err.starts_with("dead letter 1 is kept: it is a command that was asked 2 h 0 min ago")
            && told.err.contains("--as-new"),
        "{}",
        told.err
    );
    assert_eq!(world.next_event().await, new);
    assert!(world.dead(&["show", "1"]).await.out.contains("! replay it with --as-new"));

    let before = service::clock::unix_ms();
    let told = world.dead(&["replay", "--all", "--as-new"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    let renewed = world.next_event().await;
    assert!(renewed.at_ms >= before && renewed.received_us >= before * 1000, "{renewed:?}");
    assert_eq!(Event { at_ms: old.at_ms, received_us: old.received_us, ..renewed }, old);
    world.backlog("DEAD", 0).await;
}

#[tokio::test]
async fn what_fails_again_is_not_given_back_for_ever() {
    let world = World::start().await;
    for n in 0..3 {
        world.poison(n, 0).await;
    }
    let bus = world.bus.clone();
    let worker = tokio::spawn(async move {
        let mut commands = Everything::of(&bus, Queue::Commands, 1).await;
        loop {
            commands.next().await.bury("it broke again").await.unwrap();
        }
    });
    let told = world.dead(&["replay", "--all"]).await;
    assert_eq!((told.code, &*told.out), (Some(0), "3 dead letters are back where they came from\n"));
    world.backlog("DEAD", 3).await;
    let list = world.dead(&["list"]).await.out;
    assert_eq!(list.matches("it broke again").count(), 3, "{list}");
    assert!(list.contains("     6  "), "{list}");
    worker.abort();
}

#[tokio::test]
async fn letters_are_kept_while_nats_does_not_take_them() {
    let world = World::start().await;
    for n in 0..3 {
        world.poison(n, 0).await;
    }
    world.write_raw(b"PUB $JS.API.STREAM.DELETE.EVENTS 0\r\n\r\n");
    eventually(SOON, || async {
        let streams = bus::backlogs(&world.bus).await;
        if streams.iter().any(|one| one.stream == "EVENTS") { Err(streams) } else { Ok(()) }
    })
    .await;
    let told = world.dead(&["replay", "--all"]).await;
    assert_eq!((told.code, &*told.out), (Some(1), ""));
    assert!(told.err.starts_with("vigie: dead letter 1 was not stored in EVENTS again, and is kept: "));
    world.backlog("DEAD", 3).await;
    bus::provision(&world.bus, bus::Storage::File).await.unwrap();
    assert_eq!(world.dead(&["replay", "3", "2"]).await.code, Some(0));
    world.backlog("EVENTS", 2).await;
    world.backlog("DEAD", 1).await;
}

#[tokio::test]
async fn broken_letters_are_shown_kept_and_in_nobodys_way() {
    let world = World::start().await;
    let headers = b"NATS/1.0\r\nVigie-Reason: \xff\x1b[2J\r\nno colon\r\n\r\n";
    let mut raw = format!("HPUB dead.EVENTS {} {}\r\n", headers.len(), headers.len() + 3).into_bytes();
    raw.extend_from_slice(headers);
    raw.extend_from_slice(b"\xff\x1b{\r\n");
    for _ in 0..30 {
        raw.extend_from_slice(b"PUB dead.SOMETHING 0\r\n\r\n");
    }
    world.write_raw(&raw);
    let junk = Message::new("event.twitch.1.raid", "junk", &Junk { v: 9 }).unwrap();
    world.bus.store(&junk).await.unwrap();
    let mut events = world.bus.consume(Stream::Events, "community", 1).await.unwrap();
    events.next().await.bury("event has version 9, this build reads version 1").await.unwrap();
    drop(events);

    let list = world.dead(&["list"]).await;
    assert!(
        list.code == Some(0) && lines(&list.out) == 1 + 32 + 3 && !list.out.contains('\u{1b}'),
        "{list:?}"
    );
    let shown = world.dead(&["show", "1"]).await;
    assert!(shown.code == Some(0) && shown.out.contains("the payload is no JSON"), "{shown:?}");
    assert!(!shown.out.contains('\u{1b}'), "{shown:?}");

    let told = world.dead(&["replay", "--all"]).await;
    assert_eq!((told.code, &*told.out), (Some(1), "1 dead letter is back where it came from, 31 not\n"));
    assert!(told.err.contains("… and 11 more") && lines(&told.err) == 21, "{}", told.err);
    // Another build may be able to read what this one cannot: it goes back as it was.
    let mut events = world.bus.consume(Stream::Events, "community", 1).await.unwrap();
    assert_eq!(&events.next().await.payload[..], br#"{"v":9}"#);
    world.backlog("DEAD", 31).await;
}

#[tokio::test]
async fn ten_thousand_letters_are_listed_by_the_page_and_dropped_at_once() {
    let world = World::start().await;
    let mut raw = String::new();
    let reason = "x".repeat(600);
    let headers = format!("NATS/1.0\r\nVigie-Reason: {reason}\r\n\r\n");
    for _ in 0..10_000 {
        let _ =
            write!(raw, "HPUB dead.EVENTS {0} {1}\r\n{headers}{{}}\r\n", headers.len(), headers.len() + 2);
    }
    world.write_raw(raw.as_bytes());
    world.backlog("DEAD", 10_000).await;
    let list = world.dead(&["list"]).await.out;
    assert!(list.contains("\n50 of 10,000 dead letters shown; `vigie dead list --from 51` shows more\n"));
    assert!(lines(&list) == 1 + 50 + 3 && list.lines().all(|line| line.chars().count() <= 160), "{list}");
    let page = world.dead(&["list", "--json", "--from", "9990", "--limit", "1000"]).await.out;
    assert_eq!(lines(&page), 11);

    let kept = world.dead(&["drop", "--all", "--yes", "--older-than", "1h"]).await;
    assert_eq!((kept.code, &*kept.out), (Some(0), "no dead letters\n"));
    assert_eq!(world.dead(&["drop", "1", "7", "--yes"]).await.out, "dropped 2 dead letters\n");
    assert_eq!(world.dead(&["drop", "--all", "--stream", "CHATTER", "--yes"]).await.out, "no dead letters\n");
    assert_eq!(
        world.dead(&["drop", "--all", "--stream", "events", "--yes"]).await.out,
        "dropped 9,998 dead letters\n"
    );
    let gone = world.dead(&["drop", "7", "--yes"]).await;
    assert_eq!((gone.code, &*gone.err), (Some(1), "there is no dead letter 7\n"));
}

#[tokio::test]
async fn what_was_given_back_and_dropped_is_in_the_audit_trail() {
    let world = World::start().await;
    for n in 0..3 {
        world.poison(n, 0).await;
    }
    assert_eq!(world.dead(&["replay", "1", "9"]).await.code, Some(1));
    assert_eq!(world.dead(&["drop", "9", "--yes"]).await.code, Some(1));
    assert_eq!(world.dead(&["drop", "--all", "--yes"]).await.code, Some(0));
    let noted = world.bus.trail(9).await.unwrap();
    let noted: Vec<String> = noted
        .iter()
        .map(|one| format!("{} {}: {} {:?}: {}", one.by, one.verb, one.object, one.result, one.words))
        .collect();
    let expected = [
        "cli drop: all dead letters Done: dropped 2 dead letters",
        "cli replay: dead letters 1, 9 Failed: 1 dead letter is back where it came from, 1 not",
    ];
    assert_eq!(noted, expected);

    // Where it cannot be noted it is done all the same.
    world.next_event().await;
    world.poison(7, 0).await;
    world.write_raw(b"PUB $JS.API.STREAM.DELETE.AUDIT 0\r\n\r\n");
    eventually(SOON, || async { world.bus.trail(1).await.map_or(Ok(()), Err) }).await;
    let told = world.dead(&["drop", "--all", "--yes"]).await;
    assert_eq!((told.code, &*told.out), (Some(0), "dropped 1 dead letter\n"), "{told:?}");
    assert_eq!(told.err, "this is not in the audit trail: NATS does not take it\n");
}

#[tokio::test]
async fn nothing_is_dropped_unasked_and_wrong_arguments_are_64() {
    let world = World::start().await;
    world.poison(7, 0).await;
    let unasked = world.dead(&["drop", "1"]).await;
    assert_eq!(unasked.code, Some(64));
    assert!(unasked.err.contains("add --yes"), "{unasked:?}");
    world.backlog("DEAD", 1).await;
    let wrong: [&[&str]; 10] = [
        &[],
        &["replay"],
        &["drop", "--yes"],
        &["replay", "1", "--all"],
        &["replay", "0"],
        &["replay", "1", "--stream", "EVENTS"],
        &["drop", "1", "--older-than", "3d", "--yes"],
        &["drop", "--all", "--older-than", "3w", "--yes"],
        &["list", "--stream", "NOTHING"],
        &["list", "--limit", "1001"],
    ];
    for arguments in wrong {
        let told = world.dead(arguments).await;
        assert_eq!(told.code, Some(64), "{arguments:?}: {told:?}");
    }
    world.backlog("DEAD", 1).await;
}
