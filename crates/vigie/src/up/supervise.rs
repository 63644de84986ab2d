//! Looking after the parts: each has a task that starts it, watches it, starts it again, and ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    child,
    part::{Part, Stage},
    probe::{Answer, Probe},
    report::{Report, Reporter, State},
};

/// How often a part is looked at until it is ready, and later on.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// A part that is not ready so long after its start waits for something that takes its time.
const SOON_FOR: Duration = Duration::from_secs(30);
const LOOK_LATER: Duration = Duration::from_secs(2);
/// A part that answers nothing for so long is stuck, and is killed and started afresh.
const STUCK: Duration = Duration::from_secs(15);
/// How long each stage may take to end, in the order of [`Stage::ENDING`]; then it is killed. Less than
/// five seconds in all.
const ENDING: [Duration; 4] = [
    Duration::from_millis(1800),
    Duration::from_millis(1200),
    Duration::from_millis(700),
    Duration::from_millis(900),
];

/// How a part is doing, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is starting, or does not work at the moment.
    NotReady,
    /// It works.
    Ready,
    /// Its settings cannot be used; it is not started again.
    GaveUp,
    /// A command has stopped it for a while.
    Held,
}

/// How one part is doing.
#[derive(Clone, Debug)]
pub(crate) struct Doing {
    /// What it is called.
    pub name: String,
    /// How it is doing.
    pub condition: Condition,
    /// Its process, when it has one.
    pub pid: Option<u32>,
}

type Conditions = Vec<Doing>;

/// All parts.
pub(crate) struct Team {
    reporter: Reporter,
    conditions: watch::Sender<Conditions>,
    held: watch::Sender<BTreeSet<String>>,
    stages: BTreeMap<Stage, (CancellationToken, JoinSet<()>)>,
}

impl Team {
    /// Without parts.
    pub(crate) fn new(reporter: Reporter) -> Self {
        let (conditions, held) = (watch::Sender::default(), watch::Sender::default());
        Self { reporter, conditions, held, stages: BTreeMap::new() }
    }

    /// Starts a part and looks after it from now on.
    pub(crate) fn start(&mut self, part: Part) {
        let (end, tasks) = self.stages.entry(part.stage).or_default();
        self.conditions.send_modify(|all| {
            all.push(Doing { name: part.name.clone(), condition: Condition::NotReady, pid: None });
        });
        let keeper = Keeper {
            limit: limit(part.stage),
            part,
            reporter: self.reporter.clone(),
            conditions: self.conditions.clone(),
            held: self.held.subscribe(),
            end: end.clone(),
        };
        tasks.spawn(keeper.keep());
    }

    /// How the parts are doing, and when that changes.
    pub(crate) fn conditions(&self) -> watch::Receiver<Conditions> {
        self.conditions.subscribe()
    }

    /// By what parts are stopped for a while: their names.
    pub(crate) fn held(&self) -> watch::Sender<BTreeSet<String>> {
        self.held.clone()
    }

    /// Whether some part is so.
    pub(crate) fn any(&self, condition: Condition) -> bool {
        self.conditions.borrow().iter().any(|one| one.condition == condition)
    }

    /// The parts that are so.
    pub(crate) fn names_of(&self, condition: Condition) -> Vec<String> {
        let all = self.conditions.borrow();
        all.iter().filter(|one| one.condition == condition).map(|one| one.name.clone()).collect()
    }

    /// Ends all parts in order; one that does not end in its time is killed.
    pub(crate) async fn stop(&mut self) {
        for stage in Stage::ENDING {
            if let Some((end, tasks)) = self.stages.get_mut(&stage) {
                end.cancel();
                while tasks.join_next().await.is_some() {}
            }
        }
    }

    /// Ends all parts at once.
    pub(crate) async fn kill(&mut self) {
        for (_, tasks) in self.stages.values_mut() {
            // Dropping a task drops its child, which kills it.
            tasks.shutdown().await;
        }
    }
}

fn limit(stage: Stage) -> Duration {
    let place = Stage::ENDING.iter().position(|one| *one == stage).unwrap_or(0);
    ENDING[place]
}

/// Why a run of a process is over.
enum End {
    Asked,
    Held,
    Unasked(String),
    BadSettings,
}

/// Looks after one part.
struct Keeper {
    part: Part,
    reporter: Reporter,
    conditions: watch::Sender<Conditions>,
    held: watch::Receiver<BTreeSet<String>>,
    end: CancellationToken,
    limit: Duration,
}

