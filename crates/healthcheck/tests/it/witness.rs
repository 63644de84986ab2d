//! Somebody outside is told every minute.

use crate::{receiver::Receiver, world::World};

fn run_of(query: Option<&str>) -> String {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.find_map(|pair| pair.strip_prefix("rid=")).unwrap().to_owned()
}

#[tokio::test]
async fn the_witness_is_told_of_good_runs_and_bad_ones() {
    let world = World::start().await;
    let mut services = world.services().await;
    let receiver = Receiver::start().await;
    let mut config = world.config();
    config.witness = receiver.address("/my-check?create=1");
    let watching = world.watch(config);
    let good = receiver.gets(|one| one.uri.path() == "/my-check" && one.body.starts_with("healthy")).await;
    assert!(good.uri.query().unwrap().starts_with("create=1&rid="), "{}", good.uri);
    let run = run_of(good.uri.query());
    let begins = |path: &str| path == "/my-check/start";
    let start = receiver.gets(|one| begins(one.uri.path()) && run_of(one.uri.query()) == run).await;
    assert_eq!(start.method, "POST");
    services[0].vanish();
    let bad = receiver.gets(|one| one.uri.path() == "/my-check/fail").await;
    assert!(bad.body.contains("discord-gateway: does not answer"), "{}", bad.body);
    watching.stop().await;
}

#[tokio::test]
async fn a_witness_that_is_gone_is_told_of() {
    let world = World::start().await;
    let _services = world.services().await;
    let receiver = Receiver::start().await;
    receiver.answer(404);
    let mut config = world.config();
    config.witness = receiver.address("/my-check");
    let watching = world.watch(config);
    assert_eq!(watching.is("degraded").await, "degraded: the witness outside cannot be reached\n");
    receiver.answer(200);
    watching.is("healthy").await;
    watching.stop().await;
}
