//! The parts of `deployer`, `backup` and a gateway, which do what a test says.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::{Bus, Queue};
use protocol::{
    Action, ActionBody, DropReason, MessageId, Outcome, OutcomeBody, Platform, VERSION,
    control::{
        Backup, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus, Deploy, DeployAnswer,
        DeployOrder, DeployReply, DeployRequest, DeployState, DeployStatus, Job, JobEnd,
    },
    subject,
};
use testkit::eventually;
use tokio_util::task::AbortOnDropHandle;

use crate::world::channel;

/// A worker that died is followed after by another within 12 s; a loaded machine needs longer.
pub const LATER: Duration = Duration::from_secs(60);
/// What the message of the bot is called by the platform.
pub const SHOWN: u64 = 100;

/// A service that does what the test says.
#[derive(Clone, Default)]
pub struct Office(Arc<Mutex<Desk>>);

#[derive(Default)]
pub struct Desk {
    pub ordered: Vec<String>,
    pub refuses: bool,
    pub job: Option<Job>,
    pub deploys: Vec<Deploy>,
    pub backups: Vec<Backup>,
}

impl Office {
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Obeys as `deployer` does.
    pub async fn deployer(&self, bus: &Bus) -> AbortOnDropHandle<()> {
        let (mut orders, office) = (bus.obey::<DeployRequest>("deploy").await.unwrap(), self.clone());
        bus.round_trip().await;
        AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(ordered) = orders.next().await {
                let request = ordered.order.clone();
                let reply = match request.order {
                    DeployOrder::Status => {
                        let (job, current) = (office.desk().job.clone(), Some("v1".to_owned()));
                        DeployReply::Status(Box::new(DeployStatus {
                            job,
                            current,
                            ..DeployStatus::default()
                        }))
                    }
                    DeployOrder::History => DeployReply::History { deploys: office.desk().deploys.clone() },
                    order => match office.takes(&request.by, &format!("{order:?}")) {
                        Ok(job) => DeployReply::Accepted { job },
                        Err(reason) => DeployReply::Refused { reason },
                    },
                };
                ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
            }
        }))
    }

    /// Obeys as `backup` does.
    pub async fn backup(&self, bus: &Bus) -> AbortOnDropHandle<()> {
        let (mut orders, office) = (bus.obey::<BackupRequest>("backup").await.unwrap(), self.clone());
        bus.round_trip().await;
        AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(ordered) = orders.next().await {
                let request = ordered.order.clone();
                let reply = match request.order {
                    BackupOrder::Status => {
                        let job = office.desk().job.clone();
                        BackupReply::Status(Box::new(BackupStatus { job, ..BackupStatus::default() }))
                    }
                    BackupOrder::List => BackupReply::Backups { backups: office.desk().backups.clone() },
                    order => match office.takes(&request.by, &format!("{order:?}")) {
                        Ok(job) => BackupReply::Accepted { job },
                        Err(reason) => BackupReply::Refused { reason },
                    },
                };
                ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
            }
        }))
    }

    pub fn takes(&self, by: &str, order: &str) -> Result<String, String> {
        let mut desk = self.desk();
        desk.ordered.push(format!("{by} {order}"));
        if desk.refuses {
            return Err("one goes on already".to_owned());
        }
        let id = format!("job-{}", desk.ordered.len());
        desk.job = Some(Job {
            id: id.clone(),
            verb: "request".to_owned(),
            by: by.to_owned(),
            step: "resolve".to_owned(),
            done: 0,
            total: Some(10),
            began_ms: service::clock::unix_ms(),
            end: None,
        });
        Ok(id)
    }

    pub fn step(&self, step: &str) {
        self.desk().job.as_mut().unwrap().step = step.to_owned();
    }

    pub fn end(&self, state: DeployState) {
        let mut desk = self.desk();
        let job = desk.job.as_mut().unwrap();
        let (id, began_ms, ended_ms) = (job.id.clone(), job.began_ms, job.began_ms + 75_000);
        job.end = Some(JobEnd { at_ms: ended_ms, good: true, words: "as asked".to_owned() });
        let (from, to, words) = (Some("v1".to_owned()), "v2".to_owned(), "as asked".to_owned());
        desk.deploys
            .insert(0, Deploy { id, by: "test".to_owned(), from, to, began_ms, ended_ms, state, words });
    }

    pub fn ordered(&self) -> Vec<String> {
        self.desk().ordered.clone()
    }
}

/// A gateway that does what it is told, and says so.
pub struct Gateway {
    done: Arc<Mutex<Vec<Action>>>,
    _task: AbortOnDropHandle<()>,
}

impl Gateway {
    pub async fn start(bus: &Bus, platform: Platform) -> Self {
        Self::refusing(bus, platform, |_| None).await
    }

    /// Does not do what `refuses` gives a reason for, by the number of the action of its event.
    pub async fn refusing(bus: &Bus, platform: Platform, refuses: fn(&str) -> Option<DropReason>) -> Self {
        let queue = Queue::Actions(platform);
        let mut actions = bus.take_over(queue, subject::partition(&channel()), 1, || true).await.unwrap();
        let (done, bus) = (Arc::new(Mutex::new(Vec::new())), bus.clone());
        let noted = done.clone();
        let task = tokio::spawn(async move {
            loop {
                let delivery = actions.next().await;
                let action: Action = delivery.decode().unwrap();
                delivery.ack_sync().await.unwrap();
                let message = (platform == Platform::Discord).then(|| MessageId::from(SHOWN));
                let body = match refuses(number(&action)) {
                    Some(reason) => OutcomeBody::Dropped { reason, detail: "refused by the test".to_owned() },
                    None => OutcomeBody::Sent { message, platform_us: 1, total_us: 2 },
                };
                let outcome = Outcome {
                    v: VERSION,
                    action: action.id.clone(),
                    platform,
                    community: action.community.clone(),
                    at_ms: service::clock::unix_ms(),
                    body,
                };
                noted.lock().unwrap().push(action);
                bus.notify(subject::outcome(platform, &outcome.community), &outcome, None).await.unwrap();
            }
        });
        Self { done, _task: AbortOnDropHandle::new(task) }
    }

    /// What was said and shown so far: the number of the action of its event, the message that it changes, the text.
    pub fn said(&self) -> Vec<(String, Option<MessageId>, String)> {
        let one = |action: &Action| {
            let number = number(action).to_owned();
            let (message, content) = match &action.body {
                ActionBody::Reply { content, .. } | ActionBody::Send { content } => (None, content),
                ActionBody::Edit { message, content } => (Some(message.clone()), content),
                other => panic!("nothing else is done: {other:?}"),
            };
            (number, message, content.text.clone())
        };
        self.done.lock().unwrap().iter().map(one).collect()
    }

    /// Waits until the last that was said has these words.
    pub async fn says(&self, words: &str) -> (String, Option<MessageId>, String) {
        eventually(LATER, || async {
            let said = self.said();
            said.last().filter(|last| last.2.contains(words)).cloned().ok_or(said)
        })
        .await
    }
}

fn number(action: &Action) -> &str {
    action.id.as_str().rsplit(':').next().unwrap()
}
