//! The table against the server, pattern by pattern.

use std::collections::BTreeSet;

use bus::User;
use testkit::Nats;

use super::raw::Raw;

/// What nobody at all is granted, besides what only others are.
const NOBODYS: [&str; 12] = [
    ">",
    "$JS.API.>",
    "$JS.API.STREAM.DELETE.EVENTS",
    "$JS.API.STREAM.CREATE.SPY",
    "$JS.API.STREAM.SNAPSHOT.EVENTS",
    "$JS.API.STREAM.LIST",
    "$JS.API.SERVER.REMOVE",
    "$SYS.REQ.SERVER.PING",
    "control.nobody.restart",
    "secrets.all",
    "_INBOX.somebody",
    "$KV.settings.other",
];

fn publishes(user: User) -> BTreeSet<String> {
    user.grants().into_iter().flat_map(|grant| grant.publish).collect()
}

fn subscribes(user: User) -> BTreeSet<String> {
    user.grants().into_iter().flat_map(|grant| grant.subscribe).collect()
}

/// A subject that fits the pattern, and no other one of the table that the pattern does not imply.
fn sample(pattern: &str) -> String {
    pattern.replace('*', "7").replace('>', "7.7")
}

fn fits(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

fn everything(of: impl Fn(User) -> BTreeSet<String>) -> BTreeSet<String> {
    User::ALL.into_iter().flat_map(of).chain(NOBODYS.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_user_may_publish_what_it_is_granted_and_nothing_else() {
    let nats = Nats::start_secured().await;
    let all = everything(publishes);
    let (mut passed, mut held) = (0, 0);
    for user in User::ALL {
        let mut raw = Raw::connect(&nats, user).await;
        let granted = publishes(user);
        for subject in all.iter().map(|pattern| sample(pattern)) {
            let may = granted.iter().any(|pattern| fits(pattern, &subject));
            let refused = raw.publish(&subject, "", "").await;
            assert_eq!(refused.is_empty(), may, "{user} publishes {subject}: {refused:?}");
            *if may { &mut passed } else { &mut held } += 1;
        }
    }
    assert!(passed > 200 && held > 800, "{passed} {held}");
}

#[tokio::test]
async fn a_user_may_listen_to_what_it_is_granted_and_nothing_else() {
    let nats = Nats::start_secured().await;
    let all = everything(subscribes);
    for user in User::ALL {
        let mut raw = Raw::connect(&nats, user).await;
        let granted = subscribes(user);
        for pattern in &all {
            // Another group, or none, would take from its group what is meant for one of it.
            let may =
                granted.iter().any(|of_user| match (of_user.split_once(' '), pattern.split_once(' ')) {
                    (Some(of_user), Some(pattern)) => of_user == pattern,
                    (None, None) => fits(of_user, pattern),
                    _ => false,
                });
            let refused = raw.subscribe(pattern).await;
            assert_eq!(refused.is_empty(), may, "{user} listens to {pattern}: {refused:?}");
            raw.unsubscribe().await;
        }
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_key_that_the_server_knows() {
    let nats = Nats::start_secured().await;
    let (_, refused) = Raw::greet(&nats, None).await;
    assert_eq!(refused, ["-ERR 'Authorization Violation'"]);
    let other = bus::Nkey::generate().unwrap();
    let (_, refused) = Raw::greet(&nats, Some(secrecy::ExposeSecret::expose_secret(other.seed()))).await;
    assert_eq!(refused, ["-ERR 'Authorization Violation'"]);
}

/// What must hold whatever the table says: these are refused, each to each of these users.
#[tokio::test]
async fn what_nobody_may_be_granted_by_mistake_is_refused() {
    const APP: [User; 4] = [User::DiscordGateway, User::TwitchGateway, User::Provision, User::Dashboard];
    const PUBLISH: [(&[User], &[&str]); 6] = [
        // A worker has done what is said in chat. Nothing is brought back there, and nothing ended.
        (
            &[User::CommandWorker],
            &[
                "control.deploy.now",
                "control.backup.restore",
                "control.backup.verify",
                "control.backup.drill",
                "control.backup.restart",
                "control.deployer.restart",
                "$KV.lease.others",
            ],
        ),
        // Of the others nobody but the operator and whoever is told to speaks to backup and deployer.
        (
            &APP,
            &[
                "control.deploy.request",
                "control.deploy.now",
                "control.backup.create",
                "control.backup.restore",
            ],
        ),
        (&[User::WebhookDeploy, User::Healthcheck], &["control.deploy.rollback", "control.backup.create"]),
        (&[User::WebhookDeploy], &["$SRV.STATS", "$JS.API.STREAM.INFO.EVENTS", "control.deployer.restart"]),
        // A gateway does not speak for the other platform, a worker for none.
        (&[User::TwitchGateway, User::CommandWorker], &["event.discord.1.command.3", "outcome.discord"]),
        (
            &[User::DiscordGateway, User::TwitchGateway, User::CommandWorker, User::Dashboard],
            &[
                "$JS.API.STREAM.CREATE.EVENTS",
                "$JS.API.STREAM.UPDATE.EVENTS",
                "$JS.API.STREAM.PURGE.DEAD",
                "$JS.API.STREAM.MSG.DELETE.EVENTS",
                "$JS.API.STREAM.MSG.GET.DEAD",
                "$JS.API.CONSUMER.CREATE.EVENTS.spy",
                "$JS.API.CONSUMER.CREATE.EVENTS.spy.event.>",
                "_INBOX_operator.x",
                "_INBOX_deployer.x",
            ],
        ),
    ];
    let nats = Nats::start_secured().await;
    for (users, subjects) in PUBLISH {
        for user in users {
            let mut raw = Raw::connect(&nats, *user).await;
            for subject in subjects {
                let refused = raw.publish(subject, "", "").await;
                assert_eq!(refused.len(), 1, "{user} publishes {subject}");
            }
        }
    }
    for user in User::ALL {
        let mut raw = Raw::connect(&nats, user).await;
        let others =
            User::ALL.into_iter().filter(|other| *other != user).map(|other| format!("{}.>", other.inbox()));
        let words =
            [">", "_INBOX.>", "_INBOX_*.>", "*.>", "$JS.>", "$JS.ACK.>", "$SYS.>", "$KV.>", "control.>"];
        for subject in words.into_iter().map(str::to_owned).chain(others) {
            assert_eq!(raw.subscribe(&subject).await.len(), 1, "{user} listens to {subject}");
        }
    }
}
