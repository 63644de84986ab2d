//! The door that permissions do not close: whoever asks the server chooses the subject of the answer.

use bus::{Message, User};
use testkit::Nats;

use super::raw::Raw;

const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.community";
/// Answered with "there is none", without a payload.
const NONE: &str = r#"{"batch":1,"no_wait":true}"#;

/// So a worker gets an event, or that something was stored, onto a subject that it may not publish to; but of its
/// own account only, and of what that one is given by name.
#[tokio::test]
async fn no_answer_of_the_server_reaches_what_the_other_account_does_not_give() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    for id in ["1", "2", "3", "4", "5", "6"] {
        gateway.store(&Message::new("event.discord.1.raid", id, &crate::payload()).unwrap()).await.unwrap();
    }
    let mut deployer = Raw::connect(&nats, User::Deployer).await;
    assert_eq!(deployer.subscribe("control.deploy.*").await.len(), 0);
    assert_eq!(deployer.subscribe("control.deployer.restart").await.len(), 0);
    let mut backup = Raw::connect(&nats, User::Backup).await;
    assert_eq!(backup.subscribe("control.backup.*").await.len(), 0);
    let mut near = Raw::connect(&nats, User::TwitchGateway).await;
    assert_eq!(near.subscribe("control.twitch-gateway.restart").await.len(), 0);

    let mut worker = Raw::connect(&nats, User::CommandWorker).await;
    let far =
        ["control.backup.restore", "control.backup.drill", "control.deploy.now", "control.deployer.restart"];
    for reply in far.into_iter().chain(["control.twitch-gateway.restart"]) {
        assert_eq!(worker.publish(reply, "", "{}").await.len(), 1);
        assert_eq!(worker.publish(NEXT, reply, "").await.len(), 0);
        assert_eq!(worker.publish("action.twitch.1.1", reply, "{}").await.len(), 0);
    }
    near.until(2).await;
    for _ in 0..ROUNDS {
        deployer.say("").await;
        backup.say("").await;
    }
    assert_eq!((deployer.heard, backup.heard), (Vec::new(), Vec::new()));
}

/// How far it goes where a subject is given by name: also to those of the account who are not granted it. So what is
/// given must be harmless in the hands of any of them, as docs/security.md says.
#[tokio::test]
async fn what_is_given_by_name_is_reached_by_a_detour_as_well() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let mut deployer = Raw::connect(&nats, User::Deployer).await;
    deployer.subscribe("control.deploy.*").await;
    let mut gateway = Raw::connect(&nats, User::TwitchGateway).await;
    let given = "control.deploy.request";
    assert_eq!(gateway.publish(given, "", "{}").await.len(), 1);
    assert_eq!(gateway.publish("event.twitch.1.raid", given, "{}").await.len(), 0);
    deployer.until(1).await;
    assert_eq!(deployer.heard[0].0, given);
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
    testkit::eventually(std::time::Duration::from_secs(30), || async {
        let missing = bus::missing(&provision).await;
        if missing == ["EVENTS"] { Ok(()) } else { Err(missing) }
    })
    .await;
}
