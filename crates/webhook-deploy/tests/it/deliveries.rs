//! What a forge delivers, and what becomes of it.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use protocol::control::{AuditResult, DeployReply};
use testkit::eventually;

use crate::world::{
    COMMIT, Deployer, GITEA_SECRET, GITLAB_SECRET, Reply, SECRET, SIGNING_KEY, SOON, Serving, World,
    fresh_commit, github, hex, push, request,
};

/// What the CI of a fork runs at the end of a release.
const DEPLOY: &str = "../../deploy/ci/deploy.sh";
/// Deliveries in the form that the forges document.
const FORMS: &str = "tests/deliveries";
/// Deliveries as forges sent them; a clone does not have them.
const DELIVERIES: &str = "../../../shared/data/webhooks";

#[tokio::test]
async fn a_push_of_each_forge_reaches_the_deployer_and_the_audit_trail() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let body = push(COMMIT);
    let json = ("Content-Type", "application/json");
    let started = Instant::now();
    let replied = serving.send(&github("github", SECRET, "push", &body, &[])).await;
    assert_eq!((replied.status, replied.body.as_str()), (202, "accepted\n"));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(replied.head.contains("connection: close"), "{}", replied.head);

    // As they do, Gitea and Forgejo send the headers of others too.
    let signature = hex(GITEA_SECRET.as_bytes(), body.as_bytes());
    let gitea = [
        json,
        ("X-Gitea-Delivery", "f6266f16-1bf3"),
        ("X-Gitea-Event", "push"),
        ("X-Gitea-Signature", &signature),
        ("X-GitHub-Delivery", "f6266f16-1bf3"),
        ("X-GitHub-Event", "push"),
        ("X-Hub-Signature-256", "sha256=00"),
    ];
    assert_eq!(serving.send(&request("POST", "/hooks/gitea", &gitea, body.as_bytes())).await.status, 202);
    let signature = hex("f".repeat(32).as_bytes(), body.as_bytes());
    let forgejo = [
        json,
        ("X-Forgejo-Delivery", "f6266f16-1bf3"),
        ("X-Forgejo-Event", "push"),
        ("X-Forgejo-Signature", &signature),
    ];
    assert_eq!(serving.send(&request("POST", "/hooks/forgejo", &forgejo, body.as_bytes())).await.status, 202);

    let body = format!(
        r#"{{"object_kind":"push","ref":"refs/heads/main","after":"{COMMIT}","project":{{"path_with_namespace":"ines/vigie"}}}}"#
    );
    let gitlab = [
        json,
        ("X-Gitlab-Event", "Push Hook"),
        ("Idempotency-Key", "f5e5f430-f57b"),
        ("X-Gitlab-Token", GITLAB_SECRET),
    ];
    assert_eq!(serving.send(&request("POST", "/hooks/gitlab", &gitlab, body.as_bytes())).await.status, 202);
    let time = (service::clock::unix_ms() / 1000).to_string();
    let signature = v1(&format!("f5e5f430-f57c.{time}.{body}"));
    let signed = [
        json,
        ("X-Gitlab-Event", "Push Hook"),
        ("webhook-id", "f5e5f430-f57c"),
        ("webhook-timestamp", &time),
        ("webhook-signature", &signature),
    ];
    assert_eq!(serving.send(&request("POST", "/hooks/signed", &signed, body.as_bytes())).await.status, 202);

    let body = format!(r#"{{"release":"{{\"version\":\"1\",\"commit\":\"{COMMIT}\"}}","signature":null}}"#);
    let signature = format!("sha256={}", hex("c".repeat(32).as_bytes(), body.as_bytes()));
    let ci = [json, ("X-Hub-Signature-256", &signature), ("X-GitHub-Delivery", "72d3162e-cc78")];
    assert_eq!(serving.send(&request("POST", "/hooks/ci", &ci, body.as_bytes())).await.status, 202);

    let by = |hook: &str| (format!("hook:{hook}"), Some(COMMIT.to_owned()));
    assert_eq!(deployer.heard(), ["github", "gitea", "forgejo", "gitlab", "signed", "ci"].map(by));
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail.len() == 6 { Ok(trail) } else { Err(trail) }
    })
    .await;
    let first = trail.last().unwrap();
    assert_eq!((first.service.as_str(), first.by.as_str()), ("webhook-deploy", "hook:github"));
    assert_eq!((first.object.as_str(), first.result), (COMMIT, AuditResult::Done));
    assert!(first.words.contains("from 127.0.0.1; job job-1"), "{}", first.words);
    assert!((serving.number("webhook_requests_total.accepted") - 6.0).abs() < 0.5);
    assert!(serving.number("webhook_accepted_timestamp_seconds") > 1e9);
    serving.stop().await;
}

