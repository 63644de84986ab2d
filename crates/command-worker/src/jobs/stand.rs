//! How an order stands, by what the service says of the job it is at and of what came of those before.

use bus::Bus;
use commands::{Look, Office, Order, Silence};
use protocol::control::{Backup, Deploy, Job};

use crate::jobs::{ask, page::Followed};

/// What a service says.
#[derive(Debug, Default)]
pub struct Seen {
    /// The job it is at, or was at last.
    pub job: Option<Job>,
    /// What runs.
    pub current: Option<String>,
    /// Deploys that are over, when the job is not one that goes on.
    pub deploys: Vec<Deploy>,
    /// Backups that there are, likewise.
    pub backups: Vec<Backup>,
}

/// How it stands, in words.
#[derive(Debug, PartialEq, Eq)]
pub enum Stand {
    /// Nothing is known of it yet.
    Unknown,
    /// It waits for another.
    Waits(String),
    /// It goes on.
    GoesOn(String),
    /// It is over.
    Over(String),
}

impl Seen {
    /// Asks a service, for somebody who follows `jobs`.
    pub async fn ask(bus: &Bus, office: Office, jobs: &[&str]) -> Result<Self, Silence> {
        let goes_on = |job: &Job| job.end.is_none() && jobs.iter().all(|name| *name == job.id);
        let mut seen = Self::default();
        match office {
            Office::Deploy => {
                let status = ask::deploy_status(bus).await?;
                (seen.job, seen.current) = (status.job, status.current);
                if !seen.job.as_ref().is_some_and(goes_on) {
                    seen.deploys = ask::deploy_history(bus).await?;
                }
            }
            Office::Backup => {
                seen.job = ask::backup_status(bus).await?.job;
                if !seen.job.as_ref().is_some_and(goes_on) {
                    seen.backups = ask::backup_list(bus).await?;
                }
            }
        }
        Ok(seen)
    }

    /// What the service calls an order of which nobody noted it; `noted` are the names of others. `None` also when it
    /// waits for another.
    pub fn name_of(&self, one: &Followed, noted: &[String]) -> Option<&str> {
        let job = self.job.iter().map(|job| (&job.id, &job.by, job.began_ms));
        let deploys = self.deploys.iter().map(|deploy| (&deploy.id, &deploy.by, deploy.began_ms));
        let is_ours =
            |(id, by, began_ms): &(&String, &String, u64)| one.may_be(by, *began_ms) && !noted.contains(id);
        // The newest are first, and of several orders without a name the oldest comes first.
        job.chain(deploys).rfind(is_ours).map(|(id, ..)| id.as_str())
    }

    /// Whether it is at something.
    pub fn is_busy(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.end.is_none())
    }

    /// How an order stands that the service calls `name`.
    pub fn stand(&self, one: &Followed, name: &str) -> Stand {
        let say = |look: Look<'_>| one.words().look(name, look);
        if let Some(deploy) = self.deploys.iter().find(|deploy| deploy.id == name) {
            return Stand::Over(say(Look::Deployed(deploy)));
        }
        match &self.job {
            Some(job) if job.id == name => match &job.end {
                None => Stand::GoesOn(say(Look::GoesOn(job))),
                Some(end) => Stand::Over(match (&one.order, self.made(job)) {
                    (Order::Backup, Some(backup)) if end.good => say(Look::Saved(backup, job)),
                    (Order::Update { .. }, _) if end.good => {
                        say(Look::NothingNew { current: self.current.as_deref() })
                    }
                    _ => say(Look::Over(job, end)),
                }),
            },
            // What waits is begun at once when the one before it is over.
            Some(other) if other.end.is_none() && !one.begun => Stand::Waits(say(Look::Waits(other))),
            None if !one.begun => Stand::Unknown,
            _ => Stand::Over(say(Look::Missed)),
        }
    }

    fn made(&self, job: &Job) -> Option<&Backup> {
        self.backups.iter().find(|backup| backup.at_ms >= job.began_ms)
    }
}

#[cfg(test)]
mod tests {
    use protocol::control::{DeployState, JobEnd};

    use super::*;
    use crate::jobs::page::tests::followed;

