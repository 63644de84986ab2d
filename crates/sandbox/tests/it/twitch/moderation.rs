//! Helix: deleting messages, and its refusals.

use std::time::Duration;

use sandbox::{people::Person, twitch};

use super::client::{Http, Irc, say, start_with, tag, without_limits};

const TOKEN: &str = "sandbox-token";
const BROADCASTER: &str = "sandbox-vigie_demo";
const BOT: &str = "800100200";
const DEMO: &str = "700100100";
const QUIET: &str = "700100200";

fn with_moderation() -> twitch::Options {
    twitch::Options { more_scopes: vec!["moderator:manage:chat_messages".to_owned()], ..without_limits() }
}

fn chat(broadcaster: &str, moderator: &str, message: &str) -> String {
    format!("moderation/chat?broadcaster_id={broadcaster}&moderator_id={moderator}&message_id={message}")
}

async fn delete(http: &Http, token: &str, path: &str) -> (u16, String) {
    let answer = http.helix(token, "DELETE", path, None).await;
    (answer.status, answer.body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_moderator_deletes_a_message_or_all() {
    let sandbox = start_with(with_moderation()).await;
    let http = Http::new(&sandbox);
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    let [id, _, _] = ["first", "second", "third"].map(|text| say(&sandbox, "vigie_demo", text));
    assert_eq!(delete(&http, TOKEN, &chat(DEMO, BOT, &id)).await, (204, String::new()));
    let line = irc.expect("CLEARMSG #vigie_demo :first").await;
    assert_eq!(tag(&line, "target-msg-id"), Some(id.clone()));
    let left: Vec<String> =
        sandbox.twitch().history("vigie_demo").into_iter().map(|line| line.text).collect();
    assert_eq!(left, ["second", "third"]);
    let again = delete(&http, TOKEN, &chat(DEMO, BOT, &id)).await;
    assert_eq!(again, (404, "The ID in message_id was not found.".to_owned()));

    let all = format!("moderation/chat?broadcaster_id={DEMO}&moderator_id={DEMO}");
    assert_eq!(delete(&http, BROADCASTER, &all).await.0, 204);
    irc.expect("CLEARCHAT #vigie_demo").await;
    assert!(sandbox.twitch().history("vigie_demo").is_empty());
    assert_eq!(sandbox.counters().get("twitch.helix.DELETE /moderation/chat"), 3);
}

#[tokio::test]
async fn whose_messages_may_not_be_deleted() {
    let sandbox = start_with(with_moderation()).await;
    let http = Http::new(&sandbox);
    let said = |person| sandbox.twitch().say(person, "vigie_demo", "mine").unwrap();
    let (owners, moderators) = (said(Person::Olive), said(Person::Max));
    let answer = delete(&http, TOKEN, &chat(DEMO, BOT, &owners)).await;
    assert_eq!(answer, (400, "You may not delete the broadcaster's messages.".to_owned()));
    let answer = delete(&http, TOKEN, &chat(DEMO, BOT, &moderators)).await;
    assert_eq!(answer, (400, "You may not delete another moderator's messages.".to_owned()));
    let viewers = say(&sandbox, "quiet_corner", "mine");
    let answer = delete(&http, TOKEN, &chat(QUIET, BOT, &viewers)).await;
    assert_eq!(
        answer,
        (403, "The user in moderator_id is not one of the broadcaster's moderators.".to_owned())
    );
    assert_eq!(sandbox.twitch().history("vigie_demo").len(), 2);
    assert_eq!(sandbox.twitch().history("quiet_corner").len(), 1);
}

#[tokio::test]
async fn a_message_that_is_too_old_stays() {
    let options = twitch::Options { deletable_for: Duration::ZERO, ..with_moderation() };
    let sandbox = start_with(options).await;
    let id = say(&sandbox, "vigie_demo", "long ago");
    let answer = delete(&Http::new(&sandbox), TOKEN, &chat(DEMO, BOT, &id)).await;
    assert_eq!(answer, (404, "The specified message was created more than 6 hours ago.".to_owned()));
    assert_eq!(sandbox.twitch().history("vigie_demo").len(), 1);
}

#[tokio::test]
async fn who_may_not_delete() {
    let sandbox = start_with(with_moderation()).await;
    let http = Http::new(&sandbox);
    let id = say(&sandbox, "vigie_demo", "hello");
    let another = delete(&http, TOKEN, &chat(DEMO, DEMO, &id)).await;
    assert_eq!(another.0, 401, "{another:?}");
    assert_eq!(delete(&http, TOKEN, &chat("", BOT, &id)).await.0, 400);
    assert_eq!(delete(&http, TOKEN, &chat(DEMO, "", &id)).await.0, 400);
    assert_eq!(delete(&http, TOKEN, &chat("1", BOT, &id)).await.0, 400);
    let lacks_scope = (401, "Missing scope: moderator:manage:chat_messages".to_owned());
    let app = http.app_token().await;
    assert_eq!(delete(&http, &app, &chat(DEMO, BOT, &id)).await, lacks_scope);
    // Most bots were granted no more than they need to talk.
    let plain = start_with(without_limits()).await;
    let id = say(&plain, "vigie_demo", "hello");
    assert_eq!(delete(&Http::new(&plain), TOKEN, &chat(DEMO, BOT, &id)).await, lacks_scope);
    assert_eq!(sandbox.twitch().history("vigie_demo").len(), 1);
}
