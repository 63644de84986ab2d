//! The deployer is killed while it waits for a command, which was done or not; the next one goes on.

use std::fs;

use deployer::Config;
use protocol::control::DeployState;
use testkit::eventually;

use crate::world::{IN_VAIN, PACE, SOON, World, at_each, image};

/// Every kind of command that a deploy gives, in a word that no other has.
const COMMANDS: [&str; 11] = [
    "pull --quiet",
    "tag -- registry",
    "image rm -- registry",
    "run --rm",
    "reload=1",
    "--scale provision=1",
    "--scale command-worker=3",
    "stop -- 000000000001",
    "rm -- 000000000001",
    "--scale twitch-gateway=2",
    "--scale healthcheck=1",
];

async fn dies_at(word: &str, when: &str, good: bool) {
    let world = World::start().await;
    world.release(1);
    if !good {
        world.put(&format!("fake/unready/{}", image(1)), "");
    }
    world.put(&format!("fake/hang-{when}"), word);
    let config = Config { pace: if good { PACE } else { IN_VAIN }, ..world.config() };
    let running = world.run(config.clone());
    let id = world.request().await;
    eventually(SOON, || async { fs::read(world.path("fake/hung")).map_err(|_| (word, when)) }).await;
    drop(running);
    let _running = world.run(config);
    let end = world.end(&id).await;
    assert_eq!(end.good, good, "{when} {word}: {}", end.words);
    world.runs(u8::from(good));
    let history = world.history().await;
    let expected = if good { DeployState::RolledOut } else { DeployState::RolledBackTo };
    assert_eq!((history.len(), history[0].state), (1, expected), "{when} {word}");
}

#[tokio::test]
async fn it_goes_on_after_its_death_before_any_command() {
    at_each(&COMMANDS, |word| dies_at(word, "before", true)).await;
}

#[tokio::test]
async fn it_goes_on_after_its_death_after_any_command() {
    at_each(&COMMANDS, |word| dies_at(word, "after", true)).await;
}

#[tokio::test]
async fn it_goes_back_after_its_death_on_the_way_back() {
    for (word, when) in [("stop -- 0000000001", "before"), ("rm -- 0000000001", "after")] {
        dies_at(word, when, false).await;
    }
}
