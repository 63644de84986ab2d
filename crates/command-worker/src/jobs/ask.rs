//! What `deployer` and `backup` are asked, and told.

use std::time::Duration;

use bus::{Bus, RequestError};
use commands::{Backups, Deploys, Office, Order, Silence};
use protocol::{
    VERSION,
    control::{
        Backup, BackupOrder, BackupReply, BackupRequest, BackupStatus, Deploy, DeployOrder, DeployReply,
        DeployRequest, DeployStatus,
    },
};
use tracing::warn;

/// How long they may take to answer. They answer at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Who asks, when nobody is to be named.
const BY: &str = "chat";

/// Why an order is not known to be taken.
#[derive(Debug)]
pub enum NotTaken {
    /// It is not, for this reason.
    Not(Silence),
    /// It may be: the answer did not come.
    Uncertain,
}

/// Gives an order; what it is called by the service.
pub async fn give(bus: &Bus, order: &Order, by: &str) -> Result<String, NotTaken> {
    let by = by.to_owned();
    match order {
        Order::Update { force } => {
            give_deploy(bus, by, DeployOrder::Request { commit: None, force: *force }).await
        }
        Order::Rollback { to } => give_deploy(bus, by, DeployOrder::Rollback { to: to.clone() }).await,
        Order::Backup => match backup(bus, by, BackupOrder::Create).await.map_err(not_taken)? {
            BackupReply::Accepted { job } => Ok(job),
            BackupReply::Refused { reason } => Err(NotTaken::Not(Silence::Refused(reason))),
            BackupReply::Status(_) | BackupReply::Backups { .. } => Err(NotTaken::Uncertain),
        },
    }
}

async fn give_deploy(bus: &Bus, by: String, order: DeployOrder) -> Result<String, NotTaken> {
    match deploy(bus, by, order).await.map_err(not_taken)? {
        DeployReply::Accepted { job } => Ok(job),
        DeployReply::Refused { reason } => Err(NotTaken::Not(Silence::Refused(reason))),
        DeployReply::Status(_) | DeployReply::History { .. } => Err(NotTaken::Uncertain),
    }
}

/// Nobody listens: surely not. Else it may have come, and the answer may not.
fn not_taken(silence: Silence) -> NotTaken {
    match silence {
        Silence::Late => NotTaken::Uncertain,
        other => NotTaken::Not(other),
    }
}

/// How deploys stand.
pub async fn deploy_status(bus: &Bus) -> Result<DeployStatus, Silence> {
    match deploy(bus, BY.to_owned(), DeployOrder::Status).await? {
        DeployReply::Status(status) => Ok(*status),
        DeployReply::Refused { reason } => Err(Silence::Refused(reason)),
        DeployReply::Accepted { .. } | DeployReply::History { .. } => Err(Silence::Late),
    }
}

/// Deploys that are over, the newest first.
pub async fn deploy_history(bus: &Bus) -> Result<Vec<Deploy>, Silence> {
    match deploy(bus, BY.to_owned(), DeployOrder::History).await? {
        DeployReply::History { deploys } => Ok(deploys),
        DeployReply::Refused { reason } => Err(Silence::Refused(reason)),
        DeployReply::Accepted { .. } | DeployReply::Status(_) => Err(Silence::Late),
    }
}

/// How backups stand.
pub async fn backup_status(bus: &Bus) -> Result<BackupStatus, Silence> {
    match backup(bus, BY.to_owned(), BackupOrder::Status).await? {
        BackupReply::Status(status) => Ok(*status),
        BackupReply::Refused { reason } => Err(Silence::Refused(reason)),
        BackupReply::Accepted { .. } | BackupReply::Backups { .. } => Err(Silence::Late),
    }
}

/// Which backups there are, the newest first.
pub async fn backup_list(bus: &Bus) -> Result<Vec<Backup>, Silence> {
    match backup(bus, BY.to_owned(), BackupOrder::List).await? {
        BackupReply::Backups { backups } => Ok(backups),
        BackupReply::Refused { reason } => Err(Silence::Refused(reason)),
        BackupReply::Accepted { .. } | BackupReply::Status(_) => Err(Silence::Late),
    }
}

/// Both at once, for a person.
pub async fn deploys(bus: &Bus) -> Result<Deploys, Silence> {
    let (status, history) = tokio::join!(deploy_status(bus), deploy_history(bus));
    Ok(Deploys { status: status?, history: history? })
}

/// Both at once, for a person.
pub async fn backups(bus: &Bus) -> Result<Backups, Silence> {
    let (status, list) = tokio::join!(backup_status(bus), backup_list(bus));
    Ok(Backups { status: status?, list: list? })
}

async fn deploy(bus: &Bus, by: String, order: DeployOrder) -> Result<DeployReply, Silence> {
    let request = DeployRequest { v: VERSION, by, order };
    let answer = bus.command(Office::Deploy.name(), &request, ANSWER_LIMIT).await;
    answer.map(|answer| answer.reply).map_err(|error| silence(&error))
}

async fn backup(bus: &Bus, by: String, order: BackupOrder) -> Result<BackupReply, Silence> {
    let request = BackupRequest { v: VERSION, by, order };
    let answer = bus.command(Office::Backup.name(), &request, ANSWER_LIMIT).await;
    answer.map(|answer| answer.reply).map_err(|error| silence(&error))
}

fn silence(error: &RequestError) -> Silence {
    match error {
        RequestError::NoResponders { .. } => Silence::Nobody,
        error => {
            warn!(error = service::chain(error), "no answer of a service that operates the bot");
            Silence::Late
        }
    }
}
