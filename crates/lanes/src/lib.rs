//! Jobs that run one after the other in each lane, and many lanes at a time. A lane is a channel: what is
//! said there keeps its order, and a slow channel holds up no other.
//!
//! What the jobs are, and how many may wait, is up to those who put them in.

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
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many jobs wait behind others of their lane.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.held - self.waiting.len()
    }

    /// How many jobs wait in one lane.
    #[must_use]
    pub fn waiting_in(&self, lane: &K) -> usize {
        self.waiting.get(lane).map_or(0, VecDeque::len)
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
        // A job that panicked has ended too.
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

    /// Takes out the job that came last in the lane in which most wait: when there is no room for all,
    /// the noisiest pays for it.
    pub fn take_last_of_longest(&mut self) -> Option<J> {
        let last = self.waiting.values_mut().max_by_key(|queue| queue.len())?.pop_back()?;
        self.held -= 1;
        Some(last)
    }

    /// Ends the jobs that run, wherever they are; those that wait never start.
    pub async fn abort(mut self) {
        self.running.shutdown().await;
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
    async fn the_longest_lane_gives_way() {
        let (log, mut lanes) = (Log::default(), Lanes::default());
        for (lane, name) in [(1, "a1"), (2, "b1"), (2, "b2"), (2, "b3"), (1, "a2")] {
            lanes.put(lane, name, job(&log));
        }
        assert_eq!((lanes.held(), lanes.waiting(), lanes.waiting_in(&2)), (5, 3, 2));
        assert_eq!(lanes.take_last_of_longest(), Some("b3"));
        assert_eq!((lanes.held(), lanes.waiting()), (4, 2));
        lanes.take_waiting();
        assert_eq!(lanes.take_last_of_longest(), None, "what has begun is not taken");
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
