//! The services that save and renew the bot, with something to do: a backup that a drill proves, and a delivery of
//! GitLab by which the deployer looks for a release that is not there.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use bus::{Bus, User};
use e2e::{Process, Stack};
use protocol::{
    VERSION,
    control::{BackupAnswer, BackupOrder, BackupReply, BackupRequest},
};
use testkit::{eventually, free_port};

use super::happenings::counted;

/// How long a job may take.
const SOON: Duration = Duration::from_secs(60);
/// The backup answers at once.
const ANSWER: Duration = Duration::from_secs(5);
const TOKEN: &str = "a-token-of-gitlab-that-is-long-enough";
/// A key that has signed nothing.
const KEY: &str = "RWQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const HOOKS: &str =
    "[site]\nforge = \"gitlab\"\nrepository = \"ines/vigie\"\nbranch = \"main\"\nsecret_file = \"token\"\n";
/// An engine of which the deployer is told no more than what machine it is for.
const DOCKER: &str = "#!/bin/sh\necho linux/amd64\n";

/// The three services.
pub struct Operations {
    pub backup: Process,
    pub webhook: Process,
    pub deployer: Process,
    door: String,
    _data: tempfile::TempDir,
}

impl Operations {
    /// Starts them beside the others of a stack.
    pub async fn start(stack: &Stack) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| data.path().join(name).display().to_string();
        for name in ["bot", "bin"] {
            fs::create_dir(path(name)).expect("a folder");
        }
        for (name, text) in
            [("hooks.toml", HOOKS), ("token", TOKEN), ("bin/docker", DOCKER), ("bot/.env", "")]
        {
            fs::write(path(name), text).expect("a file");
        }
        fs::set_permissions(path("bin/docker"), fs::Permissions::from_mode(0o755)).expect("a program");
        let door = format!("127.0.0.1:{}", free_port());
        let start = |name, more: &[(&str, String)]| {
            let mut settings = stack.settings();
            settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            stack.start_one(name, settings)
        };
        let backup = start(
            "backup",
            &[
                ("DATABASE_URL", "none".to_owned()),
                ("BACKUP_EXPORT", path("export")),
                ("BACKUP_DATA", path("backup")),
            ],
        );
        let webhook = start(
            "webhook-deploy",
            &[("WEBHOOK_ADDR", door.clone()), ("WEBHOOK_HOOKS_FILE", path("hooks.toml"))],
        );
        let deployer = start(
            "deployer",
            &[
                ("DEPLOY_FOLDER", path("bot")),
                ("DEPLOY_DATA", path("deployer")),
                ("DEPLOY_RELEASE", path("release.json")),
                ("DEPLOY_RELEASE_KEY", KEY.to_owned()),
                ("DEPLOY_BACKUP", "off".to_owned()),
                ("PATH", search_path(&data.path().join("bin"))),
            ],
        );
        let all = Self { backup, webhook, deployer, door, _data: data };
        for service in [&all.backup, &all.webhook, &all.deployer] {
            service.ready().await;
        }
        all
    }

    /// Everything that they count is counted.
    pub async fn work(&self, stack: &Stack) {
        let operator = stack.nats.bus_as(User::Operator, "operator").await;
        for order in [BackupOrder::Create, BackupOrder::Drill] {
            done(&operator, order).await;
        }
        operator.drain().await;
        self.deliver().await;
        counted(&self.webhook, "vigie_webhook_requests_total{answer=\"accepted\"}").await;
        counted(&self.deployer, "vigie_deploys_total{state=\"never_started\"}").await;
    }

    /// GitLab tells of a push.
    pub async fn deliver(&self) {
        let commit = "bffeb74224043ba2feb48d137756c8a9331c449a";
        let body = format!(
            r#"{{"ref":"refs/heads/main","after":"{commit}","project":{{"path_with_namespace":"ines/vigie"}}}}"#
        );
        let request = reqwest::Client::new().post(format!("http://{}/hooks/site", self.door));
        let request = request.header("X-Gitlab-Token", TOKEN).header("X-Gitlab-Event", "Push Hook");
        // The same delivery is taken once.
        let id = service::clock::unix_us().to_string();
        let request = request.header("X-Gitlab-Event-UUID", id).header("Content-Type", "application/json");
        // What it is answered is counted, whatever it is: too many in a row are told so.
        request.body(body).send().await.expect("an answer");
    }
}

fn search_path(first: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", first.display())
}

/// Has it done, and waits for its good end.
async fn done(operator: &Bus, order: BackupOrder) {
    let ask = |order: BackupOrder| async {
        let request = BackupRequest { v: VERSION, by: "cli".to_owned(), order };
        operator.command("backup", &request, ANSWER).await.map(|BackupAnswer { reply, .. }| reply)
    };
    let job = eventually(SOON, || async {
        match ask(order.clone()).await {
            Ok(BackupReply::Accepted { job }) => Ok(job),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let end = eventually(SOON, || async {
        match ask(BackupOrder::Status).await {
            Ok(BackupReply::Status(status)) => {
                let found = status.job.clone().filter(|found| found.id == job);
                found.and_then(|found| found.end).ok_or_else(|| format!("{status:?}"))
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(end.good, "{}", end.words);
}
