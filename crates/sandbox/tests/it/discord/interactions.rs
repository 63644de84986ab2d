//! The life of an interaction: first answer, edits, follow-ups, and when it is too late.

use std::time::Duration;

use reqwest::Method;
use sandbox::{
    discord::{Options, ids},
    feed::Item,
    people::Person,
};
use serde_json::{Value, json};

use super::bot::{Bot, Harbour, INTENTS, Reply, SOON, next_line};

fn commands() -> Value {
    json!([
        { "name": "ping", "description": "answers" },
        { "name": "echo", "description": "repeats", "options": [
            { "type": 3, "name": "text", "description": "what", "required": true },
            { "type": 4, "name": "times", "description": "how often", "max_value": 3 },
            { "type": 6, "name": "to", "description": "whom" },
            { "type": 3, "name": "tone", "description": "how", "autocomplete": true },
        ] },
        { "name": "stats", "description": "counts", "options": [
            { "type": 1, "name": "shards", "description": "of shards" }] },
    ])
}

async fn ready(options: Options) -> (Harbour, Bot) {
    let harbour = Harbour::with(options).await;
    harbour.register(commands()).await;
    let bot = harbour.identified(INTENTS).await;
    (harbour, bot)
}

async fn callback(harbour: &Harbour, interaction: &Value, body: Value) -> Reply {
    let (id, token) = (interaction["id"].as_str().unwrap(), interaction["token"].as_str().unwrap());
    // Callbacks carry no authorization; the token in the path is enough.
    let path = format!("/interactions/{id}/{token}/callback?with_response=true");
    harbour.ask(Method::POST, &path, None, Some(body)).await
}

async fn webhook(
    harbour: &Harbour,
    interaction: &Value,
    method: Method,
    rest: &str,
    body: Option<Value>,
) -> Reply {
    let token = interaction["token"].as_str().unwrap();
    harbour.ask(method, &format!("/webhooks/{}/{token}{rest}", ids::APPLICATION), None, body).await
}

#[tokio::test]
async fn a_slash_command_is_dispatched_whole_and_answered() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let mut shown = harbour.feed.watch();
    let id = harbour.slash("echo", json!({ "text": "ahoy", "times": 2, "to": "max" }));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&asked["id"], &asked["type"]), (&json!(id), &json!(2)));
    assert_eq!(asked["member"]["user"]["username"], "ines");
    assert!(asked["member"]["permissions"].is_string());
    assert_eq!(asked["channel"]["id"], ids::GENERAL.to_string());
    let max = ids::of_person(Person::Max).to_string();
    let options = json!([
        { "name": "text", "type": 3, "value": "ahoy" },
        { "name": "times", "type": 4, "value": 2 },
        { "name": "to", "type": 6, "value": max },
    ]);
    assert_eq!(asked["data"]["options"], options);
    assert_eq!(asked["data"]["resolved"]["users"][&max]["username"], "max");
    assert!(asked["data"]["resolved"]["members"][&max]["permissions"].is_string());

    let answer = callback(&harbour, &asked, json!({ "type": 4, "data": { "content": "ahoy!" } })).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["resource"]["message"]["content"], "ahoy!");
    assert_eq!(answer.body["interaction"]["response_message_loading"], false);
    let created = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!(created["type"], 20);
    assert_eq!(created["webhook_id"], ids::APPLICATION.to_string());
    assert_eq!(created["interaction_metadata"]["id"], asked["id"]);
    assert_eq!(created["interaction_metadata"]["user"]["username"], "ines");
    let line = next_line(&mut shown).await;
    assert_eq!(line.heading.as_deref(), Some("/echo by Ines"));
    assert_eq!(line.reply_to.as_deref(), Some(id.as_str()));
    assert!(line.latency_us.is_some());

    let again = callback(&harbour, &asked, json!({ "type": 4, "data": { "content": "again" } })).await;
    assert_eq!(again.refusal(), (400, 40060));
}