fn v1(signed: &str) -> String {
    use base64::Engine as _;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &SIGNING_KEY);
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
}

#[tokio::test]
async fn a_delivery_in_the_form_of_each_forge_is_understood() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    for (name, hook, secret, status) in [
        ("github-ping", "github", SECRET, 200),
        ("github-push", "github", SECRET, 202),
        ("github-push-tag", "github", SECRET, 200),
        ("github-push-deleted", "github", SECRET, 200),
        ("github-release", "github", SECRET, 200),
        ("gitea-push", "gitea", GITEA_SECRET, 202),
        ("gitlab-push", "gitlab", GITLAB_SECRET, 202),
    ] {
        let replied = deliver(&serving, &read(FORMS, name).unwrap(), hook, secret).await;
        assert_eq!(replied.status, status, "{name}: {}", replied.body);
    }
    let by = |hook: &str| (format!("hook:{hook}"), Some(COMMIT.to_owned()));
    assert_eq!(deployer.heard(), ["github", "gitea", "gitlab"].map(by));
    serving.stop().await;
}

#[tokio::test]
async fn real_deliveries_are_understood() {
    let world = World::start().await;
    let hooks = crate::world::HOOKS
        .replacen("ines/vigie", "Codertocat/Hello-World", 1)
        .replacen("\"main\"", "\"changes\"", 1)
        .replace("forge = \"gitea\"\nrepository = \"ines/vigie\"\nbranch = \"main\"", GITEA)
        .replace("forge = \"gitlab\"\nrepository = \"ines/vigie\"\nbranch = \"main\"", GITLAB);
    fs::write(world.folder.path().join("hooks.toml"), hooks).unwrap();
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let mut heard = 0;
    for (name, hook, secret, status, reaches) in [
        ("github-ping-0", "github", SECRET, 200, false),
        ("github-release-0", "github", SECRET, 200, false),
        ("github-push-0", "github", SECRET, 200, false),
        ("gitea-push", "gitea", GITEA_SECRET, 202, true),
        ("gitlab-push", "gitlab", GITLAB_SECRET, 202, true),
    ] {
        let Ok(delivery) = read(DELIVERIES, name) else {
            testkit::skipped(&format!("the delivery {name} is not here"));
            continue;
        };
        let replied = deliver(&serving, &delivery, hook, secret).await;
        assert_eq!(replied.status, status, "{name}: {}", replied.body);
        heard += usize::from(reaches);
    }
    assert_eq!(deployer.heard().len(), heard);
    serving.stop().await;
}

fn read(folder: &str, name: &str) -> io::Result<serde_json::Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    Ok(serde_json::from_str(&fs::read_to_string(folder.join(format!("{name}.json")))?)?)
}

/// Delivers it as it is, but for its secret, which is too short for us.
async fn deliver(serving: &Serving, delivery: &serde_json::Value, hook: &str, secret: &str) -> Reply {
    let body = delivery["raw_body"].as_str().unwrap();
    let signature = hex(secret.as_bytes(), body.as_bytes());
    let prefixed = format!("sha256={signature}");
    let headers = delivery["headers"].as_object().unwrap().iter().map(|(name, value)| {
        let value = match name.as_str() {
            "X-Hub-Signature-256" => &prefixed,
            "X-Gitea-Signature" => &signature,
            "X-Gitlab-Token" => secret,
            _ => value.as_str().unwrap(),
        };
        (name.as_str(), value)
    });
    let headers: Vec<(&str, &str)> = headers.collect();
    serving.send(&request("POST", &format!("/hooks/{hook}"), &headers, body.as_bytes())).await
}

