//! Workers come, stop, die and stand still at random while people talk: every question is answered once,
//! and in each channel in the order in which they were asked.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use bus::{BucketName, Subscription};
use command_worker::Config;
use protocol::{Action, ChannelId, EventBody, Rank, subject::PARTITIONS};
use serde::Deserialize;
use testkit::{Wire, eventually};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::world::{SOON, Worker, World, event, said};

const CHANNELS: u64 = 12;
const QUESTIONS: u64 = 400;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// So many answers are given between two comings at most.
const BETWEEN: usize = 45;

#[tokio::test]
async fn answers_keep_their_order_while_workers_come_and_go() {
    let world = World::start().await;
    let replies = world.bus.subscribe("action.>").await.unwrap();
    world.bus.round_trip().await;
    let (count, answers) = watch::channel(0);
    let heard = tokio::spawn(listen(replies, count));
    let all_asked = CancellationToken::new();
    let coming_and_going = come_and_go(&world, &all_asked, answers.clone());
    let asking = async {
        let mut pace = interval(PAUSE);
        for n in 0..QUESTIONS {
            pace.tick().await;
            let mut question = event(n, &format!("!echo {n}"), Rank::Moderator);
            let EventBody::Command(command) = &mut question.body else { unreachable!("made as a command") };
            command.message.channel = ChannelId::from(100 + n % CHANNELS);
            world.store(&question, &n.to_string()).await;
        }
        all_asked.cancel();
    };
    tokio::join!(asking, coming_and_going);
    // Without its wire it would be cut off.
    let (last, _wire) = worker(&world).await;
    let Ok(heard) = timeout(4 * SOON, heard).await else {
        let left = bus::backlogs(&world.bus).await;
        panic!("{} of {QUESTIONS} are answered; left: {left:?}", *answers.borrow());
    };
    let heard = heard.unwrap();
    last.stop().await;
    for (channel, numbers) in heard {
        let first = (0..CHANNELS).find(|n| ChannelId::from(100 + n) == channel).unwrap();
        let expected: Vec<u64> = (first..QUESTIONS).step_by(usize::try_from(CHANNELS).unwrap()).collect();
        assert_eq!(numbers, expected, "channel {channel}");
    }
}

/// The answers as they are stored: one that is published again is not stored again. `count` is how many there are.
async fn listen(mut replies: Subscription, count: watch::Sender<usize>) -> BTreeMap<ChannelId, Vec<u64>> {
    let (mut heard, mut known) = (BTreeMap::<_, Vec<u64>>::new(), HashSet::new());
    while known.len() < usize::try_from(QUESTIONS).unwrap() {
        let action: Action = replies.next().await.unwrap().decode().unwrap();
        if known.insert(action.id.clone()) {
            let number = said(&action).parse().unwrap();
            heard.entry(action.channel).or_default().push(number);
            count.send_replace(known.len());
        }
    }
    heard
}

/// One to four workers at a time.
async fn come_and_go(world: &World, enough: &CancellationToken, mut answers: watch::Receiver<usize>) {
    let mut workers = vec![worker(world).await];
    loop {
        workers.push(worker(world).await);
        let until = *answers.borrow() + fastrand::usize(..BETWEEN);
        if enough.run_until_cancelled(answers.wait_for(|count| *count >= until)).await.is_none() {
            break;
        }
        while workers.len() > fastrand::usize(1..4) {
            let (gone, wire) = workers.swap_remove(fastrand::usize(..workers.len()));
            match fastrand::u8(..3) {
                0 => gone.stop().await,
                1 => {
                    wire.kill();
                    gone.kill().await;
                }
                // It stands still until another has taken over, and ends when it finds that out.
                _ => {
                    wire.freeze();
                    taken_over(world, &gone.context.instance).await;
                    wire.thaw();
                    gone.stop().await;
                }
            }
        }
    }
    for (worker, _) in workers {
        worker.stop().await;
    }
}

/// Waits until others have all that `instance` had.
async fn taken_over(world: &World, instance: &str) {
    #[derive(Deserialize)]
    struct Table {
        held: BTreeMap<String, Vec<String>>,
    }
    let leases = world.bus.bucket(BucketName::Lease).await.unwrap();
    eventually(2 * SOON, || async {
        let Table { held } = leases.get("command-workers.table").await.unwrap().unwrap();
        let by_others = held.iter().filter(|(owner, _)| owner.split(':').next() != Some(instance));
        let count: usize = by_others.map(|(_, partitions)| partitions.len()).sum();
        if count == usize::from(PARTITIONS) { Ok(()) } else { Err(held) }
    })
    .await;
}

async fn worker(world: &World) -> (Worker, Wire) {
    let wire = Wire::start(&world.nats).await;
    let config = Config { nats: service::NatsLogin::at(wire.url()), ..Config::default() };
    let worker = world.worker_with(config, commands::ALL).await;
    (worker, wire)
}
