//! What each user really does, with the client, over the accounts.

use std::{collections::BTreeMap, time::Duration};

use bus::{Bus, Login, Message, Nkey, Options, Queue, Stream, User};
use protocol::{
    Platform, ServiceStats, VERSION,
    control::{Audit, AuditResult, DeployAnswer, DeployOrder, DeployReply, DeployRequest, Restart},
};
use testkit::Nats;

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(30);

fn stats(service: User) -> ServiceStats {
    ServiceStats {
        v: VERSION,
        service: service.name().to_owned(),
        instance: "one".to_owned(),
        build: "0.1.0 (test)".to_owned(),
        uptime_s: 1,
        ready: true,
        reason: String::new(),
        resident_bytes: 1024,
        metrics: BTreeMap::new(),
    }
}

/// Nothing of what it did was refused.
async fn clean(bus: &Bus) {
    bus.round_trip().await;
    assert_eq!(bus.refused(), 0);
}

#[tokio::test]
async fn all_services_are_found_from_the_other_account_and_not_the_other_way_round() {
    let nats = Nats::start_secured().await;
    let services = [
        User::DiscordGateway,
        User::TwitchGateway,
        User::CommandWorker,
        User::Dashboard,
        User::Healthcheck,
        User::Backup,
        User::WebhookDeploy,
        User::Deployer,
    ];
    let mut kept = Vec::new();
    for user in services {
        let bus = nats.bus_as(user, user.name()).await;
        let told = bus.announce(user.name(), move || stats(user)).await.unwrap();
        clean(&bus).await;
        kept.push((bus, told));
    }
    let mut expected = services.map(|user| user.name().to_owned());
    expected.sort();
    for user in [User::Operator, User::Healthcheck] {
        let bus = nats.bus_as(user, "asks").await;
        let found = bus.stats(Duration::from_secs(2)).await;
        assert_eq!(found.into_iter().map(|one| one.service).collect::<Vec<_>>(), expected, "{user}");
        clean(&bus).await;
    }
    let worker = nats.bus_as(User::CommandWorker, "asks").await;
    let found = worker.stats(Duration::from_secs(2)).await;
    let names: Vec<String> = found.into_iter().map(|one| one.service).collect();
    assert_eq!(names, ["command-worker", "dashboard", "discord-gateway", "twitch-gateway"]);
}

#[tokio::test]
async fn the_last_word_of_a_service_is_heard_in_the_other_account() {
    let nats = Nats::start_secured().await;
    let healthcheck = nats.bus_as(User::Healthcheck, "asks").await;
    let mut roll = healthcheck.roll().await.unwrap();
    for user in [User::CommandWorker, User::Backup] {
        let bus = nats.bus_as(user, user.name()).await;
        let told = bus.announce(user.name(), move || stats(user)).await.unwrap();
        bus.round_trip().await;
        // Who asked first is noted when the second question is answered.
        for _ in 0..2 {
            roll.ask().await.unwrap();
            let heard = tokio::time::timeout(SOON, roll.next()).await.unwrap().unwrap();
            assert!(heard.took.is_some(), "{heard:?}");
        }
        drop(told);
        clean(&bus).await;
        // As often as it asked.
        for _ in 0..2 {
            let heard = tokio::time::timeout(SOON, roll.next()).await.unwrap().unwrap();
            assert_eq!((heard.took, heard.stats), (None, stats(user)));
        }
    }
    clean(&healthcheck).await;
}

