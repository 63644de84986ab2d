//! What a killed server still knows. Its files are tidied while messages wait in them, and one of those
//! ways once brought acknowledged messages back.

use std::{collections::BTreeSet, time::Duration};

use bus::{Bus, Consumer, Delivery, Message, Queue};
use protocol::{Catalogue, CommandSpec, Localized, Rank, VERSION};
use testkit::{Nats, eventually};
use tokio::time::timeout;

const KILLS: usize = 20;
/// Two of the server's files of 8 MiB, and a part of a third one.
const WAITING: usize = 100;
const BYTES: usize = 200 * 1024;
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_killed_server_has_all_that_was_not_acknowledged_and_nothing_else() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let mut stored = 0;
    let mut waiting = BTreeSet::<u64>::new();
    for kill in 0..KILLS {
        let mut commands = take_over(&bus).await;
        let mut held = Vec::new();
        for _ in 0..fastrand::usize(WAITING..3 * WAITING) {
            let full = waiting.len() >= fastrand::usize(0..WAITING);
            if waiting.is_empty() || !full {
                stored += 1;
                bus.store(&large(stored)).await.unwrap();
                waiting.insert(stored);
            } else if held.len() < fastrand::usize(1..16) && held.len() < waiting.len() {
                held.push(next(&mut commands).await);
            } else {
                let done = held.swap_remove(fastrand::usize(0..held.len()));
                done.ack_sync().await.unwrap();
                assert!(waiting.remove(&number(&done)), "kill {kill}: {} came twice", number(&done));
            }
        }
        drop(held);
        nats.kill();
        nats.resume().await;
        let there = eventually(SOON, || async {
            let there = bus::backlogs(&bus).await;
            there.first().map(|events| events.messages).ok_or(there)
        })
        .await;
        assert_eq!(there, waiting.len() as u64, "after kill {kill}");
    }
}

async fn take_over(bus: &Bus) -> Consumer {
    eventually(SOON, || bus.take_over(Queue::Commands, 3, 16, || true)).await
}

async fn next(commands: &mut Consumer) -> Delivery {
    timeout(SOON, commands.next()).await.expect("a message comes")
}

fn number(delivery: &Delivery) -> u64 {
    delivery.subject.split('.').nth(2).unwrap().parse().unwrap()
}

fn large(number: u64) -> Message {
    let description = Localized { default: "x".repeat(fastrand::usize(1..BYTES)), ..Localized::default() };
    let command =
        CommandSpec { name: "large".to_owned(), description, rank: Rank::default(), options: Vec::new() };
    let payload = Catalogue { v: VERSION, commands: vec![command] };
    Message::new(format!("event.discord.{number}.command.3"), number.to_string(), &payload).unwrap()
}
