//! Orders to the services that operate the bot, and the jobs that come of them: asked twice a second until they are
//! over. A job goes on without whoever asked for it.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{anyhow, bail};
use bus::{Bus, RequestError};
use protocol::control::{Job, Order};
use serde_json::json;
use tokio::{
    signal,
    time::{Instant, sleep},
};

use crate::{
    cli,
    find::{self, Which},
    paint::{self, Paint},
};

/// Who asks, for the one who obeys.
pub(crate) const BY: &str = "cli";
/// What `--help` of verbs with jobs ends with.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused, failed, or nobody answers;\n\
64 settings or arguments cannot be used; 75 it still goes on";

/// The same of verbs that only look.
pub(crate) const VIEW_EXIT_CODES: &str = "Exit codes: 0 answered, whatever the answer is; 1 refused, or nobody answers;\n\
64 settings or arguments cannot be used";

/// EX_TEMPFAIL of sysexits.
pub(crate) const STILL_GOING_ON: u8 = 75;
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often is asked how a job is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A deploy may start NATS and its own service again; longer silence is none of that.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// Nobody waits longer for a job; it goes on.
const JOB_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Goes to the beginning of the line, and empties it.
const AGAIN: &str = "\r\x1b[K";

/// How a job is to be waited for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Waiting {
    /// Shows a job that is over.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn show_end(self, job: &Job) -> anyhow::Result<()> {
        let paint = Paint::stdout();
        cli::say(&if self.json { serde_json::to_string(job)? + "\n" } else { end_of(job, paint) })?;
        Ok(())
    }
}

/// How what is answered at once is to be shown.
#[derive(clap::Args, Debug)]
pub(crate) struct ViewOptions {
    /// Print JSON: one object, or for a list one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(crate) which: Which,
}

