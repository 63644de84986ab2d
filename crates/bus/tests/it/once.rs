//! One holder among all, for a while.

use std::time::Duration;

use testkit::{Nats, eventually};

#[tokio::test]
async fn one_owner_holds_a_key_until_its_time_is_over() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let ttl = Duration::from_secs(1);
    let owners: Vec<String> = (0..8).map(|n| format!("event-{n}")).collect();
    let tries = owners.iter().map(|owner| bus.once("ping.42", owner, ttl));
    let held: Vec<bool> =
        futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(held.iter().filter(|held| **held).count(), 1, "{held:?}");
    let winner = &owners[held.iter().position(|held| *held).unwrap()];
    assert!(bus.once("ping.42", winner, ttl).await.unwrap(), "the same owner asks again");
    assert!(bus.once("ping.43", "another", ttl).await.unwrap(), "another key is free");
    eventually(Duration::from_secs(5), || async {
        if bus.once("ping.42", "later", ttl).await.unwrap() { Ok(()) } else { Err("still held") }
    })
    .await;
}
