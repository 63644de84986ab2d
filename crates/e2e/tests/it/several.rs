//! Two gateways of a platform at once: what they share belongs to one of them at a time, and when one is
//! gone the other has it all.

use std::time::Duration;

use e2e::{Process, Stack, StackOptions};
use rustix::process::Signal;
use sandbox::{Options, discord, feed::Platform, people::Person};
use testkit::eventually;

/// Enough for both to have some.
const SHARDS: u32 = 8;
/// It takes 4 to 5 s until the other has what a dead one had; longer where several tests share a core.
const TAKE_OVER: Duration = Duration::from_secs(20);

/// The one of the stack, and another, which owns the shard that lines are said in: names decide who owns
/// what.
async fn two_discord_gateways() -> (Stack, Process) {
    let discord = discord::Options { max_concurrency: SHARDS, ..discord::Options::default() };
    let stack = Stack::start(StackOptions {
        workers: 4,
        variables: vec![("DISCORD_SHARDS", SHARDS.to_string()), ("COMMAND_COOLDOWN", "0".to_owned())],
        sandbox: Options { discord, ..Options::default() },
    })
    .await;
    let other = stack.start_one("discord-gateway", stack.settings());
    other.ready().await;
    shared_out(&stack.discord, &other).await;
    (stack, other)
}

/// How many shards it has with a live session.
async fn shards(gateway: &Process) -> u32 {
    let metrics = gateway.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("vigie_shards_ready "));
    line.and_then(|value| value.trim().trim_end_matches(".0").parse().ok()).expect("a number of shards")
}

/// Waits until each has some, and both together have all.
async fn shared_out(one: &Process, other: &Process) {
    eventually(Duration::from_secs(30), || async {
        let (mine, theirs) = (shards(one).await, shards(other).await);
        if mine > 0 && theirs > 0 && mine + theirs == SHARDS { Ok(()) } else { Err((mine, theirs)) }
    })
    .await;
}

async fn all_answered(stack: &Stack, ids: &[String]) {
    for id in ids {
        stack.answer(Platform::Discord, id).await;
        assert_eq!(stack.answers(Platform::Discord, id).len(), 1, "nothing is answered twice");
    }
}

/// Few at a time: Discord lets five answers into a channel every five seconds.
fn say(stack: &Stack, lines: std::ops::Range<usize>) -> Vec<String> {
    lines.map(|n| stack.say(Platform::Discord, Person::Max, &format!("!echo n{n}"))).collect()
}

async fn has_all(gateway: &Process) {
    eventually(TAKE_OVER, || async {
        match shards(gateway).await {
            SHARDS => Ok(()),
            fewer => Err((fewer, gateway.log())),
        }
    })
    .await;
}

fn identified(stack: &Stack) -> u64 {
    stack.sandbox.counters().get("discord.gateway.identify")
}

#[tokio::test]
async fn a_killed_discord_gateway_is_replaced_within_seconds_without_a_new_session() {
    let (stack, mut owner) = two_discord_gateways().await;
    let mut ids = say(&stack, 0..5);
    owner.kill();
    ids.extend(say(&stack, 5..10));
    has_all(&stack.discord).await;
    ids.extend(say(&stack, 10..15));
    all_answered(&stack, &ids).await;

    // And back: only what must move does, and no session is begun anew.
    owner.resume();
    shared_out(&stack.discord, &owner).await;
    let ids = say(&stack, 15..20);
    all_answered(&stack, &ids).await;
    assert_eq!(identified(&stack), u64::from(SHARDS));
}

#[tokio::test]
async fn a_discord_gateway_that_stops_hands_over_at_once() {
    let (stack, mut owner) = two_discord_gateways().await;
    let mut ids = say(&stack, 0..5);
    assert_eq!(owner.terminate(), Some(0), "{}", owner.log());
    ids.extend(say(&stack, 5..10));
    all_answered(&stack, &ids).await;
    has_all(&stack.discord).await;
    assert_eq!(identified(&stack), u64::from(SHARDS));
}

#[tokio::test]
async fn a_discord_gateway_that_stood_still_leaves_alone_what_it_has_lost() {
    let (stack, owner) = two_discord_gateways().await;
    let mut ids = say(&stack, 0..3);
    owner.signal(Signal::STOP);
    ids.extend(say(&stack, 3..6));
    has_all(&stack.discord).await;
    ids.extend(say(&stack, 6..9));
    owner.signal(Signal::CONT);
    ids.extend(say(&stack, 9..12));
    shared_out(&stack.discord, &owner).await;
    ids.extend(say(&stack, 12..15));
    all_answered(&stack, &ids).await;
    assert_eq!(identified(&stack), u64::from(SHARDS));
}
