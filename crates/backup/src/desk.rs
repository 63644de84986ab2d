//! One job at a time: what goes on, as everybody who asks is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::control::{BackupOrder, Job, JobEnd};

use crate::kept::{Kept, Store};

/// Something that takes a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Save everything.
    Create,
    /// Look whether what is stored is whole.
    Verify,
    /// Restore the newest into a scratch place.
    Drill,
    /// Bring one back.
    Restore {
        /// Which one, or `latest`.
        backup: String,
        /// Where to; in place without it.
        into: Option<String>,
    },
    /// Undo a restore that did not come to its end.
    GoBack,
}

impl Task {
    /// The one that is ordered; `None` for what is answered at once.
    pub fn of(order: &BackupOrder) -> Option<Self> {
        match order {
            BackupOrder::Create => Some(Self::Create),
            BackupOrder::Verify => Some(Self::Verify),
            BackupOrder::Drill => Some(Self::Drill),
            BackupOrder::Restore { backup, into } => {
                Some(Self::Restore { backup: backup.clone(), into: into.clone() })
            }
            BackupOrder::List | BackupOrder::Status => None,
        }
    }

    /// The verb that begins it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Restore { .. } => "restore",
            Self::GoBack => "go-back",
        }
    }

    /// What it is about.
    pub fn object(&self) -> &str {
        match self {
            Self::Restore { backup, .. } => backup,
            _ => "",
        }
    }
}

/// How far a job is; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Option<Job>>>);

impl Progress {
    /// What is done from now on.
    pub fn step(&self, step: &str) {
        if let Some(job) = self.lock().as_mut() {
            step.clone_into(&mut job.step);
            (job.done, job.total) = (0, None);
        }
    }

    /// How much of it is done, in bytes or pages.
    pub fn done(&self, done: u64, total: Option<u64>) {
        if let Some(job) = self.lock().as_mut() {
            (job.done, job.total) = (done, total.filter(|total| *total > 0));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where jobs are begun and ended.
#[derive(Debug)]
pub struct Desk {
    progress: Progress,
    store: Arc<Store>,
}

impl Desk {
    /// Knows of the last job before the start. One that was not over then ended with the process.
    pub async fn new(store: Arc<Store>, now_ms: u64) -> Self {
        let ended = |kept: &mut Kept| {
            if let Some(job) = kept.job.as_mut().filter(|job| job.end.is_none()) {
                // One that exchanged something has left a journal, by which it is gone back from at once.
                let left = match job.verb.as_str() {
                    "restore" | "go-back" => "it was done as a whole or not at all",
                    _ => "nothing half is left of it",
                };
                let words = format!("the service ended during the step {:?}; {left}", job.step);
                job.end = Some(JobEnd { at_ms: now_ms, good: false, words });
            }
        };
        store.change(ended).await;
        let progress = Progress(Arc::new(Mutex::new(store.get().job)));
        Self { progress, store }
    }

    /// The handle by which the job tells how far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The job that runs, or ran last.
    pub fn job(&self) -> Option<Job> {
        self.progress.lock().clone()
    }

    /// The job that runs.
    pub fn running(&self) -> Option<Job> {
        self.job().filter(|job| job.end.is_none())
    }

    /// Begins one; gives its name.
    pub async fn begin(&self, task: &Task, by: &str, now_ms: u64) -> String {
        let job = Job {
            id: format!("{}-{now_ms}", task.verb()),
            verb: task.verb().to_owned(),
            by: by.to_owned(),
            step: "begin".to_owned(),
            done: 0,
            total: None,
            began_ms: now_ms,
            end: None,
        };
        let id = job.id.clone();
        *self.progress.lock() = Some(job.clone());
        self.store.change(|kept| kept.job = Some(job)).await;
        id
    }

    /// It is over.
    pub async fn end(&self, end: JobEnd) {
        let job = {
            let mut job = self.progress.lock();
            if let Some(job) = job.as_mut() {
                job.end = Some(end);
            }
            job.clone()
        };
        self.store.change(|kept| kept.job = job).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_was_not_over_ended_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::new(Arc::new(Store::open(folder.path())), 1).await;
        assert_eq!(desk.job(), None);
        assert_eq!(desk.begin(&Task::Create, "cli", 7).await, "create-7");
        desk.progress().step("database");
        desk.progress().done(1, Some(2));
        assert_eq!(
            desk.running().map(|job| (job.step, job.done, job.total)),
            Some(("database".to_owned(), 1, Some(2)))
        );
        drop(desk);
        let desk = Desk::new(Arc::new(Store::open(folder.path())), 9).await;
        let end = desk.job().unwrap().end.unwrap();
        assert!(
            desk.running().is_none() && !end.good && end.at_ms == 9 && end.words.contains("nothing half")
        );
        desk.begin(&Task::Restore { backup: "latest".to_owned(), into: None }, "cli", 10).await;
        let desk = Desk::new(Arc::new(Store::open(folder.path())), 11).await;
        let words = desk.job().unwrap().end.unwrap().words;
        assert!(words.ends_with("\"begin\"; it was done as a whole or not at all"), "{words}");
    }
}
