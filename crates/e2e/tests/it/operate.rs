//! Whoever runs the bot has it updated and saved from chat, and sees how it goes; nobody else can.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, User};
use e2e::{Stack, StackOptions};
use protocol::{
    VERSION,
    control::{
        Deploy, DeployAnswer, DeployOrder, DeployReply, DeployRequest, DeployState, DeployStatus, Job, JobEnd,
    },
};
use sandbox::{
    feed::{Line, Platform},
    people::Person,
};
use serde_json::json;
use testkit::eventually;

/// Another worker takes over within 12 s; a loaded machine needs longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What the deployer of the test does: as it is told by the test.
#[derive(Clone, Default)]
struct Deployer(Arc<Mutex<Told>>);

/// What it was asked, how deploys stand, and those that are over.
type Told = (Vec<DeployRequest>, DeployStatus, Vec<Deploy>);

impl Deployer {
    async fn obey(self, bus: Bus) {
        let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
        bus.round_trip().await;
        while let Some(ordered) = orders.next().await {
            let reply = self.reply(&ordered.order);
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    }

    fn reply(&self, request: &DeployRequest) -> DeployReply {
        let mut told = self.0.lock().unwrap();
        let (orders, status, deploys) = &mut *told;
        match &request.order {
            DeployOrder::Status => DeployReply::Status(Box::new(status.clone())),
            DeployOrder::History => DeployReply::History { deploys: deploys.clone() },
            DeployOrder::Request { .. } | DeployOrder::Rollback { .. } => {
                orders.push(request.clone());
                let id = format!("deploy-{}", orders.len());
                status.job = Some(Job {
                    id: id.clone(),
                    verb: "request".to_owned(),
                    by: request.by.clone(),
                    step: "resolve".to_owned(),
                    done: 0,
                    total: Some(10),
                    began_ms: service::clock::unix_ms(),
                    end: None,
                });
                DeployReply::Accepted { job: id }
            }
        }
    }

    fn step(&self, step: &str, done: u64) {
        let mut told = self.0.lock().unwrap();
        let job = told.1.job.as_mut().unwrap();
        (job.step, job.done) = (step.to_owned(), done);
    }

    fn end(&self, state: DeployState) {
        let mut told = self.0.lock().unwrap();
        let (_, status, deploys) = &mut *told;
        let job = status.job.as_mut().unwrap();
        let (began_ms, ended_ms) = (job.began_ms, job.began_ms + 42_000);
        job.end = Some(JobEnd { at_ms: ended_ms, good: true, words: "it ran well".to_owned() });
        let (id, by, words) = (job.id.clone(), job.by.clone(), "it ran well".to_owned());
        let (from, to) = (Some("v1.4.0".to_owned()), "v1.5.0".to_owned());
        deploys.insert(0, Deploy { id, by, from, to, began_ms, ended_ms, state, words });
    }

    fn ordered(&self) -> Vec<DeployRequest> {
        self.0.lock().unwrap().0.clone()
    }
}

/// Who runs the bot, as the platforms number people: Olive on Discord, Max on Twitch, where Olive owns the channel and
/// nothing else.
const OWNERS: &str = "discord:1190444138496000001,twitch:600100300";

async fn start() -> (Stack, Deployer) {
    let variables = vec![("OWNER_ID", OWNERS.to_owned()), ("COMMAND_COOLDOWN", "3".to_owned())];
    let stack = Stack::start(StackOptions { workers: 2, variables, ..StackOptions::default() }).await;
    let deployer = Deployer::default();
    let bus = stack.nats.bus_as(User::Deployer, "deployer").await;
    tokio::spawn(deployer.clone().obey(bus));
    let channel = stack.discord_channel();
    eventually(LIMIT, || async {
        let count = stack.sandbox.discord().commands(&channel).len();
        if count > 0 { Ok(()) } else { Err(count) }
    })
    .await;
    (stack, deployer)
}

/// What the bot has said in the channel and everybody sees.
fn said(stack: &Stack, platform: Platform) -> Vec<Line> {
    let all = match platform {
        Platform::Discord => stack.sandbox.discord().history(&stack.discord_channel()),
        Platform::Twitch => stack.sandbox.twitch().history(&stack.twitch_channel()),
    };
    all.into_iter().filter(|line| line.author.role == "bot" && !line.ephemeral).collect()
}

async fn shows(stack: &Stack, platform: Platform, words: &str) -> Line {
    eventually(LIMIT, || async {
        let said = said(stack, platform);
        let last = said.last().filter(|line| line.text.contains(words)).cloned();
        last.ok_or_else(|| format!("{said:?}\n{}", stack.logs()))
    })
    .await
}

#[tokio::test]
async fn an_update_is_ordered_by_slash_and_shown_to_its_end_while_workers_go() {
    let (mut stack, deployer) = start().await;
    let channel = stack.discord_channel();
    let update = |person| stack.sandbox.discord().slash(person, &channel, "update", json!({"force": true}));
    // Discord itself shows it to administrators alone, and everybody can type.
    assert!(update(Person::Ines).is_err());
    let typed = stack.say(Platform::Discord, Person::Ines, "!update");
    let refused = stack.answer(Platform::Discord, &typed).await;
    assert!(refused.text.contains("OWNER_ID"), "{refused:?}");
    assert!(deployer.ordered().is_empty());

    let taken = stack.answer(Platform::Discord, &update(Person::Olive).unwrap()).await;
    assert!(taken.ephemeral && taken.text.contains("told in this channel"), "{taken:?}");
    let message = shows(&stack, Platform::Discord, "accepted").await.id;
    deployer.step("canary", 5);
    assert_eq!(shows(&stack, Platform::Discord, "one worker first (5/10)").await.id, message);
    stack.workers.remove(0).kill();
    deployer.step("gateways", 7);
    assert_eq!(shows(&stack, Platform::Discord, "the gateways (7/10)").await.id, message);
    deployer.end(DeployState::RolledOut);
    assert_eq!(shows(&stack, Platform::Discord, "v1.5.0 runs everywhere (42 s)").await.id, message);
    let all = said(&stack, Platform::Discord);
    assert_eq!(all.len(), 2, "the refusal, and one message from beginning to end: {all:?}");
    let by: Vec<String> = deployer.ordered().into_iter().map(|request| request.by).collect();
    assert_eq!(by, [OWNERS.split(',').next().unwrap()]);
    let logs = stack.logs();
    assert!(!logs.contains("NATS refused"), "{logs}");
}

#[tokio::test]
async fn on_twitch_the_beginning_and_the_end_are_said() {
    let (stack, deployer) = start().await;
    let stranger = stack.say(Platform::Twitch, Person::Olive, "!update");
    let refused = stack.answer(Platform::Twitch, &stranger).await;
    assert!(refused.text.contains("OWNER_ID"), "{refused:?}");
    let order = stack.say(Platform::Twitch, Person::Max, "!rollback");
    shows(&stack, Platform::Twitch, "you are told when it is over").await;
    deployer.step("canary", 5);
    deployer.end(DeployState::RolledBackTo);
    shows(&stack, Platform::Twitch, "v1.5.0 failed, and v1.4.0 runs again").await;
    assert_eq!(stack.answers(Platform::Twitch, &order).len(), 2);
    let deploys = stack.say(Platform::Discord, Person::Olive, "!deploys");
    let answer = stack.answer(Platform::Discord, &deploys).await;
    assert!(
        answer.embeds[0]["description"].as_str().unwrap().contains("v1.5.0 failed, rolled back"),
        "{answer:?}"
    );
    assert_eq!(deployer.ordered().len(), 1);
}
