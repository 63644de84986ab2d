//! Who is granted what. What is not here is refused.

use protocol::Platform;

use super::{
    Grant, User,
    grants::{
        ask_services, dead_letters, found, hear, inbox, keep, leases, measure, measure_consumers, note, once,
        own_partitions, parts_of_snapshots, provision, read, restart, restarted, serve, share, snapshots,
        tell, trail, watch,
    },
};
use crate::topology::{BucketName, Queue, Stream};

/// Who looks at services from outside.
const WATCHERS: [User; 2] = [User::Healthcheck, User::Operator];
/// Services of `APP` that can be told to start again.
const APP_SERVICES: [User; 4] =
    [User::DiscordGateway, User::TwitchGateway, User::CommandWorker, User::Dashboard];
/// Services of `OPS` that can be.
const OPS_SERVICES: [User; 4] = [User::Healthcheck, User::Backup, User::WebhookDeploy, User::Deployer];

/// All that can be ordered and asked in chat.
const ORDERS: [&str; 8] = [
    "control.deploy.request",
    "control.deploy.force",
    "control.deploy.rollback",
    "control.deploy.status",
    "control.deploy.history",
    "control.backup.create",
    "control.backup.status",
    "control.backup.list",
];

pub(super) fn of(user: User) -> Vec<Grant> {
    let mut grants = vec![inbox(user)];
    grants.extend(match user {
        User::DiscordGateway => gateway(user, Platform::Discord),
        User::TwitchGateway => gateway(user, Platform::Twitch),
        User::CommandWorker => command_worker(),
        User::Provision => vec![provision()],
        User::Dashboard => dashboard(),
        User::Healthcheck => healthcheck(),
        User::Backup => backup(),
        User::WebhookDeploy => webhook_deploy(),
        User::Deployer => deployer(),
        User::Operator => operator(),
    });
    grants
}

fn gateway(user: User, platform: Platform) -> Vec<Grant> {
    let event = format!("event.{platform}.>");
    let chatter = format!("chatter.{platform}");
    let outcome = format!("outcome.{platform}.*");
    let interaction = format!("interaction.{platform}.*");
    let remembered = format!("{platform}.>");
    let mut grants = vec![
        app_service(user),
        restarted(user, &WATCHERS),
        tell("say what happened on its platform", &[&event, &chatter]),
        tell("say what became of actions", &[&outcome]),
        own_partitions(Queue::Actions(platform)),
        keep(BucketName::Session, &remembered),
        watch(BucketName::Session, &remembered),
        leases("*"),
    ];
    match platform {
        Platform::Discord => {
            grants.push(tell("ask a worker about an interaction", &[&interaction]));
            grants.push(once("begin one session after the other", "identify.>"));
            grants.push(read(BucketName::Settings, "catalogue"));
            grants.push(watch(BucketName::Settings, "catalogue"));
        }
        Platform::Twitch => grants.push(hear("know what others of its kind have stored", &[&chatter])),
    }
    grants
}

fn command_worker() -> Vec<Grant> {
    let user = User::CommandWorker;
    let (interactions, askers) = (["interaction.>"], [User::DiscordGateway]);
    vec![
        app_service(user),
        restarted(user, &WATCHERS),
        own_partitions(Queue::Commands),
        share(Stream::Events, "community"),
        share(Stream::Chatter, "chatter"),
        tell("say what is to be done", &["action.*.*.*"]),
        tell("say what became of a command", &["outcome.*.*"]),
        hear("know how long answers take", &["outcome.>"]),
        serve(user, "answer interactions", &interactions, Some("workers"), &askers),
        tell("end without losing a question", &["interaction.none"]),
        once("count cooldowns of Discord once among all", "*.discord.*"),
        once("count cooldowns of Twitch once among all", "*.twitch.*"),
        keep(BucketName::Settings, "catalogue"),
        leases("command-workers"),
        tell("ask the services for their numbers", &["$SRV.STATS"]),
        tell("have done what whoever runs the bot says in chat", &ORDERS).of_ops(),
        keep(BucketName::Lease, "followed"),
        watch(BucketName::Lease, "followed"),
    ]
}

fn dashboard() -> Vec<Grant> {
    let user = User::Dashboard;
    vec![app_service(user), restarted(user, &WATCHERS), ask_services(), measure()]
}

fn healthcheck() -> Vec<Grant> {
    let user = User::Healthcheck;
    vec![
        ops_service(user),
        restarted(user, &[User::Operator]),
        serve(user, "be told of what to tell nobody", &["control.healthcheck.*"], None, &[User::Operator]),
        note(user).of_app(),
        tell("ask the services for their numbers", &["$SRV.STATS"]).of_app(),
        measure().of_app(),
        measure_consumers().of_app(),
        tell("tell people on Discord what is wrong", &["action.discord.*.alerts"]).of_app(),
        hear("know whether they were told", &["outcome.discord.alerts"]).of_app(),
        restart(APP_SERVICES).of_app(),
        restart([User::Backup, User::WebhookDeploy, User::Deployer]),
        trail().of_app(),
        tell(
            "ask how backups stand and how deploys ended",
            &["control.backup.status", "control.deploy.history"],
        ),
    ]
}

fn backup() -> Vec<Grant> {
    let user = User::Backup;
    let askers = [User::Deployer, User::Healthcheck, User::Operator, User::CommandWorker];
    vec![
        ops_service(user),
        restarted(user, &WATCHERS),
        note(user).of_app(),
        serve(user, "be told what to save and restore", &["control.backup.*"], None, &askers),
        measure().of_app(),
        snapshots().of_app(),
        parts_of_snapshots(),
        tell("ask whether the bot is stopped", &["$SRV.STATS"]).of_app(),
    ]
}

fn webhook_deploy() -> Vec<Grant> {
    let user = User::WebhookDeploy;
    vec![
        ops_service(user),
        restarted(user, &WATCHERS),
        note(user).of_app(),
        tell("say that there may be something new", &["control.deploy.request"]),
    ]
}

fn deployer() -> Vec<Grant> {
    let user = User::Deployer;
    let askers = [User::WebhookDeploy, User::Healthcheck, User::Operator, User::CommandWorker];
    vec![
        ops_service(user),
        restarted(user, &WATCHERS),
        note(user).of_app(),
        serve(user, "be told what to roll out", &["control.deploy.*"], None, &askers),
        tell("have a backup made before", &["control.backup.create", "control.backup.status"]),
        ask_services().of_app(),
    ]
}

fn operator() -> Vec<Grant> {
    let passing = ["event.>", "chatter.>", "action.>", "outcome.>"];
    vec![
        ask_services().of_app(),
        measure().of_app(),
        measure_consumers().of_app(),
        hear("see what passes", &passing).of_app(),
        dead_letters().of_app(),
        trail().of_app(),
        note(User::Operator).of_app(),
        restart(APP_SERVICES).of_app(),
        restart(OPS_SERVICES),
        tell("command backups and deploys", &["control.backup.*", "control.deploy.*"]),
        tell(
            "silence alerts",
            &["control.healthcheck.silence", "control.healthcheck.unsilence", "control.healthcheck.silences"],
        ),
    ]
}

fn app_service(user: User) -> Grant {
    found(user, &[User::CommandWorker, User::Dashboard, User::Healthcheck, User::Deployer, User::Operator])
}

fn ops_service(user: User) -> Grant {
    found(user, &[User::Healthcheck, User::Backup, User::Deployer, User::Operator])
}
