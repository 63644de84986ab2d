//! Slash commands, buttons and completion: asked and answered at once.

use std::{collections::BTreeMap, time::Instant};

use protocol::{InteractionBody, InteractionResponse, OptionValue, ResponseBody, subject};
use testkit::{Junk, eventually};

use crate::{
    sample,
    world::{SOON, TRACE, World, slash},
};

fn note(body: &ResponseBody) -> &str {
    match body {
        ResponseBody::Reply { content, ephemeral: true } => &content.text,
        other => panic!("expected a note, found {other:?}"),
    }
}

#[tokio::test]
async fn a_slash_command_is_answered_at_once() {
    let world = World::start().await;
    let worker = world.worker(commands::ALL).await;
    let options = BTreeMap::from([("text".to_owned(), OptionValue::Text("bonjour".to_owned()))]);
    let echo = InteractionBody::Command { name: "echo".to_owned(), options };
    let body = world.ask(1, "fr", echo.clone()).await;
    let ResponseBody::Reply { content, ephemeral: false } = body else { panic!("{body:?}") };
    assert_eq!(content.text, "bonjour");
    // The best of several, as the machine may be busy with other tests.
    let mut best = SOON;
    for n in 2..12 {
        let started = Instant::now();
        world.ask(n, "fr", echo.clone()).await;
        best = best.min(started.elapsed());
    }
    assert!(best.as_millis() < 50, "{best:?}");
    worker.stop().await;
}

#[tokio::test]
async fn help_completes_names_and_stats_refreshes_in_place() {
    let world = World::start().await;
    let worker = world.worker(commands::ALL).await;
    let typing = InteractionBody::Autocomplete {
        name: "help".to_owned(),
        option: "command".to_owned(),
        partial: "up".to_owned(),
    };
    let ResponseBody::Choices { choices } = world.ask(1, "en-GB", typing).await else {
        panic!("typing is answered with choices");
    };
    assert_eq!(choices[0].value, "uptime");
    let press = InteractionBody::Button { button: "stats:refresh".to_owned() };
    let ResponseBody::Update { content } = world.ask(2, "fr", press).await else {
        panic!("a press changes the message");
    };
    let card = content.card.unwrap();
    let names: Vec<&str> = card.fields.iter().map(|field| field.name.as_str()).collect();
    assert!(names.contains(&"Mémoire") && names.contains(&"command-worker"), "{names:?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_a_note_for_the_person() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let body = world.ask(1, "fr", slash("gone")).await;
    assert_eq!(note(&body), "cette commande n’existe plus ; redémarrez Discord");
    let body = world.ask(2, "en-US", slash("fail")).await;
    assert!(note(&body).ends_with("this id: 1a2b3c4d"), "{body:?}");
    let ResponseBody::Reply { content, .. } = world.ask(3, "en-US", slash("greet")).await else {
        panic!("a slash command is answered with a reply");
    };
    assert_eq!(content.text, "hello Ines");
    let body = world.ask(4, "fr", slash("greet")).await;
    assert_eq!(note(&body), "pas si vite ; patientez un instant");
    worker.stop().await;
}

#[tokio::test]
async fn an_interaction_of_another_version_gets_an_apology() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let subject = subject::interaction(protocol::Platform::Discord, &protocol::CommunityId::from(1));
    let answer: InteractionResponse =
        world.bus.request(subject, &Junk { v: 9 }, SOON, Some(TRACE)).await.unwrap();
    assert!(note(&answer.body).ends_with("this id: 1a2b3c4d"));
    worker.counts("undecodable_total", 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_stops_leaves_no_question_unanswered() {
    let world = World::start().await;
    let staying = world.worker(sample::COMMANDS).await;
    for round in 0..5_u64 {
        let leaving = world.worker(sample::COMMANDS).await;
        let ask = async {
            for n in 0..50_u64 {
                let one = |k| world.ask(round * 1_000 + n * 8 + k, "en-GB", slash("gone"));
                for body in futures_util::future::join_all((0..8).map(one)).await {
                    assert!(note(&body).starts_with("I do not have this command"));
                }
            }
        };
        let stop = async {
            eventually(SOON, || async {
                let answered = leaving.number("interactions_total.refused");
                if answered > 9.0 { Ok(()) } else { Err(answered) }
            })
            .await;
            leaving.stop().await;
        };
        tokio::join!(ask, stop);
    }
    staying.stop().await;
}
