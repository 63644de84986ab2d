//! Each action once, whatever happens around it, and none without an outcome.

use std::time::Duration;

use bus::Message;
use protocol::{Action, Catalogue, Delivery, DropReason, VERSION, subject};
use service::clock;
use testkit::eventually;

use crate::rig::{Rig, SOON, channel};

#[tokio::test]
async fn an_action_that_comes_again_is_not_done_again() {
    let mut rig = Rig::start([3]).await;
    let action = rig.ask(&channel(3), "gated").await;
    rig.store(&action, "while it is in work").await;
    rig.until_taken(2.0).await;
    rig.gate.send_replace(true);
    rig.done().await;
    rig.store(&action, "afterwards").await;
    rig.until_taken(3.0).await;
    assert_eq!(rig.begun().await, "gated");
    rig.nothing_happens().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_must_happen_once_is_off_the_stream_before_it_happens() {
    let mut rig = Rig::start([3]).await;
    rig.ask(&channel(3), "once").await;
    rig.begun().await;
    let bus = rig.bus.clone();
    let stored = || async {
        let left = bus::backlogs(&bus).await;
        let left = left.iter().find(|left| left.stream == "ACTIONS_DISCORD").map(|left| left.messages);
        if left == Some(0) { Ok(()) } else { Err(left) }
    };
    eventually(SOON, stored).await;
    // It does not end in time, and nobody else can tell.
    rig.stop().await;
    assert_eq!(rig.dropped().await, ("once".to_owned(), DropReason::Uncertain));
}

#[tokio::test]
async fn what_waits_at_a_stop_goes_to_the_next_process_in_its_order() {
    let mut rig = Rig::start([3]).await;
    let channel = channel(3);
    for text in ["waits", "2", "3"] {
        rig.ask(&channel, text).await;
    }
    rig.until_taken(3.0).await;
    rig.outcome().await;
    rig.stop().await;
    let mut other = rig.other(3).await;
    let expected = ["waits", "2", "3"].map(|text| (text.to_owned(), 1));
    assert_eq!(crate::rig::next(&mut other, 3).await, expected);
    assert_eq!(rig.begun().await, "waits");
    rig.nothing_happens().await;
}

#[tokio::test]
async fn what_is_not_for_this_gateway_or_too_late_is_told() {
    let mut rig = Rig::start([3]).await;
    let action = rig.ask(&channel(3), "gated").await;
    let late = Action { id: action.cause.action(1), expires_at_ms: clock::unix_ms(), ..action };
    rig.names(&late, "late");
    rig.store(&late, "late").await;
    rig.gate.send_replace(true);
    assert_eq!(rig.done().await, "gated");
    assert_eq!(rig.dropped().await, ("late".to_owned(), DropReason::Expired));
    rig.stop().await;
}

#[tokio::test]
async fn a_platform_that_panics_costs_one_action() {
    let mut rig = Rig::start([3]).await;
    rig.ask(&channel(3), "panics").await;
    rig.ask(&channel(3), "and on").await;
    assert_eq!(rig.dropped().await, ("panics".to_owned(), DropReason::Uncertain));
    assert_eq!(rig.done().await, "and on");
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_buried() {
    let mut rig = Rig::start([3]).await;
    let nonsense = Catalogue { v: VERSION, commands: Vec::new() };
    let subject = subject::action(protocol::Platform::Discord, &channel(3), &protocol::CommunityId::direct());
    rig.bus.store(&Message::new(subject, "nonsense", &nonsense).unwrap()).await.unwrap();
    rig.ask(&channel(3), "after it").await;
    assert_eq!(rig.done().await, "after it");
    let left = bus::backlogs(&rig.bus).await;
    assert_eq!(left.iter().find(|left| left.stream == "DEAD").unwrap().messages, 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_may_happen_twice_comes_again_when_it_was_cut_off() {
    let mut rig = Rig::start([3]).await;
    let action = rig.ask(&channel(3), "first").await;
    rig.done().await;
    let again = Action { id: action.cause.action(1), delivery: Delivery::AtLeastOnce, ..action };
    let again =
        Action { body: protocol::ActionBody::Send { content: protocol::Content::text("once") }, ..again };
    rig.names(&again, "once");
    rig.store(&again, "at least once").await;
    for text in ["first", "once"] {
        assert_eq!(rig.begun().await, text);
    }
    rig.stop().await;
    let mut other = rig.other(3).await;
    assert_eq!(crate::rig::next(&mut other, 1).await, [("once".to_owned(), 1)]);
}

#[tokio::test]
async fn a_stop_is_quick_while_nats_is_away() {
    let mut rig = Rig::start([3]).await;
    rig.ask(&channel(3), "waits").await;
    rig.begun().await;
    rig.nats.kill();
    tokio::time::timeout(Duration::from_secs(4), rig.stop()).await.expect("it stops in time");
}
