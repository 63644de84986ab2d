//! Slash commands, buttons, completions: registered once, answered in time.

use std::time::{Duration, Instant};

use bus::{BucketName, Requests};
use discord_gateway::slash::CATALOGUE;
use protocol::{
    Catalogue, Choice, CommandSpec, Content, Interaction, InteractionBody, InteractionResponse, Localized,
    OptionKind, OptionSpec, OptionValue, Rank, ResponseBody, VERSION,
};
use sandbox::{feed::Line, people::Person};
use serde_json::json;
use testkit::eventually;
use tokio::time::timeout;

use crate::rig::{LONG, Rig};

const REGISTER: &str = "discord.rest.PUT /applications/{application_id}/commands";

fn text(default: &str) -> Localized {
    Localized { default: default.to_owned(), other: [("fr".to_owned(), format!("{default} (fr)"))].into() }
}

fn catalogue(description: &str) -> Catalogue {
    let word = OptionSpec {
        name: "word".to_owned(),
        description: text("a word"),
        kind: OptionKind::Text,
        required: false,
        autocomplete: true,
    };
    let command = CommandSpec {
        name: "echo".to_owned(),
        description: text(description),
        rank: Rank::Everyone,
        options: vec![word],
    };
    Catalogue { v: VERSION, commands: vec![command] }
}

async fn offer(rig: &Rig, catalogue: &Catalogue) {
    let settings = rig.bus.bucket(BucketName::Settings).await.unwrap();
    settings.put(CATALOGUE, catalogue).await.unwrap();
}

async fn registered(rig: &Rig) {
    let general = rig.general();
    eventually(LONG, || async {
        let commands = rig.sandbox.discord().commands(&general);
        if commands.is_empty() { Err("no command") } else { Ok(()) }
    })
    .await;
}

fn answer(body: ResponseBody) -> InteractionResponse {
    InteractionResponse { v: VERSION, body }
}

fn reply(text: &str, ephemeral: bool) -> InteractionResponse {
    answer(ResponseBody::Reply { content: Content::text(text), ephemeral })
}

async fn workers(rig: &Rig) -> Requests {
    let requests = rig.bus.serve("interaction.>", "workers").await.unwrap();
    rig.bus.round_trip().await;
    requests
}

async fn line(rig: &Rig, wanted: &str) -> Line {
    let general = rig.general();
    eventually(LONG, || async {
        let lines = rig.sandbox.discord().history(&general);
        lines.iter().find(|line| line.text.contains(wanted)).cloned().ok_or(lines)
    })
    .await
}

#[tokio::test]
async fn slash_commands_are_registered_once_and_again_only_when_they_change() {
    let rig = Rig::start().await;
    offer(&rig, &catalogue("says it again")).await;
    let gateway = rig.gateway().await;
    registered(&rig).await;
    offer(&rig, &catalogue("says it again")).await;
    gateway.stop().await.unwrap();
    let gateway = rig.gateway().await;
    let counters = rig.sandbox.counters();
    offer(&rig, &catalogue("says it once more")).await;
    counters.wait(REGISTER, 2, LONG).await.unwrap();
    assert_eq!(counters.get(REGISTER), 2);
    let commands = rig.sandbox.discord().commands(&rig.general());
    assert_eq!(commands[0]["description_localizations"]["fr"], "says it once more (fr)");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_slash_command_a_completion_and_a_button_are_answered() {
    let rig = Rig::start().await;
    offer(&rig, &catalogue("says it again")).await;
    let gateway = rig.gateway().await;
    registered(&rig).await;
    let mut requests = workers(&rig).await;
    let discord = rig.sandbox.discord().clone();
    let general = rig.general();

    discord.slash(Person::Olive, &general, "echo", json!({ "word": "hello" })).unwrap();
    let request = timeout(LONG, requests.next()).await.unwrap().unwrap();
    let question: Interaction = request.decode().unwrap();
    assert_eq!((question.user.name.as_str(), question.user.rank), ("Olive", Rank::Owner));
    assert!(request.trace().is_some());
    let InteractionBody::Command { name, options } = &question.body else { panic!("{question:?}") };
    assert_eq!((name.as_str(), &options["word"]), ("echo", &OptionValue::Text("hello".to_owned())));
    let mut content = Content::text("you said hello");
    content.buttons.push(protocol::Button {
        id: "echo:more".to_owned(),
        label: "More".to_owned(),
        style: protocol::ButtonStyle::Primary,
    });
    request.respond(&answer(ResponseBody::Reply { content, ephemeral: false })).await.unwrap();
    let shown = line(&rig, "you said hello").await;

    let typing = tokio::spawn({
        let (discord, general) = (discord.clone(), general.clone());
        async move { discord.autocomplete(Person::Ines, &general, "echo", "word", "he").await }
    });
    let request = timeout(LONG, requests.next()).await.unwrap().unwrap();
    let question: Interaction = request.decode().unwrap();
    assert!(matches!(question.body, InteractionBody::Autocomplete { ref partial, .. } if partial == "he"));
    let choices = vec![Choice { name: "hello".to_owned(), value: "hello".to_owned() }];
    request.respond(&answer(ResponseBody::Choices { choices })).await.unwrap();
    assert_eq!(typing.await.unwrap().unwrap()[0]["value"], "hello");

    discord.press(Person::Max, &general, &shown.id, "echo:more").unwrap();
    let request = timeout(LONG, requests.next()).await.unwrap().unwrap();
    let question: Interaction = request.decode().unwrap();
    assert!(matches!(question.body, InteractionBody::Button { ref button } if button == "echo:more"));
    request.respond(&answer(ResponseBody::Update { content: Content::text("more of it") })).await.unwrap();
    assert_eq!(line(&rig, "more of it").await.id, shown.id);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_only_to_the_one_who_asked() {
    let rig = Rig::start().await;
    offer(&rig, &catalogue("says it again")).await;
    let gateway = rig.gateway().await;
    registered(&rig).await;
    let asked = Instant::now();
    rig.sandbox.discord().slash(Person::Ines, &rig.general(), "echo", json!({})).unwrap();
    let line = line(&rig, "Nobody is on watch").await;
    assert!(line.ephemeral);
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    gateway.counted("interactions_unanswered_total.nobody", 1.0).await;
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_slow_worker_is_covered_by_thinking() {
    let rig = Rig::start().await;
    offer(&rig, &catalogue("says it again")).await;
    let gateway = rig.gateway().await;
    registered(&rig).await;
    let mut requests = workers(&rig).await;
    let asked = Instant::now();
    for (text, ephemeral) in [("slow but here", false), ("slow and quiet", true)] {
        rig.sandbox.discord().slash(Person::Ines, &rig.general(), "echo", json!({})).unwrap();
        let request = timeout(LONG, requests.next()).await.unwrap().unwrap();
        gateway.counted("interactions_deferred_total", if ephemeral { 2.0 } else { 1.0 }).await;
        if !ephemeral {
            let deferred = asked.elapsed();
            assert!((1900..2900).contains(&deferred.as_millis()), "{deferred:?}");
        }
        request.respond(&reply(text, ephemeral)).await.unwrap();
        assert_eq!(line(&rig, text).await.ephemeral, ephemeral);
    }
    assert_eq!(rig.sandbox.counters().get("discord.rest.404"), 0, "no interaction was lost");
    gateway.stop().await.unwrap();
}