const GITEA: &str = "forge = \"gitea\"\nrepository = \"gitea/webhooks\"\nbranch = \"develop\"";
const GITLAB: &str = "forge = \"gitlab\"\nrepository = \"mike/diaspora\"\nbranch = \"master\"";

#[tokio::test]
async fn the_last_step_of_a_release_is_heard() {
    let needs = ["bash", "curl", "jq", "python3"];
    let has = |program: &&str| Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !needs.iter().all(has) {
        testkit::skipped(&format!("not all of {needs:?} are here"));
        return;
    }
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let folder = world.folder.path();
    for folder in ["deploy/ci", "target/ci"].map(|name| folder.join(name)) {
        fs::create_dir_all(folder).unwrap();
    }
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(DEPLOY), folder.join("deploy/ci/deploy.sh")).unwrap();
    let release = format!("{{\n  \"version\": \"1.2.3\",\n  \"commit\": \"{COMMIT}\"\n}}\n");
    fs::write(folder.join("target/ci/release.json"), release).unwrap();
    fs::write(folder.join("target/ci/release.json.minisig"), "untrusted comment: x\nRW…\n").unwrap();
    // The deploy may have failed, and then somebody has the step run again: that is not the same delivery.
    for runs in 1..=2 {
        let ran = tokio::process::Command::new("bash")
            .arg(folder.join("deploy/ci/deploy.sh"))
            .env("DEPLOY_WEBHOOK_URL", format!("http://{}/hooks/ci", serving.address))
            .env("DEPLOY_WEBHOOK_SECRET", "c".repeat(32))
            .stdin(Stdio::null())
            .output();
        let ran = ran.await.unwrap();
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(deployer.heard(), vec![("hook:ci".to_owned(), Some(COMMIT.to_owned())); runs]);
    }
    serving.stop().await;
}

#[tokio::test]
async fn what_is_not_waited_for_is_answered_and_nothing_is_done() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    for (event, body, words) in [
        ("ping", r#"{"zen":"Keep it logically awesome."}"#.to_owned(), "pong\n"),
        ("issues", "{}".to_owned(), "ignored"),
        (
            "release",
            r#"{"action":"published","repository":{"full_name":"ines/vigie"}}"#.to_owned(),
            "ignored",
        ),
        ("push", push(COMMIT).replace("heads/main", "heads/other"), "ignored"),
        ("push", push(COMMIT).replace("heads/main", "tags/main"), "ignored"),
        ("push", push(&"0".repeat(40)), "ignored"),
    ] {
        let replied = serving.send(&github("github", SECRET, event, &body, &[])).await;
        assert_eq!(replied.status, 200, "{event} {body}");
        assert!(replied.body.starts_with(words), "{event} {body}: {}", replied.body);
    }
    assert_eq!(deployer.heard(), []);
    serving.stop().await;
}

#[tokio::test]
async fn without_a_deployer_the_forge_is_told_to_deliver_again() {
    let world = World::start().await;
    let serving = world.serve().await;
    let delivery = github("github", SECRET, "push", &push(COMMIT), &[]);
    assert_eq!(serving.send(&delivery).await.status, 503);
    assert_eq!(serving.send(&delivery).await.status, 503, "it is not taken for a replay");
    assert!((serving.number("webhook_requests_total.no_deployer") - 2.0).abs() < 0.5);
    let deployer = world.deployer().await;
    assert_eq!(serving.send(&delivery).await.status, 202);
    assert_eq!(serving.send(&delivery).await.status, 200);
    assert_eq!(deployer.heard().len(), 1);
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail.len() == 3 { Ok(trail) } else { Err(trail) }
    })
    .await;
    let results: Vec<AuditResult> = trail.iter().map(|entry| entry.result).collect();
    assert_eq!(results, [AuditResult::Done, AuditResult::Failed, AuditResult::Failed]);
    serving.stop().await;
}