    fn job(id: &str, end: Option<bool>) -> Job {
        let end = end.map(|good| JobEnd { at_ms: 9_000, good, words: "in words".to_owned() });
        let (verb, by, step) = ("request".to_owned(), "cli".to_owned(), "canary".to_owned());
        Job { id: id.to_owned(), verb, by, step, done: 3, total: Some(10), began_ms: 1_000, end }
    }

    fn deploy(id: &str) -> Deploy {
        Deploy {
            id: id.to_owned(),
            by: "cli".to_owned(),
            from: None,
            to: "v2".to_owned(),
            began_ms: 1_000,
            ended_ms: 2_000,
            state: DeployState::RolledOut,
            words: String::new(),
        }
    }

    fn of(order: Order, begun: bool, seen: &Seen) -> Stand {
        seen.stand(&Followed { order, begun, ..followed(1) }, "deploy-2")
    }

    fn over(stand: Stand, has: &str) {
        let Stand::Over(text) = stand else { panic!("{stand:?}") };
        assert!(text.contains(has), "{text}");
    }

    const UPDATE: Order = Order::Update { force: false };

    #[test]
    fn an_update_waits_goes_on_and_ends() {
        let seen = |job: Job, deploys: &[Deploy]| Seen {
            job: Some(job),
            current: Some("v2".to_owned()),
            deploys: deploys.to_vec(),
            ..Seen::default()
        };
        assert_eq!(of(UPDATE, false, &Seen::default()), Stand::Unknown);
        let waits = of(UPDATE, false, &seen(job("deploy-1", None), &[]));
        assert!(matches!(&waits, Stand::Waits(text) if text.contains("deploy-1")), "{waits:?}");
        assert!(matches!(of(UPDATE, false, &seen(job("deploy-2", None), &[])), Stand::GoesOn(_)));
        over(
            of(UPDATE, true, &seen(job("deploy-2", Some(true)), &[deploy("deploy-2")])),
            "v2 runs everywhere",
        );
        over(of(UPDATE, true, &seen(job("deploy-2", Some(true)), &[deploy("deploy-1")])), "nothing new");
        over(of(UPDATE, true, &seen(job("deploy-2", Some(false)), &[])), "in words");
        // Another one has begun since.
        over(of(UPDATE, true, &seen(job("deploy-3", None), &[deploy("deploy-2")])), "v2 runs everywhere");
        over(of(UPDATE, true, &seen(job("deploy-3", None), &[])), "was missed");
        over(of(UPDATE, false, &seen(job("deploy-3", Some(true)), &[])), "was missed");
    }

    #[test]
    fn an_order_without_a_name_is_found_by_who_gave_it_and_when() {
        let mut mine = job("deploy-2", None);
        followed(1).by.clone_into(&mut mine.by);
        let of_mine = |id: &str| Deploy { by: mine.by.clone(), ..deploy(id) };
        let over = [deploy("deploy-3"), of_mine("deploy-2"), of_mine("deploy-1")];
        let seen = |job: &Job, deploys: &[Deploy]| Seen {
            job: Some(job.clone()),
            deploys: deploys.to_vec(),
            ..Seen::default()
        };
        let noted = ["deploy-1".to_owned()];
        let name = |seen: Seen, one: &Followed| seen.name_of(one, &noted).map(str::to_owned);
        assert_eq!(name(seen(&mine, &[]), &followed(1)).as_deref(), Some("deploy-2"));
        assert_eq!(name(seen(&job("deploy-3", None), &over), &followed(1)).as_deref(), Some("deploy-2"));
        assert_eq!(name(seen(&job("deploy-3", None), &over[..1]), &followed(1)), None, "of somebody else");
        assert_eq!(name(seen(&mine, &over), &followed(60_000)), None, "from before");
    }

    #[test]
    fn a_backup_ends_with_what_was_made() {
        let made = |at_ms| Backup {
            id: "night".to_owned(),
            at_ms,
            bytes: Some(3 << 20),
            parts: vec!["database".to_owned()],
            proved_ms: None,
        };
        let seen = |good, backups: &[Backup]| Seen {
            job: Some(job("deploy-2", Some(good))),
            backups: backups.to_vec(),
            ..Seen::default()
        };
        over(of(Order::Backup, true, &seen(true, &[made(1_500)])), "night holds 3.0 MiB (database)");
        over(of(Order::Backup, true, &seen(true, &[made(500)])), "in words");
        over(of(Order::Backup, true, &seen(false, &[made(1_500)])), "in words");
    }
}
