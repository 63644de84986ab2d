//! Partitions that come and go.

use std::collections::BTreeSet;

use protocol::OutcomeBody;
use testkit::eventually;
use tokio::time::timeout;

use crate::rig::{A_WHILE, Rig, SOON, channel, channels, next};

#[tokio::test]
async fn a_partition_is_worked_on_while_it_is_owned() {
    let mut rig = Rig::start([]).await;
    rig.ask(&channel(1), "one").await;
    rig.ask(&channel(2), "two").await;
    rig.nothing_happens().await;
    rig.owned.send_replace([2].into());
    assert_eq!(rig.done().await, "two");
    rig.owned.send_replace([1, 2].into());
    assert_eq!(rig.done().await, "one");
    assert_eq!(*rig.busy.borrow(), BTreeSet::from([1, 2]));
    rig.owned.send_replace([1].into());
    rig.until_idle(2).await;
    for text in ["one", "two"] {
        rig.ask(&channel(if text == "one" { 1 } else { 2 }), text).await;
    }
    assert_eq!(rig.done().await, "one");
    assert_eq!(next(&mut rig.other(2).await, 1).await, [("two".to_owned(), 1)]);
    rig.stop().await;
    assert!(rig.busy.borrow().is_empty());
}

#[tokio::test]
async fn a_released_partition_finishes_what_is_in_work_and_gives_back_the_rest() {
    let mut rig = Rig::start([5]).await;
    let mut channels = channels(5);
    let (first, second) = (channels.next().unwrap(), channels.next().unwrap());
    for text in ["gated 1", "2", "3"] {
        rig.ask(&first, text).await;
    }
    rig.ask(&second, "waits 4").await;
    rig.until_taken(4.0).await;
    rig.outcome().await;
    rig.owned.send_replace(BTreeSet::new());
    // It is busy for as long as something is in work.
    assert!(timeout(A_WHILE, rig.busy.wait_for(BTreeSet::is_empty)).await.is_err());
    rig.gate.send_replace(true);
    assert_eq!(rig.done().await, "gated 1");
    rig.until_idle(5).await;
    let expected = ["2", "3", "waits 4"].map(|text| (text.to_owned(), 1));
    assert_eq!(next(&mut rig.other(5).await, 3).await, expected);
    rig.stop().await;
}

#[tokio::test]
async fn of_a_lost_partition_nothing_is_begun_and_nothing_is_said() {
    let mut rig = Rig::start([5]).await;
    let mut channels = channels(5);
    let (first, second) = (channels.next().unwrap(), channels.next().unwrap());
    for text in ["gated 1", "2", "3"] {
        rig.ask(&first, text).await;
    }
    rig.ask(&second, "waits 4").await;
    rig.until_taken(4.0).await;
    rig.outcome().await;
    rig.set_held(false);
    rig.owned.send_replace(BTreeSet::new());
    rig.until_idle(5).await;
    rig.gate.send_replace(true);
    let begun: BTreeSet<String> = [rig.begun().await, rig.begun().await].into();
    assert_eq!(begun, ["gated 1".to_owned(), "waits 4".to_owned()].into());
    rig.nothing_happens().await;
    let expected = ["gated 1", "2", "3", "waits 4"].map(|text| (text.to_owned(), 2));
    assert_eq!(next(&mut rig.other(5).await, 4).await, expected);
    rig.stop().await;
}

#[tokio::test]
async fn by_the_clock_a_partition_is_lost_before_anybody_says_so() {
    let mut rig = Rig::start([5]).await;
    rig.ask(&channel(5), "waits 1").await;
    rig.ask(&channel(5), "2").await;
    rig.until_taken(2.0).await;
    rig.outcome().await;
    rig.set_held(false);
    // It had waited, and is not sent now; the one behind it is not begun.
    rig.gate.send_replace(true);
    assert_eq!(rig.begun().await, "waits 1");
    rig.nothing_happens().await;
    // It was only a moment: all of it is done, and in its order.
    rig.set_held(true);
    assert!(matches!(rig.outcome().await, (_, OutcomeBody::Queued { .. })));
    assert_eq!(rig.done().await, "waits 1");
    assert_eq!(rig.done().await, "2");
    rig.stop().await;
}

#[tokio::test]
async fn a_partition_that_comes_back_while_it_is_left_is_begun_after_that() {
    let mut rig = Rig::start([5]).await;
    rig.ask(&channel(5), "gated 1").await;
    rig.ask(&channel(5), "2").await;
    rig.until_taken(2.0).await;
    rig.owned.send_replace(BTreeSet::new());
    let waiting = timeout(A_WHILE, rig.busy.wait_for(BTreeSet::is_empty)).await;
    assert!(waiting.is_err());
    drop(waiting);
    rig.owned.send_replace([5].into());
    rig.gate.send_replace(true);
    assert_eq!(rig.done().await, "gated 1");
    assert_eq!(rig.done().await, "2");
    rig.stop().await;
}

#[tokio::test]
async fn who_is_not_attached_says_so_until_it_is() {
    let mut rig = Rig::start(0..16).await;
    let readiness = || async {
        let readiness = rig.ctx.health.readiness();
        if readiness.ready { Ok(()) } else { Err(readiness.reason) }
    };
    eventually(SOON, readiness).await;
    rig.nats.kill();
    eventually(SOON, || async {
        let reason = rig.ctx.health.readiness().reason;
        let expected = "actions: not all partitions are attached: attaching again";
        if reason == expected { Ok(()) } else { Err(reason) }
    })
    .await;
    rig.nats.resume().await;
    let readiness = || async {
        let readiness = rig.ctx.health.readiness();
        if readiness.ready { Ok(()) } else { Err(readiness.reason) }
    };
    eventually(SOON, readiness).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_partition_that_goes_to_and_fro_has_each_action_done_once_and_in_order() {
    const CHANNELS: usize = 4;
    const MOVES: usize = 12;
    const EACH: usize = 5;
    let mut rig = Rig::start([5]).await;
    let (other_owned, other_busy) = rig.second().await;
    let mut gateways = [(rig.owned.clone(), rig.busy.clone()), (other_owned, other_busy)];
    let channels: Vec<_> = channels(5).take(CHANNELS).collect();
    for round in 0..MOVES {
        for n in round * EACH..(round + 1) * EACH {
            for (index, channel) in channels.iter().enumerate() {
                rig.ask(channel, &format!("{index} {n}")).await;
            }
        }
        let [(from, left), (to, begun)] = &mut gateways;
        from.send_replace(BTreeSet::new());
        left.wait_for(BTreeSet::is_empty).await.unwrap();
        to.send_replace([5].into());
        begun.wait_for(|busy| !busy.is_empty()).await.unwrap();
        gateways.reverse();
    }
    let mut done = vec![Vec::new(); CHANNELS];
    for _ in 0..CHANNELS * MOVES * EACH {
        let text = rig.done().await;
        let (index, n) = text.split_once(' ').unwrap();
        done[index.parse::<usize>().unwrap()].push(n.parse::<usize>().unwrap());
    }
    for done in done {
        assert_eq!(done, (0..MOVES * EACH).collect::<Vec<_>>());
    }
    rig.stop().await;
}
