//! What was pushed is built: from the configured ref of the configured remote, and nothing of it can run here before.

use std::fs;

use deployer::{Config, SETTINGS, SourceConfig};
use protocol::control::{DeployOrder, DeployState};
use service::Settings;
use testkit::eventually;

use crate::{
    remote::Remote,
    world::{SOON, World, compose, image},
};

fn config(world: &World, remote: &Remote, token: Option<&str>) -> Config {
    let token = token.map(|token| ("DEPLOY_GIT_TOKEN", token.to_owned()));
    config_of(world, &remote.url, token)
}

pub fn config_of(world: &World, url: &str, more: impl IntoIterator<Item = (&'static str, String)>) -> Config {
    let mut config = world.config();
    let mut variables = vec![
        ("DEPLOY_MODE", "build".to_owned()),
        ("DEPLOY_FOLDER", "/".to_owned()),
        ("DEPLOY_GIT_URL", url.to_owned()),
    ];
    variables.extend(more);
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut settings = Settings::from_variables(&[SETTINGS], variables);
    let read = Config::read(&mut settings);
    (config.source, config.operations) = (read.source, read.operations);
    assert_eq!(settings.problems(), []);
    assert!(matches!(config.source, SourceConfig::Build(_)));
    config
}

/// A version in the repository.
pub fn version(remote: &Remote, number: u8) -> String {
    fs::write(remote.path("compose.yaml"), compose()).unwrap();
    fs::write(remote.path("nats.conf"), "").unwrap();
    fs::write(remote.path("image"), image(number)).unwrap();
    fs::write(remote.path("deploy/Dockerfile"), "FROM scratch").unwrap();
    remote.push()
}

#[tokio::test]
async fn a_push_is_fetched_built_and_rolled_out_and_comes_back_with_its_own_compose_file() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    let first = version(&remote, 1);
    let _running = world.run(config(&world, &remote, None));
    let end = world.deploy().await;
    assert_eq!(end.words, format!("updated to c-{0} ({0})", &first[..12]));
    world.runs(1);
    assert!(world.commands().iter().any(|line| line == "build --quiet -- command-worker"));
    let folder = world.path(&format!("data/versions/{first}"));
    assert!(folder.join("nats.conf").is_file());
    let second = version(&remote, 2);
    world.put(&format!("fake/unready/{}", image(2)), "");
    // A request tells of a commit, and nothing is taken from it.
    let id = world.accepted(DeployOrder::Request { commit: Some(second), force: false }).await;
    let end = world.end(&id).await;
    assert!(!end.good, "{}", end.words);
    world.runs(1);
    assert_eq!(world.history().await[0].state, DeployState::RolledBackTo);
    let log = fs::read_to_string(world.path("fake/log")).unwrap();
    let last_up = log.lines().rfind(|line| line.contains(" up ")).unwrap();
    assert!(last_up.contains(folder.to_str().unwrap()), "{last_up}");
    // What could not come back is not kept.
    eventually(SOON, || async {
        let there = fs::read_dir(world.path("data/versions")).unwrap().count();
        if there == 1 { Ok(()) } else { Err(there) }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_is_not_on_the_ref_is_not_rolled_out() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    version(&remote, 1);
    remote.git(&["checkout", "--quiet", "-b", "other"]);
    let other = version(&remote, 2);
    remote.git(&["checkout", "--quiet", "main"]);
    let _running = world.run(config(&world, &remote, None));
    for commit in [other, "0".repeat(40), "--upload-pack=id".to_owned(), "HEAD".to_owned()] {
        let id = world.accepted(DeployOrder::Request { commit: Some(commit), force: false }).await;
        let end = world.end(&id).await;
        assert!(end.words.contains("is not on refs/heads/main"), "{}", end.words);
    }
    world.runs(0);
}

#[tokio::test]
async fn nothing_in_a_repository_runs_or_leads_elsewhere() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    std::os::unix::fs::symlink("/etc/passwd", remote.path("nats.conf.link")).unwrap();
    fs::write(remote.path(".gitattributes"), "* filter=evil\n").unwrap();
    fs::write(
        remote.path(".gitmodules"),
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/x\n",
    )
    .unwrap();
    let first = version(&remote, 1);
    let _running = world.run(config(&world, &remote, None));
    assert!(world.deploy().await.good);
    let link = world.path(&format!("data/versions/{first}/nats.conf.link"));
    assert!(!link.is_symlink() && fs::read_to_string(link).unwrap() == "/etc/passwd");
    let hooks =
        fs::read_dir(world.path("data/repository.git/hooks")).map(Iterator::count).unwrap_or_default();
    assert_eq!(hooks, 0);
    let before = world.commands().len();
    for (from, to, words) in [
        // One that asks for the machine is not even built, and neither is one that does so only then.
        ("\"context\": \"FOLDER\"", "\"context\": \"/\"", "command-worker: build: context: / is not in"),
        ("\"context\": \"FOLDER\"", "\"context\": \"FOLDERCOMMIT\"", "command-worker: build: context: "),
        // An image of this machine would be another from then on.
        (
            "vigie:local",
            "nats:2.15-alpine",
            "expected the image ${VIGIE_IMAGE}:${VIGIE_TAG} for command-worker",
        ),
    ] {
        fs::write(remote.path("compose.yaml"), compose().replace(from, to)).unwrap();
        remote.push();
        let end = world.deploy().await;
        assert!(end.words.contains(words), "{}", end.words);
    }
    assert!(world.commands()[before..].iter().all(|line| !line.starts_with("build")));
    world.runs(1);
}

/// What others pushed may include a file of theirs, which is another one after it was checked.
#[tokio::test]
async fn what_is_run_is_what_was_checked_whatever_its_sources_are_by_then() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    let commit = version(&remote, 1);
    world.put("fake/wait-before", "--scale command-worker=3");
    let _running = world.run(config(&world, &remote, None));
    let id = world.request().await;
    eventually(SOON, || async { fs::read(world.path("fake/waiting")).map_err(|_| "canary") }).await;
    let evil = compose().replace("\"restart\": \"unless-stopped\"", "\"privileged\": true");
    world.put(&format!("data/versions/{commit}/compose.yaml"), &evil);
    fs::remove_file(world.path("fake/wait-before")).unwrap();
    let end = world.end(&id).await;
    assert!(end.words.contains("command-worker: privileged: is not allowed here"), "{}", end.words);
    let run = fs::read_to_string(world.path("fake/run")).unwrap();
    assert!(run.contains("unless-stopped") && !run.contains("privileged"), "{run}");
    world.runs(0);
}

