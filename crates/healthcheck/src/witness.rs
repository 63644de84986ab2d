//! Pings somebody outside once a minute, who notices when the pings stop: the one thing that a machine without
//! power, or a watch that hangs, can still say. The protocol is that of healthchecks.io: `/start`, then success or
//! `/fail`, each with the same run id, and what is wrong as the body.

use std::time::Duration;

use reqwest::Url;
use service::Context;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::{
    config::{Address, Config},
    rules::Pace,
    tell::{Again, Board, Client, Failure},
    view::{Condition, Verdict, Views},
    words::duration,
};

/// The witness allows 5 a minute for each check; these are 2.
const EVERY: Duration = Duration::from_secs(60);
/// Tries of one ping.
const TRIES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(5);
/// So many pings in a row must fail before somebody is told: the way out may be cut for a minute.
const FAILURES_MAX: u32 = 3;
/// A look that is older is no sign of life.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// Pings from now on, when there is a witness.
///
/// # Errors
/// When TLS cannot be started.
pub fn start(context: &Context, config: &Config, views: &Views, board: &Board) -> anyhow::Result<()> {
    let Some(Address(url)) = config.witness.clone() else { return Ok(()) };
    board.set_witness(Condition::Untried);
    let witness = Witness {
        client: Client::new()?,
        url,
        views: views.clone(),
        board: board.clone(),
        pace: config.pace,
        failures: 0,
    };
    let shutdown = context.shutdown.clone();
    context.tasks.spawn("witness", async move {
        tokio::select! {
            () = witness.run() => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    });
    Ok(())
}

struct Witness {
    client: Client,
    url: Url,
    views: Views,
    board: Board,
    pace: Pace,
    failures: u32,
}

impl Witness {
    async fn run(mut self) {
        let mut beat = interval(self.pace.of(EVERY));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Until every service had the time to answer, there is neither good nor bad to tell.
        let is_settled = |verdict| verdict != Verdict::Starting;
        if self.views.wait_for(|view| is_settled(Verdict::of(view.as_deref(), STALE_AFTER))).await.is_err() {
            return;
        }
        loop {
            beat.tick().await;
            let run = run_id();
            let started = self.ping("/start", &run, String::new()).await;
            // The next look is what this run is about: without one there is nothing to say.
            let looked = timeout(STALE_AFTER, self.views.changed()).await;
            let (suffix, said) = match looked {
                Ok(Ok(())) => self.report(),
                Ok(Err(_)) => return,
                Err(_) => ("/fail", format!("no look within {}", duration(STALE_AFTER))),
            };
            let outcome = match started {
                Ok(()) => self.ping(suffix, &run, said).await,
                failed => failed,
            };
            self.note(outcome);
        }
    }

    fn report(&self) -> (&'static str, String) {
        let view = self.views.borrow().clone();
        let verdict = Verdict::of(view.as_deref(), STALE_AFTER);
        let alerts = view.iter().flat_map(|view| &view.alerts);
        let lines: Vec<String> = alerts.map(|alert| format!("{}: {}", alert.title(), alert.text)).collect();
        let said = format!("{}\n{}\n", verdict.as_str(), lines.join("\n"));
        (if verdict.is_good() { "" } else { "/fail" }, said)
    }

    async fn ping(&self, suffix: &str, run: &str, said: String) -> Result<(), Failure> {
        let mut url = self.url.clone();
        let path = format!("{}{suffix}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut().append_pair("rid", run);
        let mut last = Ok(());
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(self.pace.of(PAUSE)).await;
            }
            last = self.client.send(self.client.post(url.clone()).body(said.clone())).await;
            match &last {
                Err(failure) if failure.again == Again::Soon => {
                    debug!(reason = failure.reason, "the witness was not told");
                }
                _ => return last,
            }
        }
        last
    }

    fn note(&mut self, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => {
                self.failures = 0;
                self.board.set_witness(Condition::Fine);
            }
            Err(failure) => {
                self.failures += 1;
                warn!(reason = failure.reason, failures = self.failures, "the witness was not told");
                if self.failures >= FAILURES_MAX || failure.again != Again::Soon {
                    self.board.set_witness(Condition::Trouble(failure.reason));
                }
            }
        }
    }
}

/// A random UUID, as the protocol wants it.
fn run_id() -> String {
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    // Version 4, variant 1.
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_run_id_is_a_uuid() {
        let id = super::run_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}
