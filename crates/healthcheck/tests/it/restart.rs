//! What hangs is told to start again, and that is noted.

use bus::Bus;
use protocol::{
    VERSION,
    control::{Audit, AuditResult, Restart},
};
use testkit::eventually;
use tokio::task::JoinHandle;

use crate::world::{Fake, SOON, World};

/// The trail, once it has so many entries.
async fn trail(bus: &Bus, count: usize) -> Vec<Audit> {
    eventually(SOON, || async {
        let trail = bus.trail(10).await.unwrap();
        if trail.len() >= count { Ok(trail) } else { Err(trail) }
    })
    .await
}

/// The task of this service that answers hangs; the one that obeys does not, and starts it again.
async fn hangs(bus: &Bus, mut fake: Fake, instance: &str) -> JoinHandle<(Fake, Restart)> {
    let mut orders = bus.obey_restart(instance.strip_suffix("-1").unwrap(), instance).await.unwrap();
    bus.round_trip().await;
    fake.vanish();
    let bus = bus.clone();
    tokio::spawn(async move {
        let order = orders.next().await.unwrap();
        drop(orders);
        fake.change(|stats| stats.uptime_s = 0);
        fake.resume(&bus).await;
        (fake, order)
    })
}

#[tokio::test]
async fn what_hangs_is_told_to_start_again_and_what_was_stopped_is_left_alone() {
    let world = World::start().await;
    let mut services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    // It was stopped, and comes first: nobody hears what is said to it.
    let mut worker = services.pop().unwrap();
    worker.vanish();
    let hanging = hangs(&world.bus, services.pop().unwrap(), "twitch-gateway-1").await;
    let (_gateway, order) = hanging.await.unwrap();
    assert_eq!((order.by.as_str(), order.instance.as_deref()), ("healthcheck", Some("twitch-gateway-1")));
    assert!(order.reason.starts_with("it has not answered for"), "{order:?}");
    let trail = trail(&world.bus, 1).await;
    let [entry] = trail.as_slice() else { panic!("{trail:?}") };
    assert_eq!((entry.service.as_str(), entry.by.as_str()), ("healthcheck", "rule:silent"));
    assert_eq!((entry.verb.as_str(), entry.object.as_str()), ("restart", "twitch-gateway-1"));
    assert_eq!(entry.result, AuditResult::Done);
    watching.counts("vigie_health_restarts_total{result=\"obeyed\"} 1").await;
    world.keeps("\"restarts\":{\"twitch-gateway\":[").await;
    worker.resume(&world.bus).await;
    watching.is("healthy").await;
    watching.stop().await;
}

#[tokio::test]
async fn what_hangs_so_that_it_does_not_even_hear_it_is_noted_and_told_of() {
    let world = World::start().await;
    let mut services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    // It is there, as far as NATS knows, and takes nothing.
    let _deaf = world.bus.obey_restart("discord-gateway", "discord-gateway-1").await.unwrap();
    services[0].vanish();
    let trail = trail(&world.bus, 1).await;
    assert_eq!((trail[0].object.as_str(), trail[0].result), ("discord-gateway-1", AuditResult::Failed));
    assert!(trail[0].words.contains("does not hear it"), "{trail:?}");
    watching.counts("vigie_health_restarts_total{result=\"unheard\"} 1").await;
    watching.is("unhealthy: discord-gateway: does not answer").await;
    watching.stop().await;
}

#[tokio::test]
async fn of_several_only_the_one_that_hangs_is_told() {
    let world = World::start().await;
    let _services = world.services().await;
    let second = world.service("command-worker").await;
    second.change(|stats| stats.instance = "command-worker-2".to_owned());
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    watching.counts("vigie_service_instances{service=\"command-worker\"} 2").await;
    let mut well = world.bus.obey_restart("command-worker", "command-worker-1").await.unwrap();
    let mut hangs = world.bus.obey_restart("command-worker", "command-worker-2").await.unwrap();
    drop(second);
    let order = tokio::select! {
        order = hangs.next() => order.unwrap(),
        order = well.next() => panic!("{order:?}"),
    };
    assert_eq!(order.instance.as_deref(), Some("command-worker-2"));
    watching.is("healthy").await;
    watching.stop().await;
}

#[tokio::test]
async fn the_watch_itself_starts_again_when_it_is_told() {
    let world = World::start().await;
    let _services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    let (by, reason) = ("cli".to_owned(), "to see it".to_owned());
    let order = Restart { v: VERSION, by, reason, instance: None };
    let answer = world.bus.command_restart("healthcheck", &order, SOON).await.unwrap();
    assert_eq!(answer.instance, "health-1");
    assert!(watching.ends_to_start_again().await);
}
