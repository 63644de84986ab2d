//! In each channel one after the other, and no channel at the cost of another.

use std::collections::BTreeSet;

use actions::{HELD, MAX_LANE};
use protocol::{DropReason, OutcomeBody};

use crate::rig::{Rig, channel, channels};

#[tokio::test]
async fn a_channel_keeps_its_order_and_holds_up_no_other() {
    let mut rig = Rig::start([3]).await;
    let mut channels = channels(3);
    let (slow, quick) = (channels.next().unwrap(), channels.next().unwrap());
    for text in ["gated 1", "2", "3"] {
        rig.ask(&slow, text).await;
    }
    rig.ask(&quick, "quick").await;
    assert_eq!(rig.done().await, "quick");
    rig.gate.send_replace(true);
    for text in ["gated 1", "2", "3"] {
        assert_eq!(rig.done().await, text);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_channel_has_room_for_so_many() {
    let mut rig = Rig::start([3]).await;
    let slow = channel(3);
    for n in 0..=MAX_LANE + 1 {
        rig.ask(&slow, &format!("gated {n}")).await;
    }
    let last = format!("gated {}", MAX_LANE + 1);
    assert_eq!(rig.dropped().await, (last, DropReason::RateLimited));
    rig.gate.send_replace(true);
    for n in 0..=MAX_LANE {
        assert_eq!(rig.done().await, format!("gated {n}"));
    }
    rig.stop().await;
}

#[tokio::test]
async fn slow_channels_together_keep_no_other_out() {
    let mut rig = Rig::start([3]).await;
    let mut channels = channels(3);
    let slow: Vec<_> = channels.by_ref().take(HELD / 16).collect();
    for n in 0..16 {
        for (index, slow) in slow.iter().enumerate() {
            rig.ask(slow, &format!("gated {index}.{n}")).await;
        }
    }
    rig.until_taken(f64::from(u32::try_from(HELD).unwrap())).await;
    rig.ask(&channels.next().unwrap(), "quick").await;
    // The last one of some slow channel gave way.
    let (text, reason) = rig.dropped().await;
    assert!(text.starts_with("gated") && text.ends_with(".15"), "{text}");
    assert_eq!(reason, DropReason::RateLimited);
    assert_eq!(rig.done().await, "quick");
    rig.gate.send_replace(true);
    let mut done = BTreeSet::new();
    for _ in 1..HELD {
        done.insert(rig.done().await);
    }
    assert_eq!(done.len(), HELD - 1);
    rig.stop().await;
}

#[tokio::test]
async fn waiting_for_a_limit_is_told_once() {
    let mut rig = Rig::start([3]).await;
    rig.ask(&channel(3), "waits").await;
    assert_eq!(rig.outcome().await.1, OutcomeBody::Queued { wait_ms: 3000 });
    rig.gate.send_replace(true);
    assert_eq!(rig.done().await, "waits");
    let numbers = rig.ctx.metrics.snapshot();
    assert_eq!((numbers["outcomes_total.queued"], numbers["outcomes_total.sent"]), (1.0, 1.0));
    rig.stop().await;
}
