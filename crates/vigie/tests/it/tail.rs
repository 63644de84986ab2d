//! `vigie events` against a real server.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use bus::Message;
use protocol::{Author, Batch, ChatMessage, Event, EventBody, EventId, Platform, Rank, VERSION, subject};
use serde_json::Value;
use testkit::Nats;

use crate::folder::{Folder, signal};

fn message(number: u64, text: &str) -> Event {
    let author = Author { id: 5.into(), name: "Max".to_owned(), rank: Rank::Everyone, bot: false };
    Event {
        v: VERSION,
        id: EventId::of_platform(Platform::Twitch, &number.to_string()).unwrap(),
        platform: Platform::Twitch,
        community: 42.into(),
        at_ms: 1_700_000_000_000,
        received_us: 1_700_000_000_000_000,
        body: EventBody::Message(ChatMessage {
            id: number.into(),
            channel: 42.into(),
            author,
            text: text.to_owned(),
            reply_to: None,
        }),
    }
}

#[tokio::test]
async fn chatter_is_unfolded_and_filtered_and_nothing_is_taken_away() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let mut tail = folder
        .vigie(&["events", "--json", "--platform", "twitch", "--community", "42", "--kind", "message"])
        .env("NATS_URL", nats.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says that it listens once the server knows.
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("following NATS at"));

    let batch =
        Batch { v: VERSION, platform: Platform::Twitch, events: vec![message(1, "one"), message(2, "two")] };
    let stored = Message::new(subject::chatter(Platform::Twitch), "batch-1", &batch).unwrap();
    bus.store(&stored).await.unwrap();

    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let seen: Vec<Value> = lines.take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let texts: Vec<_> = seen.iter().map(|line| line["payload"]["body"]["message"]["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
    let waiting = bus::backlogs(&bus).await;
    assert_eq!(waiting.iter().find(|one| one.stream == "CHATTER").unwrap().messages, 1);

    signal(tail.id(), "INT");
    assert!(tail.wait().unwrap().success());
}
