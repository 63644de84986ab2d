//! The door that permissions do not close: whoever asks the server chooses the subject of the answer.

use bus::{Message, User};
use testkit::Nats;

use super::raw::Raw;

const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.community";
/// Answered with "there is none", without a payload.
const NONE: &str = r#"{"batch":1,"no_wait":true}"#;

/// So a worker gets an event, or that something was stored, onto a subject that it may not publish to; but of its
/// own account only.
#[tokio::test]
async fn no_answer_of_the_server_reaches_the_other_account() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    for id in ["1", "2", "3"] {
        gateway.store(&Message::new("event.discord.1.raid", id, &crate::payload()).unwrap()).await.unwrap();
    }
    let mut deployer = Raw::connect(&nats, User::Deployer).await;
    assert_eq!(deployer.subscribe("control.deploy.*").await.len(), 0);
    let mut near = Raw::connect(&nats, User::TwitchGateway).await;
    assert_eq!(near.subscribe("control.twitch-gateway.restart").await.len(), 0);

    let mut worker = Raw::connect(&nats, User::CommandWorker).await;
    let far = "control.deploy.request";
    for reply in [far, "control.twitch-gateway.restart"] {
        assert_eq!(worker.publish(reply, "", "{}").await.len(), 1);
        assert_eq!(worker.publish(NEXT, reply, "").await.len(), 0);
        assert_eq!(worker.publish("action.twitch.1.1", reply, "{}").await.len(), 0);
    }
    near.until(2).await;
    for _ in 0..ROUNDS {
        deployer.say("").await;
    }
    assert_eq!(deployer.heard, []);
}

/// After so many round trips the server has done what it was asked before.
const ROUNDS: usize = 20;

/// A service that is asked sends its answer itself, so there its permissions do hold: whoever may say that there
/// is something new cannot have the deployer command itself.
#[tokio::test]
async fn no_service_answers_where_nobody_asked_from() {
    let nats = Nats::start_secured().await;
    let mut webhook = Raw::connect(&nats, User::WebhookDeploy).await;
    let mut deployer = Raw::connect(&nats, User::Deployer).await;
    deployer.subscribe("control.deploy.*").await;
    webhook.publish("control.deploy.request", "control.deploy.rollback", "{}").await;
    deployer.until(1).await;
    assert_eq!(deployer.heard[0].0, "control.deploy.request");
    assert_eq!(deployer.publish("control.deploy.rollback", "", "{}").await.len(), 1);
    assert_eq!(deployer.publish("_INBOX_webhook-deploy.1", "", "{}").await.len(), 0);
}

/// How far it goes inside of an account, so that docs/security.md says no less: the server takes its own answer
/// for a request. This is why what commands the machine is in another one.
#[tokio::test]
async fn inside_an_account_the_door_leads_to_the_streams() {
    let nats = Nats::start_secured().await;
    let provision = nats.bus("provision").await;
    let mut worker = Raw::connect(&nats, User::CommandWorker).await;
    let remove = "$JS.API.STREAM.DELETE.EVENTS";
    assert_eq!(worker.publish(remove, "", "").await.len(), 1);
    assert_eq!(worker.publish(NEXT, remove, NONE).await.len(), 0);
    testkit::eventually(std::time::Duration::from_secs(5), || async {
        let missing = bus::missing(&provision).await;
        if missing == ["EVENTS"] { Ok(()) } else { Err(missing) }
    })
    .await;
}
