//! Actions that become messages, by Twitch's API.

use std::time::{Duration, Instant};

use protocol::{ActionBody, Delivery, DropReason, MessageId, OutcomeBody};
use sandbox::{
    people::Person,
    twitch::{self, Change, Standing},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::rig::{DEMO, Plan, QUIET, Rig, dropped, message_of, reply, send, with_app};

async fn ready() -> Rig {
    Rig::ready(Plan { variables: with_app(), ..Plan::default() }).await
}

#[tokio::test]
async fn an_application_speaks_for_the_bot() {
    let mut rig = ready().await;
    let asked = rig.sandbox.twitch().say(Person::Ines, DEMO, "!ping").unwrap();
    let action = rig.ask(DEMO, reply(&asked, "pong")).await;
    let outcome = rig.outcome_of(&action).await;
    let line = rig.sandbox.twitch().history(DEMO).pop().unwrap();
    assert_eq!(
        (line.reply_to.as_deref(), line.id.as_str()),
        (Some(asked.as_str()), message_of(&outcome).as_str())
    );
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in.helix"), 1);
    // The bot reads its own words on its own connection, and passes them by.
    rig.until_counted("lines_passed_total.own", 1.0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_application_token_is_replaced_once() {
    let mut rig = ready().await;
    rig.sandbox.twitch().faults().fail_helix(401, 1);
    rig.say(DEMO, "hello").await;
    assert_eq!(rig.sandbox.counters().get("twitch.oauth.app_token"), 2);
    rig.stop().await;
}

#[tokio::test]
async fn twitchs_reason_is_told() {
    let mut rig = ready().await;
    let automod = Change { drop_reason: Some("automod_held".to_owned()), ..Change::default() };
    rig.sandbox.twitch().faults().set(automod);
    let action = rig.ask(DEMO, send("hello")).await;
    let outcome = rig.outcome_of(&action).await;
    let (reason, detail) = dropped(&outcome);
    assert_eq!(reason, DropReason::Refused);
    assert!(detail.contains("automod_held"), "{detail}");
    rig.stop().await;
}

#[tokio::test]
async fn chat_is_used_where_the_application_may_not_speak() {
    let mut rig = ready().await;
    for text in ["one", "two"] {
        rig.say(QUIET, text).await;
    }
    assert_eq!(rig.seen(QUIET), ["one", "two"]);
    assert_eq!(rig.sandbox.counters().get("twitch.helix.status.403"), 1, "it is not asked again at once");
    rig.stop().await;
}

#[tokio::test]
async fn chat_is_used_when_the_application_is_not_known() {
    let variables =
        vec![("TWITCH_CLIENT_ID", "sandbox-client".to_owned()), ("TWITCH_CLIENT_SECRET", "wrong".to_owned())];
    let mut rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    rig.say(DEMO, "hello").await;
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in.helix"), 0);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_uncertain_is_done_again_only_where_twice_is_better_than_never() {
    for status in [500, 503] {
        let mut rig = ready().await;
        rig.sandbox.twitch().faults().fail_helix(status, 1);
        let action = rig.ask(DEMO, send("perhaps")).await;
        assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Uncertain);
        rig.stop().await;
        let mut rig = ready().await;
        rig.sandbox.twitch().faults().fail_helix(status, 1);
        let action = rig.ask_with(DEMO, send("thanks"), Delivery::AtLeastOnce, Duration::from_secs(30)).await;
        message_of(&rig.outcome_of(&action).await);
        assert_eq!(rig.seen(DEMO), ["thanks"]);
        rig.stop().await;
    }
}

#[tokio::test]
async fn an_answer_to_what_is_gone_is_said_plainly() {
    let mut rig = ready().await;
    let action = rig.ask(DEMO, reply("00000000-0000-4000-8000-000000000000", "pong")).await;
    message_of(&rig.outcome_of(&action).await);
    assert_eq!(rig.seen(DEMO), ["pong"]);
    rig.stop().await;
}

#[tokio::test]
async fn own_messages_tell_what_the_bot_is_here() {
    let mut plan = Plan { variables: with_app(), ..Plan::default() };
    plan.sandbox.twitch.channel_bot.push(QUIET.to_owned());
    let mut rig = Rig::ready(plan).await;
    // Nothing tells this when it happens, and no USERSTATE confirms what the API sends.
    rig.sandbox.twitch().set_standing(QUIET, "vigie_bot", Standing::Moderator).unwrap();
    rig.say(QUIET, "who am I").await;
    rig.until_counted("lines_passed_total.own", 1.0).await;
    let begun = Instant::now();
    // Viewers have to wait for a second between two of them.
    for n in 0..5 {
        rig.say(QUIET, format!("quick {n}")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    rig.stop().await;
}

#[tokio::test]
async fn a_request_that_hangs_does_not_keep_the_gateway() {
    let mut rig = ready().await;
    let hang = Change { helix_slow_ms: Some(60_000), ..Change::default() };
    rig.sandbox.twitch().faults().set(hang);
    let action = rig.ask(DEMO, send("perhaps")).await;
    rig.count("twitch.helix.POST /chat/messages", 1).await;
    let begun = Instant::now();
    rig.end().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Uncertain);
}

#[tokio::test]
async fn chat_is_used_while_no_token_can_be_had() {
    let mut rig = ready().await;
    rig.sandbox.twitch().faults().fail_oauth(500, 1);
    for text in ["one", "two"] {
        rig.say(DEMO, text).await;
    }
    assert_eq!(rig.seen(DEMO), ["one", "two"]);
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in.helix"), 0);
    assert_eq!(rig.sandbox.counters().get("twitch.oauth.token"), 1, "it is not asked again at once");
    rig.stop().await;
}

#[tokio::test]
async fn chat_is_used_when_no_token_is_taken() {
    let mut rig = ready().await;
    rig.sandbox.twitch().faults().fail_helix(401, 2);
    for text in ["one", "two"] {
        rig.say(DEMO, text).await;
    }
    assert_eq!(rig.seen(DEMO), ["one", "two"]);
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in.helix"), 0);
    assert_eq!(rig.sandbox.counters().get("twitch.helix.status.401"), 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_moderator_deletes_what_twitch_lets_it_delete() {
    let scope = "moderator:manage:chat_messages".to_owned();
    let options = twitch::Options { more_scopes: vec![scope], ..twitch::Options::default() };
    let sandbox = sandbox::Options { twitch: options, ..sandbox::Options::default() };
    let mut rig = Rig::ready(Plan { sandbox, ..Plan::default() }).await;
    let said = |rig: &Rig, person| rig.sandbox.twitch().say(person, DEMO, "spam").unwrap();
    let delete = |id: &str| ActionBody::Delete { message: MessageId::new(id).unwrap() };
    let (viewers, owners) = (said(&rig, Person::Ines), said(&rig, Person::Olive));
    let action = rig.ask(DEMO, delete(&viewers)).await;
    let outcome = rig.outcome_of(&action).await;
    assert!(matches!(outcome, OutcomeBody::Sent { message: None, .. }), "{outcome:?}");
    let left: Vec<_> = rig.sandbox.twitch().history(DEMO).into_iter().map(|line| line.id).collect();
    assert_eq!(left, [owners.as_str()]);

    let refused = [
        (DEMO, owners, DropReason::Invalid, "the broadcaster's messages"),
        (DEMO, viewers, DropReason::NotFound, "was not found"),
        (QUIET, "any".to_owned(), DropReason::Forbidden, "not one of the broadcaster's moderators"),
    ];
    for (channel, message, reason, words) in refused {
        let action = rig.ask(channel, delete(&message)).await;
        let outcome = rig.outcome_of(&action).await;
        let (found, detail) = dropped(&outcome);
        assert!(found == reason && detail.contains(words), "{found:?}: {detail}");
    }
    assert_eq!(rig.seen(DEMO), ["spam"]);
    rig.stop().await;
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endless = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // An answer that comes before the question is none.
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    });
    let mut plan = Plan { variables: with_app(), ..Plan::default() };
    plan.variables.push(("TWITCH_API_URL", url));
    let mut rig = Rig::ready(plan).await;
    let action = rig.ask(DEMO, send("perhaps")).await;
    let outcome = rig.outcome_of(&action).await;
    let (reason, detail) = dropped(&outcome);
    assert!(reason == DropReason::Uncertain && detail.contains("more than 65536 bytes"), "{detail}");
    endless.await.unwrap();
    rig.stop().await;
}