#[tokio::test]
async fn services_of_both_accounts_are_told_to_start_again() {
    const WITHIN: Duration = Duration::from_secs(5);
    let nats = Nats::start_secured().await;
    let order = |by: User, instance: &str| Restart {
        v: VERSION,
        by: by.name().to_owned(),
        reason: "it hangs".to_owned(),
        instance: Some(instance.to_owned()),
    };
    for asker in [User::Operator, User::Healthcheck] {
        let asks = nats.bus_as(asker, "asks").await;
        for user in [User::DiscordGateway, User::TwitchGateway, User::CommandWorker, User::Backup] {
            let [one, other] = [nats.bus_as(user, "one").await, nats.bus_as(user, "other").await];
            let mut told = one.obey_restart(user.name(), "one").await.unwrap();
            let mut not_told = other.obey_restart(user.name(), "other").await.unwrap();
            one.round_trip().await;
            other.round_trip().await;
            let order = order(asker, "one");
            let obeyed = async {
                tokio::select! {
                    told = told.next() => told,
                    other = not_told.next() => panic!("{other:?} was for the one"),
                }
            };
            let (answer, heard) = tokio::join!(asks.command_restart(user.name(), &order, WITHIN), obeyed);
            assert_eq!((answer.unwrap().instance.as_str(), heard), ("one", Some(order)), "{asker} {user}");
            clean(&one).await;
        }
        clean(&asks).await;
    }
}

/// An order from chat crosses the accounts, and so do its answer and that nobody is there to obey.
#[tokio::test]
async fn a_worker_orders_a_deploy_and_is_answered_from_the_other_account() {
    const WITHIN: Duration = Duration::from_secs(5);
    let nats = Nats::start_secured().await;
    let worker = nats.bus_as(User::CommandWorker, "worker").await;
    let order = DeployOrder::Request { commit: None, force: true };
    let request = DeployRequest { v: VERSION, by: "discord:5".to_owned(), order };
    let nobody = worker.command("deploy", &request, WITHIN).await;
    assert!(matches!(nobody, Err(bus::RequestError::NoResponders { .. })), "{nobody:?}");

    let deployer = nats.bus_as(User::Deployer, "deployer").await;
    let mut orders = deployer.obey::<DeployRequest>("deploy").await.unwrap();
    deployer.round_trip().await;
    let obey = async {
        let ordered = orders.next().await.unwrap();
        let heard = ordered.order.clone();
        let reply = DeployReply::Accepted { job: "deploy-1".to_owned() };
        ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        heard
    };
    let (answer, heard) = tokio::join!(worker.command("deploy", &request, WITHIN), obey);
    assert!(matches!(answer.unwrap().reply, DeployReply::Accepted { job } if job == "deploy-1"));
    assert_eq!(heard, request);
    clean(&worker).await;
    clean(&deployer).await;
}

#[tokio::test]
async fn the_operator_sees_streams_and_handles_dead_letters_of_the_other_account() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    let worker = nats.bus_as(User::CommandWorker, "worker").await;
    let operator = nats.bus_as(User::Operator, "operator").await;
    let mut passing = operator.subscribe("event.>").await.unwrap();
    operator.round_trip().await;

    gateway.store(&Message::new("event.discord.1.raid", "1", &crate::payload()).unwrap()).await.unwrap();
    assert_eq!(passing.next().await.unwrap().subject, "event.discord.1.raid");
    let mut community = worker.consume(Stream::Events, "community", 8).await.unwrap();
    community.next().await.bury("of no use").await.unwrap();

    assert_eq!(bus::backlogs(&operator).await.len(), Stream::ALL.len() + 1);
    for user in [User::Operator, User::Healthcheck] {
        let bus = nats.bus_as(user, "surveys").await;
        let survey = bus.survey().await.unwrap();
        assert_eq!((survey.missing.as_slice(), survey.queues.len()), ([].as_slice(), 5), "{user}");
        clean(&bus).await;
    }
    let letters = operator.dead_letters(None);
    assert_eq!(letters.tally().await.unwrap().count, 1);
    let letter = letters.next(0).await.unwrap().unwrap();
    letters.replay(&letter, None).await.unwrap();
    assert_eq!(letters.tally().await.unwrap().count, 0);
    let again = community.next().await;
    assert_eq!(again.subject, "event.discord.1.raid");
    again.ack().await;
    let entry = Audit {
        v: VERSION,
        at_ms: 1_700_000_000_000,
        service: User::Operator.name().to_owned(),
        by: "cli".to_owned(),
        verb: "replay".to_owned(),
        object: "dead letters 1".to_owned(),
        result: AuditResult::Done,
        words: String::new(),
    };
    operator.note(&entry).await.unwrap();
    assert_eq!(operator.trail(9).await.unwrap(), [entry]);
    for bus in [&gateway, &worker, &operator] {
        clean(bus).await;
    }
}