#[tokio::test]
async fn a_deployer_that_comes_back_hears_of_the_newest_without_another_delivery() {
    let world = World::start().await;
    let serving = world.serve().await;
    let commits = [fresh_commit(), fresh_commit()];
    for commit in &commits {
        let replied = serving.send(&github("github", SECRET, "push", &push(commit), &[])).await;
        assert_eq!(replied.status, 503);
    }
    let deployer = world.deployer().await;
    let heard = eventually(SOON, || async {
        let heard = deployer.heard();
        if heard.is_empty() { Err("nothing") } else { Ok(heard) }
    })
    .await;
    assert_eq!(heard, [("hook:github".to_owned(), Some(commits[1].clone()))]);
    eventually(SOON, || async {
        let trail = world.bus.trail(1).await.unwrap();
        trail
            .into_iter()
            .find(|entry| entry.result == AuditResult::Done && entry.object == commits[1])
            .ok_or("none")
    })
    .await;
    serving.stop().await;
}

#[tokio::test]
async fn while_nats_is_away_the_forge_is_told_so_at_once() {
    let mut world = World::start().await;
    let serving = world.serve().await;
    world.nats.kill();
    eventually(SOON, || async {
        let ready = serving.context.health.readiness();
        if ready.ready { Err(ready) } else { Ok(()) }
    })
    .await;
    let started = Instant::now();
    assert_eq!(serving.send(&github("github", SECRET, "push", &push(COMMIT), &[])).await.status, 503);
    assert!(started.elapsed() < Duration::from_secs(1));
    world.nats.resume().await;
    eventually(SOON, || async {
        let ready = serving.context.health.readiness();
        if ready.ready { Ok(()) } else { Err(ready) }
    })
    .await;
    let deployer = world.deployer().await;
    assert_eq!(serving.send(&github("github", SECRET, "push", &push(COMMIT), &[])).await.status, 202);
    assert_eq!(deployer.heard().len(), 1);
    serving.stop().await;
}

#[tokio::test]
async fn a_deployer_that_refuses_or_is_silent_is_told_of() {
    let world = World::start().await;
    let serving = world.serve().await;
    let refuse = |_: &_| Some(DeployReply::Refused { reason: "not now".to_owned() });
    let deployer = Deployer::start(&world.bus, refuse).await;
    let delivery = github("github", SECRET, "push", &push(COMMIT), &[]);
    let replied = serving.send(&delivery).await;
    assert_eq!(replied.status, 409);
    assert!(!replied.body.contains("not now"), "the reason is for the operator");
    deployer.stop(&world.bus).await;
    let deployer = Deployer::start(&world.bus, |_| None).await;
    let started = Instant::now();
    assert_eq!(serving.send(&delivery).await.status, 503);
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    deployer.stop(&world.bus).await;
    let _deployer = world.deployer().await;
    assert_eq!(serving.send(&delivery).await.status, 202);
    serving.stop().await;
}

#[tokio::test]
async fn many_pushes_at_once_are_all_answered_and_the_deployer_hears_of_none_twice() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let commits: Vec<String> = (0..8).map(|_| fresh_commit()).collect();
    let sent = commits.iter().map(|commit| {
        let delivery = github("github", SECRET, "push", &push(commit), &[]);
        let address = serving.address;
        tokio::spawn(async move { crate::world::send(address, &delivery).await.status })
    });
    for status in sent.collect::<Vec<_>>() {
        assert_eq!(status.await.unwrap(), 202);
    }
    let heard = deployer.heard();
    assert!(!heard.is_empty(), "nobody told the deployer");
    let mut told: Vec<&String> = heard.iter().filter_map(|(_, commit)| commit.as_ref()).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), heard.len(), "{heard:?}");
    assert!(told.iter().all(|commit| commits.contains(commit)), "{heard:?}");
    serving.stop().await;
}
