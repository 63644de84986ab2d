//! The end of the gateway when others hang.

use sandbox::people::Person;

use crate::rig::{DEMO, Plan, QUIET, Rig, send, with_app};

fn plan() -> Plan {
    Plan { variables: with_app(), proxied: true, ..Plan::default() }
}

#[tokio::test]
async fn a_gateway_ends_in_time_when_nats_and_twitch_hang_at_once() {
    let mut rig = Rig::ready(plan()).await;
    let company = rig.another("two").await;
    rig.say(DEMO, "well").await;
    let links = rig.links.as_ref().unwrap();
    for link in [&links.irc, &links.http] {
        link.stall();
    }
    // One message hangs in the API, one waits behind it, one hangs in chat.
    for (channel, text) in [(DEMO, "hangs"), (DEMO, "waits"), (QUIET, "hangs too")] {
        rig.ask(channel, send(text)).await;
    }
    rig.until_counted("actions_total", 1.0).await;
    rig.links.as_ref().unwrap().nats.stall();
    drop(company);
    rig.end().await;
}

#[tokio::test]
async fn a_gateway_whose_queues_are_full_ends_in_time() {
    let mut rig = Rig::ready(plan()).await;
    rig.links.as_ref().unwrap().nats.stall();
    // More commands than the outbox and the queue in front of it take.
    for n in 0..1500 {
        rig.sandbox.twitch().say(Person::Noor, QUIET, &format!("!n {n}")).unwrap();
    }
    rig.until_counted("intake_stalls_total", 1.0).await;
    rig.end().await;
}

#[tokio::test]
async fn a_gateway_that_waits_for_nats_ends_at_once() {
    let nobody = ("NATS_URL", format!("nats://127.0.0.1:{}", testkit::free_port()));
    let mut rig = Rig::start(Plan { variables: vec![nobody], ..Plan::default() }).await;
    rig.end().await;
}