#[tokio::test]
async fn a_token_is_shown_to_the_remote_and_to_nobody_else() {
    let world = World::start().await;
    // x-access-token:hunter2
    let remote = Remote::start(world.folder.path(), Some("Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==")).await;
    version(&remote, 1);
    let running = world.run(config(&world, &remote, Some("hunter3")));
    let end = world.deploy().await;
    assert!(end.words.starts_with("resolve: `git fetch") && !end.words.contains("hunter"), "{}", end.words);
    drop(running);
    let _running = world.run(config(&world, &remote, Some("hunter2")));
    assert!(world.deploy().await.good);
    let kept = fs::read_to_string(world.path("data/repository.git/config")).unwrap();
    assert!(!kept.contains("hunter2") && !kept.contains("eC1h"));
}

/// In a container the folder of a version is in a volume, and Docker would make an empty folder in its place.
#[tokio::test]
async fn what_docker_does_not_see_is_given_to_nobody() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    let first = version(&remote, 1);
    let contained = Config { contained: true, ..config(&world, &remote, None) };
    let _running = world.run(contained);
    // NATS has such a file, and is not replaced.
    assert!(world.deploy().await.good);
    world.runs(1);
    let mount = r#""command": ["command-worker"], "volumes": [{ "type": "bind", "source": "FOLDER/deploy",
        "target": "/deploy", "read_only": true }]"#;
    fs::write(remote.path("compose.yaml"), compose().replace(r#""command": ["command-worker"]"#, mount))
        .unwrap();
    let second = remote.push();
    let end = world.deploy().await;
    let path = world.path(&format!("data/versions/{second}/deploy"));
    assert!(
        end.words.contains(&format!("command-worker: Docker does not see {}", path.display())),
        "{}",
        end.words
    );
    assert_eq!(world.history().await[0].state, DeployState::NeverStarted);
    assert_ne!(first, second);
    world.runs(1);
}