#[tokio::test]
async fn a_deferred_answer_is_edited_in_and_followed_up() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let mut shown = harbour.feed.watch();
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    let early = webhook(&harbour, &asked, Method::POST, "", Some(json!({ "content": "x" }))).await;
    assert_eq!(early.refusal(), (404, 10015), "nothing was answered yet");
    let deferred = callback(&harbour, &asked, json!({ "type": 5 })).await;
    assert_eq!(deferred.body["interaction"]["response_message_loading"], true);
    let loading = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!((&loading["flags"], &loading["content"]), (&json!(128), &json!("")));
    assert!(matches!(shown.recv().await, Ok(Item::Notice { .. })), "people see that it thinks");
    assert_eq!(harbour.discord.history(&ids::GENERAL.to_string()).len(), 0);

    let edit = Some(json!({ "content": "pong" }));
    let edited = webhook(&harbour, &asked, Method::PATCH, "/messages/@original", edit).await;
    assert_eq!((&edited.body["id"], &edited.body["flags"]), (&loading["id"], &json!(0)));
    assert_eq!(bot.dispatch("MESSAGE_UPDATE").await["content"], "pong");
    assert!(next_line(&mut shown).await.latency_us.is_some());

    let follow =
        webhook(&harbour, &asked, Method::POST, "?wait=true", Some(json!({ "content": "more" }))).await;
    assert_eq!(follow.body["message_reference"]["message_id"], loading["id"]);
    let id = follow.body["id"].as_str().unwrap();
    let got = webhook(&harbour, &asked, Method::GET, &format!("/messages/{id}"), None).await;
    assert_eq!(got.body["content"], "more");
    let gone = webhook(&harbour, &asked, Method::DELETE, "/messages/@original", None).await;
    assert_eq!(gone.status, 204);
    let read = webhook(&harbour, &asked, Method::GET, "/messages/@original", None).await;
    assert_eq!(read.refusal(), (404, 10008));
}

#[tokio::test]
async fn the_first_follow_up_after_a_defer_fills_it() {
    let (harbour, mut bot) = ready(Options::default()).await;
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    callback(&harbour, &asked, json!({ "type": 5 })).await;
    let loading = bot.dispatch("MESSAGE_CREATE").await;
    let follow = webhook(&harbour, &asked, Method::POST, "", Some(json!({ "content": "pong" }))).await;
    assert_eq!(follow.body["id"], loading["id"]);
}

#[tokio::test]
async fn ephemeral_answers_are_for_one_person() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let mut shown = harbour.feed.watch();
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    let body = json!({ "type": 4, "data": { "content": "psst", "flags": 64 } });
    let answer = callback(&harbour, &asked, body).await;
    assert_eq!(answer.body["interaction"]["response_message_ephemeral"], true);
    assert!(next_line(&mut shown).await.ephemeral);
    let id = answer.body["interaction"]["response_message_id"].as_str().unwrap();
    let path = format!("/channels/{}/messages/{id}", ids::GENERAL);
    assert_eq!(harbour.get(&path).await.refusal(), (404, 10008));
    harbour.say("next");
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["content"], "next", "nobody else hears of it");
}

#[tokio::test]
async fn an_unanswered_interaction_is_soon_unknown() {
    let deadline = Duration::from_millis(50);
    let (harbour, mut bot) = ready(Options { interaction_deadline: deadline, ..Options::default() }).await;
    let mut shown = harbour.feed.watch();
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    harbour.counters.wait("discord.interaction.unanswered", 1, SOON).await.unwrap();
    let late = callback(&harbour, &asked, json!({ "type": 4, "data": { "content": "late" } })).await;
    assert_eq!(late.refusal(), (404, 10062));
    match shown.recv().await {
        Ok(Item::Notice { text, .. }) => assert_eq!(text, "The application did not respond"),
        other => panic!("expected a notice, got {other:?}"),
    }
    let mut forged = asked.clone();
    forged["token"] = json!("forged");
    assert_eq!(callback(&harbour, &forged, json!({ "type": 5 })).await.refusal(), (404, 10062));
}

#[tokio::test]
async fn a_webhook_token_expires() {
    let (harbour, mut bot) =
        ready(Options { interaction_token_life: Duration::ZERO, ..Options::default() }).await;
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    callback(&harbour, &asked, json!({ "type": 5 })).await;
    let late =
        webhook(&harbour, &asked, Method::PATCH, "/messages/@original", Some(json!({ "content": "x" })))
            .await;
    assert_eq!(late.refusal(), (401, 50027));
}

#[tokio::test]
async fn answers_are_checked_and_a_bad_one_can_be_mended() {
    let (harbour, mut bot) = ready(Options::default()).await;
    harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    let wrong = callback(&harbour, &asked, json!({ "type": 7, "data": {} })).await;
    assert_eq!(wrong.problem("type"), "BASE_TYPE_CHOICES", "nothing to update");
    let body = json!({ "type": 4, "data": { "content": "x".repeat(2001) } });
    assert_eq!(callback(&harbour, &asked, body).await.problem("data.content"), "BASE_TYPE_MAX_LENGTH");
    assert_eq!(callback(&harbour, &asked, json!({ "type": 4 })).await.refusal(), (400, 50006));
    let path = format!(
        "/interactions/{}/{}/callback",
        asked["id"].as_str().unwrap(),
        asked["token"].as_str().unwrap()
    );
    let body = json!({ "type": 4, "data": { "content": "at last" } });
    let plain = harbour.ask(Method::POST, &path, None, Some(body)).await;
    assert_eq!((plain.status.as_u16(), plain.body), (204, Value::Null));
}

