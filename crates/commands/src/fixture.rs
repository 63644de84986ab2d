//! A small world for the tests of commands: fixed times, three services, one person.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use protocol::{
    Author, ChannelId, ChatMessage, Command, CommunityId, Content, Event, EventBody, EventId, Interaction,
    InteractionBody, InteractionResponse, MessageId, OptionValue, Platform, Rank, ResponseBody, ServiceStats,
    UserId, VERSION,
    control::{Backup, BackupStatus, Deploy, DeployState, DeployStatus, Job, JobEnd},
};

use crate::{
    ALL, Answer, Asked, Backups, Deploys, Engine, Facts, Gathering, Language, Latency, Me, Told,
    engine::Passed,
};

/// When the questions of the tests reach the gateway, in Unix microseconds.
const RECEIVED_US: u64 = 1_700_000_000_000_000;

/// The account on Twitch that the engine of the tests takes for the one who runs the bot.
pub const OWNER: &str = "900";
/// The setting that says so; the number on Discord is another account.
pub const OWNERS: &str = "900,discord:800";

struct World;

impl Facts for World {
    fn now_us(&self) -> u64 {
        RECEIVED_US + 430
    }

    fn me(&self) -> Me {
        let instance = "harbour-7".to_owned();
        Me { build: "0.1.0 (abc1234)".to_owned(), instance, uptime: Duration::from_secs(11_045) }
    }

    fn last_latency(&self, platform: Platform) -> Option<Latency> {
        (platform == Platform::Discord).then_some(Latency { platform_us: 85_400, total_us: 91_200 })
    }

    fn services(&self) -> Gathering<'_> {
        let all = vec![
            service("twitch-gateway", 3_600, true, &[("communities", 2.0)]),
            service("command-worker", 11_045, true, &[("events_per_second", 12.0)]),
            service("command-worker", 60, true, &[("events_per_second", 0.25)]),
            service("discord-gateway", 200_000, false, &[("shards", 2.0), ("communities", 40.0)]),
        ];
        Box::pin(std::future::ready(all))
    }

    fn deploys(&self) -> Told<'_, Deploys> {
        let now_ms = RECEIVED_US / 1_000;
        let deploy = |n: u64, to: &str, state| Deploy {
            id: format!("deploy-{n}"),
            by: "cli".to_owned(),
            from: None,
            to: to.to_owned(),
            began_ms: now_ms - 7_200_000 / n,
            ended_ms: now_ms - 7_100_000 / n,
            state,
            words: "as it was".to_owned(),
        };
        let job = Job {
            id: "deploy-4".to_owned(),
            verb: "rollback".to_owned(),
            by: "cli".to_owned(),
            step: "canary".to_owned(),
            done: 3,
            total: Some(6),
            began_ms: now_ms - 9_000,
            end: None,
        };
        let status = DeployStatus {
            job: Some(job),
            current: Some("v1.5.0".to_owned()),
            kept: vec!["v1.4.0".to_owned(), "v1.3.9".to_owned()],
            quarantined: vec!["3f786850e387550fdab836ed7e6dc881de23001b".to_owned()],
        };
        let history = vec![
            deploy(3, "v1.5.0", DeployState::RolledOut),
            deploy(2, "3f786850e387550fdab836ed7e6dc881de23001b", DeployState::RolledBackTo),
            deploy(1, "v1.4.1", DeployState::NeverStarted),
        ];
        Box::pin(std::future::ready(Ok(Deploys { status, history })))
    }

    fn backups(&self) -> Told<'_, Backups> {
        let now_ms = RECEIVED_US / 1_000;
        let backup = |id: &str, proved_ms| Backup {
            id: id.to_owned(),
            at_ms: now_ms - 3_600_000,
            bytes: Some(12_900_000),
            parts: vec!["database".to_owned()],
            proved_ms,
        };
        let status = BackupStatus {
            job: None,
            good_ms: Some(now_ms - 3_600_000),
            drill: Some(JobEnd { at_ms: now_ms - 86_400_000, good: true, words: String::new() }),
            ..BackupStatus::default()
        };
        let list = vec![backup("2026-11-22T03-00", None), backup("2026-11-21T03-00", Some(now_ms))];
        Box::pin(std::future::ready(Ok(Backups { status, list })))
    }
}

fn service(name: &str, uptime_s: u64, ready: bool, metrics: &[(&str, f64)]) -> ServiceStats {
    ServiceStats {
        v: VERSION,
        service: name.to_owned(),
        instance: format!("harbour-{uptime_s}"),
        build: "0.1.0 (abc1234)".to_owned(),
        uptime_s,
        ready,
        reason: String::new(),
        resident_bytes: 12_900_000,
        metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    }
}

/// The built-in commands in the small world.
pub fn engine(language: Language) -> Engine {
    Engine::new(ALL, language, OWNERS.parse().unwrap(), Arc::new(World))
}