impl Keeper {
    async fn keep(self) {
        let mut backoff = Backoff::default();
        while !self.end.is_cancelled() {
            if self.held.borrow().contains(&self.part.name) {
                self.set(Condition::Held, None);
            }
            tokio::select! {
                biased;
                () = self.held_is(false) => {}
                () = self.end.cancelled() => return,
            }
            let since = Instant::now();
            let end = match self.run().await {
                Ok(end) => end,
                Err(reason) => End::Unasked(format!("{reason:#}")),
            };
            match end {
                End::Asked => return,
                End::Held => {}
                End::BadSettings => {
                    let why = "its settings cannot be used, see its log";
                    self.report(State::Failed, |report| report.because(why));
                    self.set(Condition::GaveUp, None);
                    return;
                }
                End::Unasked(why) => {
                    self.set(Condition::NotReady, None);
                    let wait = backoff.after(since.elapsed());
                    let again = format!("{why}; starting it again in {:.1} s", wait.as_secs_f32());
                    self.report(State::Ended, |report| report.because(again));
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = self.held_is(true) => self.set(Condition::Held, None),
                        () = self.end.cancelled() => return,
                    }
                }
            }
        }
    }

    /// One process from its start to its end.
    async fn run(&self) -> anyhow::Result<End> {
        let probe = Probe::new(&self.part.readiness)?;
        let mut child = child::spawn(&self.part, &probe, &self.reporter)?;
        let pid = child.id();
        self.set(Condition::NotReady, pid);
        self.report(State::Starting, |report| Report { pid, ..report });
        let end = tokio::select! {
            status = child.wait() => return Ok(over(status?)),
            () = self.end.cancelled() => End::Asked,
            () = self.held_is(true) => End::Held,
            why = self.watch(probe, pid) => End::Unasked(format!("{why} and was killed")),
        };
        match end {
            End::Asked | End::Held => self.stop(&mut child).await?,
            End::Unasked(_) | End::BadSettings => child.kill().await?,
        }
        Ok(end)
    }

    /// Waits until it is held, or is not.
    async fn held_is(&self, held: bool) {
        let mut names = self.held.clone();
        if names.wait_for(|names| names.contains(&self.part.name) == held).await.is_err() {
            // Nobody is left who could change it.
            std::future::pending::<()>().await;
        }
    }

    /// Follows how the process is doing, until it has to be killed; returns why.
    async fn watch(&self, mut probe: Probe, pid: Option<u32>) -> String {
        let (started, mut heard) = (Instant::now(), Instant::now());
        let mut known: Option<Answer> = None;
        loop {
            let answer = probe.look().await;
            match &answer {
                Answer::Silent if heard.elapsed() >= STUCK => {
                    return format!("it did not answer for {} s", STUCK.as_secs());
                }
                Answer::Broken(why) => return why.clone(),
                Answer::Silent => {}
                Answer::Ready(_) | Answer::NotReady(_) => heard = Instant::now(),
            }
            if answer != Answer::Silent && known.as_ref() != Some(&answer) {
                self.tell(&answer, known.is_none(), started, probe.url(), pid);
                known = Some(answer);
            }
            let ready = matches!(known, Some(Answer::Ready(_)));
            sleep(pause(ready, started.elapsed())).await;
        }
    }

    fn tell(&self, answer: &Answer, first: bool, started: Instant, url: String, pid: Option<u32>) {
        match answer {
            Answer::Ready(note) => {
                self.set(Condition::Ready, pid);
                self.report(State::Ready, |report| {
                    let report = report.because(note.as_str()).after(started.elapsed());
                    Report { url: Some(url), pid, ..report }
                });
            }
            Answer::NotReady(why) => {
                self.set(Condition::NotReady, pid);
                // That a part is not ready at its first breath is no news for a person's log.
                if !first || started.elapsed() > LOOK_LATER {
                    self.report(State::Waiting, |report| report.because(why.as_str()));
                }
            }
            Answer::Broken(_) | Answer::Silent => {}
        }
    }

    async fn stop(&self, child: &mut Child) -> anyhow::Result<()> {
        let asked = Instant::now();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be ending by itself at this very moment, which is as good.
            let _ = kill_process(pid, Signal::TERM);
        }
        let detail = match timeout(self.limit, child.wait()).await {
            Ok(status) => {
                status?;
                String::new()
            }
            Err(_) => {
                child.kill().await?;
                "killed, since it did not end in time".to_owned()
            }
        };
        self.report(State::Stopped, |report| report.because(detail).after(asked.elapsed()));
        Ok(())
    }

    fn report(&self, state: State, more: impl FnOnce(Report) -> Report) {
        self.reporter.report(&more(Report::new(&self.part.name, state)));
    }

    fn set(&self, condition: Condition, pid: Option<u32>) {
        self.conditions.send_if_modified(|all| {
            let Some(doing) = all.iter_mut().find(|doing| doing.name == self.part.name) else {
                return false;
            };
            let changed = (doing.condition, doing.pid) != (condition, pid);
            (doing.condition, doing.pid) = (condition, pid);
            changed
        });
    }
}

/// Until the next look at a part of this age.
fn pause(ready: bool, age: Duration) -> Duration {
    if ready || age >= SOON_FOR { LOOK_LATER } else { LOOK_SOON }
}

fn over(status: ExitStatus) -> End {
    if status.code() == Some(i32::from(service::EXIT_BAD_SETTINGS)) {
        return End::BadSettings;
    }
    End::Unasked(child::reason(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stays_unready_is_looked_at_less_often() {
        assert_eq!(pause(false, Duration::from_secs(29)), LOOK_SOON);
        assert_eq!(pause(false, SOON_FOR), LOOK_LATER);
        assert_eq!(pause(true, Duration::ZERO), LOOK_LATER);
    }
}
