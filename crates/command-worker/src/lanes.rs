//! Which commands run now: many at a time, but of one channel only one after the other, so that answers
//! stand in the order of the questions.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use tokio::task::JoinSet;

/// Jobs that wait behind others of the same lane, and those that run.
#[derive(Debug)]
pub struct Lanes<K, J> {
    waiting: HashMap<K, VecDeque<J>>,
    running: JoinSet<()>,
    lanes: HashMap<tokio::task::Id, K>,
    held: usize,
}

impl<K, J> Default for Lanes<K, J> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), running: JoinSet::new(), lanes: HashMap::new(), held: 0 }
    }
}

impl<K: Hash + Eq + Clone, J> Lanes<K, J> {
    /// How many jobs run or wait.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Runs a job now, or once those before it in its lane are done.
    pub fn put<F>(&mut self, lane: K, job: J, run: impl FnOnce(J) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.held += 1;
        if let Some(queue) = self.waiting.get_mut(&lane) {
            queue.push_back(job);
            return;
        }
        self.waiting.insert(lane.clone(), VecDeque::new());
        self.start(lane, run(job));
    }

    /// Waits for a job to end and starts the next of its lane; `false` when none runs. Cancel-safe.
    pub async fn advance<F>(&mut self, run: impl FnOnce(J) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(ended) = self.running.join_next_with_id().await else { return false };
        // A job that panicked has left its delivery unacknowledged: it comes again.
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.held -= 1;
        let Some(lane) = self.lanes.remove(&id) else { return true };
        match self.waiting.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(job) => self.start(lane, run(job)),
            None => drop(self.waiting.remove(&lane)),
        }
        true
    }

    /// Takes all jobs out that have not started.
    pub fn take_waiting(&mut self) -> Vec<J> {
        let taken: Vec<J> = self.waiting.values_mut().flat_map(std::mem::take).collect();
        self.held -= taken.len();
        taken
    }

    fn start(&mut self, lane: K, job: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(job).id();
        self.lanes.insert(id, lane);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    fn job(log: &Log) -> impl Fn(&'static str) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let log = log.clone();
        move |name| {
            let log = log.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                log.lock().unwrap().push(name);
                assert_ne!(name, "bad", "a job may panic");
            })
        }
    }

    #[tokio::test]
    async fn keeps_the_order_of_a_lane_and_lets_others_pass() {
        let (log, mut lanes) = (Log::default(), Lanes::default());
        for (lane, name) in [(1, "a1"), (1, "a2"), (2, "b1"), (1, "a3")] {
            lanes.put(lane, name, job(&log));
        }
        assert_eq!(lanes.held(), 4);
        while lanes.advance(job(&log)).await {}
        // Which of two lanes begins is up to the scheduler.
        log.lock().unwrap()[..2].sort_unstable();
        assert_eq!(*log.lock().unwrap(), ["a1", "b1", "a2", "a3"]);
        assert_eq!(lanes.held(), 0);
        assert!(lanes.waiting.is_empty() && lanes.lanes.is_empty());
    }

    #[tokio::test]
    async fn goes_on_after_a_job_that_panicked() {
        let (log, mut lanes) = (Log::default(), Lanes::default());
        lanes.put(1, "bad", job(&log));
        lanes.put(1, "good", job(&log));
        while lanes.advance(job(&log)).await {}
        assert_eq!(*log.lock().unwrap(), ["bad", "good"]);
    }

    #[tokio::test]
    async fn gives_back_what_has_not_started() {
        let (log, mut lanes) = (Log::default(), Lanes::default());
        for name in ["a1", "a2", "a3"] {
            lanes.put(1, name, job(&log));
        }
        assert_eq!(lanes.take_waiting(), ["a2", "a3"]);
        while lanes.advance(job(&log)).await {}
        assert_eq!(*log.lock().unwrap(), ["a1"]);
    }
}
