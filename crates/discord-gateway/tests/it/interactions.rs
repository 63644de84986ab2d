//! Slash commands, buttons, completions: registered once, answered in time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::post};
use bus::{BucketName, Requests};
use discord_gateway::{
    convert,
    cursor::Progress,
    frame,
    interactions::{Answerer, Asked, Form, PATIENCE},
    rest::{Counts, Rest},
    slash::CATALOGUE,
    stats::Stats,
};
use protocol::{
    Catalogue, Choice, CommandSpec, Content, Interaction, InteractionBody, InteractionResponse, Localized,
    OptionKind, OptionSpec, OptionValue, Rank, ResponseBody, VERSION,
};
use sandbox::{discord::RestFault, feed::Line, people::Person};
use serde_json::json;
use testkit::eventually;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

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
    let requests = rig.bus.serve("interaction", "workers").await.unwrap();
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
    // At last "thinking…" cannot be taken away: what is for one person only is not shown to all.
    let cases = [
        ("slow but here", false, None, "slow but here"),
        ("slow and quiet", true, None, "slow and quiet"),
        ("never shown", true, Some(403), "took too long"),
    ];
    for ((text, ephemeral, refused, shown), deferred) in cases.into_iter().zip([1.0, 2.0, 3.0]) {
        rig.sandbox.discord().slash(Person::Ines, &rig.general(), "echo", json!({})).unwrap();
        let request = timeout(LONG, requests.next()).await.unwrap().unwrap();
        gateway.counted("interactions_deferred_total", deferred).await;
        if !ephemeral {
            let deferred = asked.elapsed();
            assert!((1900..2900).contains(&deferred.as_millis()), "{deferred:?}");
        }
        let fault = |status| RestFault {
            status,
            count: 1,
            retry_after_ms: 0,
            global: false,
            route: "DELETE".to_owned(),
        };
        rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = refused.map(fault));
        request.respond(&reply(text, ephemeral)).await.unwrap();
        assert_eq!(line(&rig, shown).await.ephemeral, ephemeral && refused.is_none());
    }
    let all = rig.sandbox.counters();
    assert_eq!((all.get("discord.rest.404"), all.get("discord.rest.403")), (0, 1), "no interaction was lost");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_waits_is_told_when_the_gateway_stops() {
    let rig = Rig::start().await;
    offer(&rig, &catalogue("says it again")).await;
    let gateway = rig.gateway().await;
    registered(&rig).await;
    let mut requests = workers(&rig).await;
    rig.sandbox.discord().slash(Person::Ines, &rig.general(), "echo", json!({})).unwrap();
    let _unanswered = timeout(LONG, requests.next()).await.unwrap().unwrap();
    gateway.counted("interactions_deferred_total", 1.0).await;
    timeout(Duration::from_secs(5), gateway.stop()).await.expect("it stops in time").unwrap();
    line(&rig, "being restarted").await;
}

#[tokio::test]
async fn with_too_many_deferred_the_next_one_is_told_at_once() {
    let rig = Rig::start().await;
    let mut requests = workers(&rig).await;
    let (asked, mut told, _answerer) = answerer(&rig).await;
    for id in 1..=2 {
        asked.try_send(question(id)).unwrap();
        let _unanswered = timeout(LONG, requests.next()).await.unwrap().unwrap();
    }
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let callback = timeout(LONG, told.recv()).await.unwrap().unwrap();
        kinds.push((
            callback["type"].as_u64().unwrap(),
            callback["data"]["content"].as_str().map(str::to_owned),
        ));
    }
    kinds.sort();
    assert_eq!(kinds[1], (5, None));
    assert!(kinds[0].0 == 4 && kinds[0].1.as_deref().unwrap().contains("took too long"), "{kinds:?}");
}

#[tokio::test]
async fn whoever_is_kept_thinking_for_too_long_is_told() {
    let rig = Rig::start().await;
    let mut requests = workers(&rig).await;
    let (asked, mut told, answerer) = answerer(&rig).await;
    asked.try_send(question(1)).unwrap();
    let unanswered = timeout(LONG, requests.next()).await.unwrap().unwrap();
    let thinking = timeout(LONG, told.recv()).await.unwrap().unwrap();
    assert_eq!(thinking["type"], 5);
    // The time passes at once for the gateway; what is on the way afterwards takes as long as it takes.
    tokio::time::pause();
    tokio::time::advance(PATIENCE).await;
    tokio::time::resume();
    let edited = timeout(LONG, told.recv()).await.unwrap().unwrap();
    assert!(edited["content"].as_str().unwrap().contains("took too long"), "{edited}");
    assert_eq!(edited["allowed_mentions"]["parse"], json!([]));
    // A worker that answers now is not heard any more.
    unanswered.respond(&reply("here I am", false)).await.unwrap();
    rig.bus.round_trip().await;
    drop(asked);
    timeout(LONG, answerer).await.expect("nothing is left to do").unwrap();
    assert!(told.try_recv().is_err(), "it is told once");
}

/// An answerer that keeps one at most waiting, and what it tells Discord.
async fn answerer(rig: &Rig) -> (mpsc::Sender<Asked>, mpsc::Receiver<serde_json::Value>, JoinHandle<()>) {
    let (rest, told) = discord_that_notes().await;
    let answerer = Answerer {
        bus: rig.bus.clone(),
        rest: Arc::new(rest),
        builder: Arc::new(twilight_http::Client::builder().ratelimiter(None).build()),
        stats: Arc::new(Stats::new(&service::Context::new("test"))),
        deferred: Arc::new(Semaphore::new(1)),
        shutdown: CancellationToken::new(),
    };
    let (asked, taken) = mpsc::channel(2);
    (asked, told, tokio::spawn(answerer.run(taken)))
}

/// A REST API that takes everything and says what it took.
async fn discord_that_notes() -> (Rest, mpsc::Receiver<serde_json::Value>) {
    service::install_crypto();
    let (note, told) = mpsc::channel(8);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let take = move |Json(body): Json<serde_json::Value>| {
        let note = note.clone();
        async move {
            note.send(body).await.unwrap();
            StatusCode::NO_CONTENT
        }
    };
    let router = Router::new().route("/api/v10/{*path}", post(take.clone()).patch(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Rest::new(&url, &"secret".into(), 50, Counts::new(&service::Metrics::default())).unwrap(), told)
}

fn question(id: u64) -> Asked {
    let d = json!({
        "id": id.to_string(), "application_id": "3", "token": "secret", "version": 1, "channel_id": "2",
        "guild_id": "1", "type": 2, "data": { "id": "5", "name": "echo", "type": 1 },
        "member": { "user": { "id": "4", "username": "max" }, "permissions": "0", "roles": [] },
    });
    let frame = format!(r#"{{"t":"INTERACTION_CREATE","s":{id},"op":0,"d":{d}}}"#);
    let read: frame::Interaction<'_> = frame::data(&frame).unwrap();
    let progress = Progress::new(frame::Snowflake(3), 0, 1);
    Asked {
        id: read.id,
        application: read.application_id,
        form: Form::Command,
        question: convert::interaction(&read, 0).unwrap(),
        token: read.token,
        trace: service::trace::start(&tracing::Span::none()),
        span: tracing::Span::none(),
        read_at: tokio::time::Instant::now(),
        ticket: progress.open(id),
        progress,
    }
}