#[tokio::test]
async fn people_are_told_what_is_wrong_with_a_command() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let general = ids::GENERAL.to_string();
    let refused = |name: &str, options: Value| {
        harbour.discord.slash(Person::Ines, &general, name, options).unwrap_err().to_string()
    };
    assert_eq!(refused("nope", json!({})), "there is no command /nope");
    assert_eq!(refused("echo", json!({})), "the option text is required");
    assert_eq!(refused("echo", json!({ "text": "x", "size": 1 })), "there is no option size");
    assert!(refused("echo", json!({ "text": "x", "times": 4 })).contains("from null to 3"));
    assert!(refused("echo", json!({ "text": "x", "times": "soon" })).contains("a whole number"));
    assert!(refused("stats", json!({})).contains("shards"));
    harbour.slash("stats shards", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!(asked["data"]["options"], json!([{ "name": "shards", "type": 1, "options": [] }]));
    harbour.slash("echo", json!([{ "name": "text", "type": 3, "value": "as a list" }]));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!(asked["data"]["options"][0]["value"], "as a list");
}

#[tokio::test]
async fn an_option_is_completed_while_it_is_typed() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let discord = harbour.discord.clone();
    let typing = tokio::spawn(async move {
        discord.autocomplete(Person::Ines, &ids::GENERAL.to_string(), "echo", "tone", "ca").await
    });
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!(asked["type"], 4);
    let options = json!([{ "name": "tone", "type": 3, "value": "ca", "focused": true }]);
    assert_eq!(asked["data"]["options"], options);
    let wrong = callback(&harbour, &asked, json!({ "type": 4, "data": { "content": "no" } })).await;
    assert_eq!(wrong.problem("type"), "BASE_TYPE_CHOICES");
    let choices = json!([{ "name": "calm", "value": "calm" }]);
    callback(&harbour, &asked, json!({ "type": 8, "data": { "choices": choices } })).await;
    assert_eq!(json!(typing.await.unwrap().unwrap()), choices);
}

#[tokio::test]
async fn buttons_update_their_message_and_forms_are_sent() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let general = ids::GENERAL.to_string();
    let row = |disabled: bool| {
        json!([{ "type": 1, "components": [
            { "type": 2, "style": 1, "label": "Go", "custom_id": "go", "disabled": disabled }] }])
    };
    let sent = harbour.send(json!({ "content": "press", "components": row(false) })).await;
    bot.dispatch("MESSAGE_CREATE").await;
    let message = sent.body["id"].as_str().unwrap();
    assert!(harbour.discord.press(Person::Ines, &general, message, "stop").is_err());
    harbour.discord.press(Person::Ines, &general, message, "go").unwrap();
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&asked["type"], &asked["data"]["custom_id"]), (&json!(3), &json!("go")));
    assert_eq!(asked["data"]["component_type"], 2);
    assert_eq!(asked["message"]["id"], message);
    let update = json!({ "type": 7, "data": { "content": "pressed", "components": row(true) } });
    assert_eq!(callback(&harbour, &asked, update).await.body["resource"]["message"]["content"], "pressed");
    bot.dispatch("MESSAGE_UPDATE").await;
    assert!(harbour.discord.press(Person::Ines, &general, message, "go").is_err(), "it is disabled now");

    let id = harbour.slash("ping", json!({}));
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    let input = json!({ "type": 4, "style": 1, "label": "Name", "custom_id": "name" });
    let form =
        json!({ "title": "Who?", "custom_id": "who", "components": [{ "type": 1, "components": [input] }] });
    assert_eq!(callback(&harbour, &asked, json!({ "type": 9, "data": form })).await.status, 200);
    let values = json!({ "name": "Ines" });
    harbour.discord.submit(Person::Ines, &id, values.as_object().unwrap()).unwrap();
    let sent = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&sent["type"], &sent["data"]["custom_id"]), (&json!(5), &json!("who")));
    assert_eq!(sent["data"]["components"][0]["components"][0]["value"], "Ines");
    let deferred = callback(&harbour, &sent, json!({ "type": 5, "data": { "flags": 64 } })).await;
    assert_eq!(deferred.body["interaction"]["response_message_ephemeral"], true);
}

#[tokio::test]
async fn interactions_reach_the_bot_in_direct_messages() {
    let (harbour, mut bot) = ready(Options::default()).await;
    let global = format!("/applications/{}/commands", ids::APPLICATION);
    harbour.put(&global, json!([{ "name": "about", "description": "says who it is" }])).await;
    let direct = harbour.discord.direct_messages(Person::Noor);
    harbour.discord.slash(Person::Noor, &direct, "about", Value::Null).unwrap();
    let asked = bot.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&asked["user"]["username"], &asked["context"]), (&json!("noor"), &json!(1)));
    assert!(asked.get("guild_id").is_none() && asked.get("member").is_none());
    assert_eq!(
        callback(&harbour, &asked, json!({ "type": 4, "data": { "content": "me" } })).await.status,
        200
    );
}
