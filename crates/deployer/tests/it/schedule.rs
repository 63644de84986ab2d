//! The deployer looks by itself, once in its window, and does what `DEPLOY_CHECK` says.

use std::{fs, time::Duration};

use deployer::{Config, Pace};
use protocol::control::AuditResult;
use service::clock::unix_ms;
use testkit::eventually;

use crate::world::{PACE, SOON, World};

/// Settings with a window that began so many minutes ago, and lasts an hour.
fn config(world: &World, check: &str, ago: u64) -> Config {
    const DAY: u64 = 24 * 60;
    let from = unix_ms() / 60_000 + DAY - ago;
    let time = |minutes: u64| format!("{:02}:{:02}", minutes % DAY / 60, minutes % 60);
    let window = format!("{}-{}", time(from), time(from + 60));
    world.config_with([("DEPLOY_CHECK", check.to_owned()), ("DEPLOY_WINDOW", window)])
}

/// Who asked for the deploys that are over, the newest first.
async fn asked_by(world: &World, deploys: usize) -> Vec<String> {
    eventually(SOON, || async {
        let history = world.history().await;
        let by: Vec<String> = history.iter().map(|deploy| deploy.by.clone()).collect();
        if by.len() >= deploys { Ok(by) } else { Err(history) }
    })
    .await
}

#[tokio::test]
async fn what_is_new_is_rolled_out_once_in_the_window() {
    let world = World::start().await;
    world.release(1);
    let running = world.run(config(&world, "auto", 30));
    assert_eq!(asked_by(&world, 1).await, ["schedule"]);
    world.runs(1);
    // The window is still open, and the next one has looked already.
    drop(running);
    world.release(2);
    let _running = world.run(config(&world, "auto", 30));
    world.status().await;
    world.runs(1);
    assert!(world.deploy().await.good);
    assert_eq!(asked_by(&world, 2).await, ["cli", "schedule"]);
}

#[tokio::test]
async fn outside_of_the_window_nothing_is_done() {
    let world = World::start().await;
    let _running = world.run(config(&world, "auto", 120));
    for number in 1..=2 {
        world.release(number);
        assert!(world.deploy().await.good);
    }
    assert_eq!(asked_by(&world, 2).await, ["cli", "cli"]);
}

/// One error of the network, and nobody heard of a release before the next day.
#[tokio::test]
async fn people_are_told_once_what_is_new_also_when_it_could_not_be_looked_at_first() {
    let world = World::start().await;
    let pace = Pace { limit: Duration::from_millis(100), ..PACE };
    let _running = world.run(Config { pace, ..config(&world, "notify", 30) });
    // It looks at the platform each time, and the health of the engine does so once a minute.
    eventually(SOON, || async {
        let log = fs::read_to_string(world.path("fake/log")).unwrap_or_default();
        if log.matches("version --format").count() > 4 { Ok(()) } else { Err(log) }
    })
    .await;
    world.release(1);
    let told = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail.is_empty() { Err("nothing is told") } else { Ok(trail) }
    })
    .await;
    let entry = &told[0];
    assert_eq!(
        (entry.by.as_str(), entry.verb.as_str(), entry.result),
        ("schedule", "check", AuditResult::Done)
    );
    assert_eq!((told.len(), entry.words.as_str()), (1, "1.1.0 is there; `vigie deploy now` rolls it out"));
    assert_eq!((world.history().await, world.status().await.job), (Vec::new(), None));
    world.runs(0);
}