#[tokio::test]
async fn healthcheck_tells_people_through_the_bot_and_hears_once_what_became_of_it() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let healthcheck = nats.bus_as(User::Healthcheck, "healthcheck").await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    let operator = nats.bus_as(User::Operator, "operator").await;
    let mut passing = operator.subscribe("action.>").await.unwrap();
    let mut outcomes = healthcheck.subscribe("outcome.discord.alerts").await.unwrap();
    operator.round_trip().await;
    healthcheck.round_trip().await;

    let mut actions = gateway.take_over(Queue::Actions(Platform::Discord), 3, 8, || true).await.unwrap();
    let alert = Message::new("action.discord.3.alerts", "1", &crate::payload()).unwrap();
    healthcheck.store(&alert).await.unwrap();
    let action = actions.next().await;
    assert_eq!(action.subject, "action.discord.3.alerts");
    action.ack_sync().await.unwrap();
    gateway.notify("outcome.discord.alerts".to_owned(), &crate::payload(), None).await.unwrap();
    gateway.notify("outcome.discord.alerts".to_owned(), &crate::payload(), Some("last")).await.unwrap();
    assert_eq!(passing.next().await.unwrap().subject, "action.discord.3.alerts");
    let heard = [outcomes.next().await.unwrap(), outcomes.next().await.unwrap()];
    assert_eq!(heard.map(|outcome| outcome.subject), ["outcome.discord.alerts"; 2]);
    let more = tokio::time::timeout(Duration::from_millis(200), outcomes.next()).await;
    assert!(more.is_err(), "it comes once");
    for bus in [&healthcheck, &gateway, &operator] {
        clean(bus).await;
    }
}

/// Asks to connect with what is set, against a server that has users.
async fn refusal(nats: &Nats, nkey: Option<&Nkey>) -> String {
    let login = Login { user: User::Backup, nkey: nkey.map(|key| key.seed().clone()), ca_file: None };
    let options = Options { url: nats.url(), name: "test".to_owned() };
    Bus::connect_as(&login, options).await.unwrap_err().to_string()
}

#[tokio::test]
async fn who_is_not_let_in_is_told_at_once_which_setting_to_look_at() {
    let nats = Nats::start_secured().await;
    let none = refusal(&nats, None).await;
    assert!(none.contains("without a key: expected NATS_NKEY_FILE"), "{none}");
    let other = Nkey::generate().unwrap();
    let wrong = refusal(&nats, Some(&other)).await;
    assert!(wrong.contains(other.public()) && wrong.contains("the one of backup"), "{wrong}");
    let login = Login { user: User::Backup, nkey: Some("hunter2".to_owned().into()), ca_file: None };
    let options = Options { url: nats.url(), name: "test".to_owned() };
    let error = Bus::connect_as(&login, options).await.unwrap_err();
    assert_eq!(error.to_string(), "NATS_NKEY cannot be used");
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let nats = Nats::start_secured().await;
    let gateway = nats.bus_as(User::TwitchGateway, "gateway").await;
    gateway.notify("event.discord.1.raid".to_owned(), &crate::payload(), None).await.unwrap();
    let listening = gateway.subscribe("control.>").await.unwrap();
    testkit::eventually(Duration::from_secs(5), || async {
        let refused = gateway.refused();
        if refused == 2 { Ok(()) } else { Err(refused) }
    })
    .await;
    drop(listening);
}