impl ViewOptions {
    /// Shows one thing.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn show(
        &self,
        one: &impl serde::Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<ExitCode> {
        cli::say(&if self.json { serde_json::to_string(one)? + "\n" } else { text() })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Shows several.
    ///
    /// # Errors
    /// When standard output does not take them.
    pub(crate) fn list<T: serde::Serialize>(
        &self,
        all: &[T],
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<ExitCode> {
        cli::say(&if self.json { cli::json_lines(all)? } else { text() })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What an answer says of a job.
pub(crate) enum Reply {
    /// It has begun, or will.
    Accepted(String),
    /// It has not, and why.
    Refused(String),
    /// The one that runs, or the last one.
    Job(Option<Job>),
    /// Something that was not asked for.
    Odd,
}

/// A service that has jobs.
pub(crate) struct Service<O: Order> {
    bus: Bus,
    /// As in `control.<name>.<verb>`.
    name: &'static str,
    /// What is called so in Compose and systemd.
    program: &'static str,
    status: O,
    read: fn(&O::Answer) -> Reply,
}

impl<O: Order> Service<O> {
    /// `status` is the order that asks for the job that runs.
    ///
    /// # Errors
    /// When NATS cannot be reached.
    pub(crate) async fn open(
        which: &Which,
        name: &'static str,
        program: &'static str,
        status: O,
        read: fn(&O::Answer) -> Reply,
    ) -> anyhow::Result<Self> {
        let bus = find::connect(&which.nats_url()?).await?;
        Ok(Self { bus, name, program, status, read })
    }

    /// Asks for something that is answered at once.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a refusal.
    pub(crate) async fn ask(&self, order: &O) -> anyhow::Result<O::Answer> {
        let answer = self.tell(order).await?;
        match (self.read)(&answer) {
            Reply::Refused(reason) => bail!("{} refuses: {reason}", self.program),
            _ => Ok(answer),
        }
    }

    /// Why it refuses to do this, if it does.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) async fn refusal(&self, order: &O) -> anyhow::Result<Option<String>> {
        match (self.read)(&self.tell(order).await?) {
            Reply::Refused(reason) => Ok(Some(reason)),
            _ => Ok(None),
        }
    }

    async fn tell(&self, order: &O) -> anyhow::Result<O::Answer> {
        self.bus.command(self.name, order, ANSWER_LIMIT).await.map_err(|error| match error {
            RequestError::NoResponders { .. } => anyhow!(
                "{}: it is not set up here (docs/{}.md says how), or does not run (`vigie status` and `vigie logs {}` tell)",
                nobody(self.program),
                guide(self.name),
                self.program
            ),
            error => error.into(),
        })
    }

    /// Has a job done, and waits for its end.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and when nothing is heard of it for long.
    pub(crate) async fn run(&self, order: &O, waiting: Waiting) -> anyhow::Result<ExitCode> {
        let id = self.begin(order).await?;
        if waiting.no_wait {
            cli::say(&if waiting.json {
                json!({ "id": id }).to_string() + "\n"
            } else {
                format!("accepted: {id}; {}\n", self.how_to_ask())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let Some(job) = self.watch(&id).await? else { return Ok(still_going_on()) };
        waiting.show_end(&job)?;
        Ok(if is_good(&job) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Has a job begin; its name.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) async fn begin(&self, order: &O) -> anyhow::Result<String> {
        match (self.read)(&self.ask(order).await?) {
            Reply::Accepted(id) => Ok(id),
            _ => bail!("{} answers something that was not asked", self.program),
        }
    }

    /// Waits for the end of a job. `None` when it still goes on, and nobody waits for it any more.
    ///
    /// # Errors
    /// When nothing is heard of it for long, or another job took its place.
    pub(crate) async fn watch(&self, id: &str) -> anyhow::Result<Option<Job>> {
        let mut progress = Progress::new();
        let over = tokio::select! {
            over = self.over(id, &mut progress) => over,
            stopped = signal::ctrl_c() => stopped.map(|()| None).map_err(Into::into),
        };
        progress.clear();
        let over = over?;
        if over.is_none() {
            cli::complain(&format!("{id} goes on; {}", self.how_to_ask()));
        }
        Ok(over)
    }

    /// The job once it is over; `None` when it still goes on after the longest time.
    async fn over(&self, id: &str, progress: &mut Progress) -> anyhow::Result<Option<Job>> {
        let (begun, mut heard, mut seen) = (Instant::now(), Instant::now(), false);
        // What was over when it was asked first, and says nothing of ours.
        let mut stale: Option<String> = None;
        while begun.elapsed() < JOB_LIMIT {
            let job = match self.ask(&self.status).await.map(|answer| (self.read)(&answer)) {
                Ok(Reply::Job(job)) => {
                    heard = Instant::now();
                    let ended = job.as_ref().filter(|job| job.end.is_some());
                    stale.get_or_insert_with(|| ended.map(|job| job.id.clone()).unwrap_or_default());
                    job
                }
                Ok(_) => bail!("{} answers something that was not asked", self.program),
                Err(reason) if heard.elapsed() >= SILENCE_LIMIT => {
                    return Err(reason
                        .context(format!("nothing was heard of {id} for {} s", SILENCE_LIMIT.as_secs())));
                }
                Err(_) => {
                    progress.show(&format!("{} does not answer at the moment", self.program), "");
                    None
                }
            };
            match job {
                Some(job) if job.id == id => {
                    seen = true;
                    if job.end.is_some() {
                        return Ok(Some(job));
                    }
                    let (step, more) = line_of(&job, begun.elapsed());
                    progress.show(&step, &more);
                }
                Some(other) if seen => bail!(
                    "{id} is over, and {} has begun since, so that its end was missed; {}",
                    other.id,
                    self.how_to_ask()
                ),
                // What waits for another begins as soon as that one is over.
                Some(other) if other.end.is_some() && stale.as_ref() != Some(&other.id) => bail!(
                    "{id} is not there any more: {} is over, and was done instead of it or after it; {}",
                    other.id,
                    self.how_to_ask()
                ),
                Some(other) => {
                    progress.show(&format!("waits for {} of {}", named(&other.verb), other.by), "");
                }
                None => {}
            }
            sleep(ASK_EVERY).await;
        }
        Ok(None)
    }

    fn how_to_ask(&self) -> String {
        format!("`vigie {} status` tells how it is", self.name)
    }
}

/// Whether it is over, and ended well.
pub(crate) fn is_good(job: &Job) -> bool {
    job.end.as_ref().is_some_and(|end| end.good)
}

/// What is said where a service has not been set up, which other programs of ours look for.
pub(crate) fn nobody(program: &str) -> String {
    format!("no `{program}` answers")
}

/// What people call a verb: what is asked of a deployer is a request, and what it does a deploy.
fn named(verb: &str) -> &str {
    if verb == "request" { "deploy" } else { verb }
}

/// The page of docs about the services of this name.
fn guide(name: &str) -> &str {
    if name == "healthcheck" { "health" } else { name }
}

/// The exit code of a job that nobody waited for to the end.
pub(crate) fn still_going_on() -> ExitCode {
    ExitCode::from(STILL_GOING_ON)
}

/// A job that runs: what it does, and how far it is.
fn line_of(job: &Job, since: Duration) -> (String, String) {
    let percent = job.total.filter(|total| *total > 0).map(|total| {
        // Both fit, or it is no number of bytes.
        100_u64.saturating_mul(job.done.min(total)) / total
    });
    let percent = percent.map(|percent| format!(" {percent:>3} %")).unwrap_or_default();
    (
        format!("{}: {}", named(&job.verb), job.step),
        format!("{percent}, {}", paint::duration(since.as_secs())),
    )
}

/// A job that is over, in a line.
pub(crate) fn end_of(job: &Job, paint: Paint) -> String {
    let Some(end) = &job.end else { return String::new() };
    let took = Duration::from_millis(end.at_ms.saturating_sub(job.began_ms));
    let sign = if end.good { paint.good("✓") } else { paint.bad("✗") };
    let took = paint.faint(&format!("({}, {})", job.id, paint::duration(took.as_secs())));
    format!("{sign} {}: {} {took}\n", named(&job.verb), paint::harmless_lines(&end.words))
}

/// The job that runs, or the last one, for a person who asks how things stand.
pub(crate) fn now(job: Option<&Job>, now_ms: u64, paint: Paint) -> String {
    match job {
        None => String::new(),
        Some(job) if job.end.is_some() => end_of(job, paint),
        Some(job) => {
            let since = Duration::from_millis(now_ms.saturating_sub(job.began_ms));
            let (step, more) = line_of(job, since);
            let line = paint::harmless(&step) + &more;
            format!("{} {line} {}\n", paint.warn("…"), paint.faint(&format!("({})", job.id)))
        }
    }
}

/// What goes on: on a terminal one line that changes, elsewhere a line for each step.
struct Progress {
    terminal: bool,
    step: String,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), step: String::new() }
    }

    /// `more` changes all the time.
    fn show(&mut self, step: &str, more: &str) {
        let step = paint::harmless(step);
        if self.terminal {
            let width = paint::width().unwrap_or(80).saturating_sub(1);
            let line: String = format!("{step}{more}").chars().take(width).collect();
            write(&format!("{AGAIN}{line}"));
        } else if step != self.step {
            write(&format!("{step}\n"));
        }
        self.step = step;
    }

    fn clear(&self) {
        if self.terminal && !self.step.is_empty() {
            write(AGAIN);
        }
    }
}

fn write(text: &str) {
    let mut out = io::stderr().lock();
    // Where nobody looks at it there is nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use protocol::control::JobEnd;

    use super::*;

    fn job(done: u64, total: Option<u64>, end: Option<JobEnd>) -> Job {
        Job {
            id: "create-7".to_owned(),
            verb: "create".to_owned(),
            by: BY.to_owned(),
            step: "streams".to_owned(),
            done,
            total,
            began_ms: 1_000,
            end,
        }
    }

    #[test]
    fn a_job_is_a_line_while_it_runs_and_one_when_it_is_over() {
        let line = |done, total| line_of(&job(done, total, None), Duration::from_secs(61));
        assert_eq!(line(7, Some(20)), ("create: streams".to_owned(), "  35 %, 1 min".to_owned()));
        assert_eq!(line(9, Some(0)), ("create: streams".to_owned(), ", 1 min".to_owned()));
        let end = |good, words: &str| JobEnd { at_ms: 13_500, good, words: words.to_owned() };
        let good = job(20, Some(20), Some(end(true, "12 MiB in 3 parts")));
        assert_eq!(end_of(&good, Paint::plain()), "✓ create: 12 MiB in 3 parts (create-7, 12 s)\n");
        let bad = job(3, None, Some(end(false, "the disk is full: free 2 GiB")));
        assert_eq!(end_of(&bad, Paint::plain()), "✗ create: the disk is full: free 2 GiB (create-7, 12 s)\n");
    }
}