/// A viewer.
pub fn ines() -> Author {
    Author { id: UserId::from(5), name: "Ines".to_owned(), rank: Rank::Everyone, bot: false }
}

/// A chat message that starts with `!`.
pub fn event(platform: Platform, text: &str, author: Author) -> Event {
    let message = ChatMessage {
        id: MessageId::from(3),
        channel: ChannelId::from(2),
        author,
        text: text.to_owned(),
        reply_to: None,
    };
    Event {
        v: VERSION,
        id: EventId::of_platform(platform, "3").unwrap(),
        platform,
        community: CommunityId::from(1),
        at_ms: RECEIVED_US / 1_000 - 12,
        received_us: RECEIVED_US,
        body: EventBody::Command(Command { message, prefix: "!".to_owned() }),
    }
}

/// A question on Discord from a client in this language.
pub fn interaction(locale: &str, body: InteractionBody) -> Interaction {
    Interaction {
        v: VERSION,
        id: EventId::of_platform(Platform::Discord, "4").unwrap(),
        platform: Platform::Discord,
        community: CommunityId::from(1),
        channel: ChannelId::from(2),
        user: ines(),
        locale: Some(locale.to_owned()),
        at_ms: RECEIVED_US / 1_000 - 12,
        received_us: RECEIVED_US,
        body,
    }
}

/// A slash command.
pub fn slash(name: &str, options: &[(&str, OptionValue)]) -> InteractionBody {
    let options: BTreeMap<_, _> =
        options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    InteractionBody::Command { name: name.to_owned(), options }
}

/// Who runs the bot, with the rights of a viewer.
pub fn owner(platform: Platform) -> Author {
    let id = match platform {
        Platform::Discord => 800,
        Platform::Twitch => 900,
    };
    Author { id: UserId::from(id), ..ines() }
}

/// What a viewer on Discord is answered in English.
pub async fn answer(text: &str) -> Answer {
    said(Language::En, event(Platform::Discord, text, ines())).await.unwrap()
}

/// What who runs the bot is answered there.
pub async fn owners_answer(text: &str) -> Answer {
    said(Language::En, event(Platform::Discord, text, owner(Platform::Discord))).await.unwrap()
}

/// What an interaction is answered in English.
pub async fn response(body: InteractionBody) -> InteractionResponse {
    match engine(Language::Fr).of_interaction(&interaction("en-GB", body)) {
        Asked::Answered(response) => response,
        Asked::Call(call) => call.response(call.run().await.unwrap()),
    }
}

/// What a pressed button is answered.
pub async fn press(button: &str) -> InteractionResponse {
    response(InteractionBody::Button { button: button.to_owned() }).await
}

/// The values that are proposed while somebody types.
pub fn choices(name: &str, option: &str, partial: &str) -> Vec<String> {
    let body = InteractionBody::Autocomplete {
        name: name.to_owned(),
        option: option.to_owned(),
        partial: partial.to_owned(),
    };
    let asked = engine(Language::En).of_interaction(&interaction("fr", body));
    let Asked::Answered(InteractionResponse { body: ResponseBody::Choices { choices }, .. }) = asked else {
        panic!("typing is answered with choices");
    };
    choices.into_iter().map(|choice| choice.value).collect()
}

/// What a chat line is answered on both platforms in both languages, as text for a snapshot.
pub async fn both_languages(line: &str) -> String {
    both_languages_of(|_| ines(), line).await
}

/// As [`both_languages`], when somebody else asks.
pub async fn both_languages_of(who: fn(Platform) -> Author, line: &str) -> String {
    let mut out = String::new();
    for language in Language::ALL {
        for platform in Platform::ALL {
            let event = event(platform, &format!("!{line}"), who(platform));
            let answer = said(language, event).await.unwrap();
            writeln!(out, "── {language}, {platform}{}", if answer.ephemeral { ", a note" } else { "" })
                .unwrap();
            out.push_str(&shown(&answer.content));
        }
    }
    out
}

async fn said(language: Language, event: Event) -> Result<Answer, Passed> {
    let call = engine(language).of_event(&event)?;
    Ok(call.run().await.unwrap())
}

fn shown(content: &Content) -> String {
    let mut out = String::new();
    if !content.text.is_empty() {
        writeln!(out, "{}", content.text).unwrap();
    }
    if let Some(card) = &content.card {
        writeln!(out, "# {}", card.title).unwrap();
        if !card.body.is_empty() {
            writeln!(out, "{}", card.body).unwrap();
        }
        for field in &card.fields {
            writeln!(out, "  {}: {}", field.name, field.value).unwrap();
        }
        if !card.footer.is_empty() {
            writeln!(out, "_{}_", card.footer).unwrap();
        }
    }
    for button in &content.buttons {
        writeln!(out, "[{}] {}", button.label, button.id).unwrap();
    }
    out
}
