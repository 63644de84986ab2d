//! What was started here, and so should answer over NATS. A `vigie` in a container, which cannot ask Docker, is told by
//! the one that called it.

use std::env;

use super::{Part, Runs, State, Supervisor, compose, find, is_called, up};
use crate::find::{self as places, Running};

/// The parts as JSON, for a `vigie` in a container.
pub(super) const VARIABLE: &str = "VIGIE_STARTED";
/// The exit code of that one where NATS does not answer: who called it says more. EX_UNAVAILABLE of sysexits.
pub(crate) const NO_NATS: u8 = 69;

/// Who knows what was started.
pub(crate) enum Starter {
    /// Whoever called us, in a container.
    Caller(Vec<Part>),
    /// What runs it here, if anything does.
    Here(Option<Supervisor>),
}

impl Starter {
    /// Looks for it.
    pub(crate) async fn find(runs: &Runs) -> Self {
        match env::var(VARIABLE) {
            // One that cannot be read is of another version, and says nothing.
            Ok(parts) => Self::Caller(serde_json::from_str(&parts).unwrap_or_default()),
            // Where two of them run it, it is not known which.
            Err(_) => Self::Here(of_nats(runs).await.unwrap_or_default()),
        }
    }

    /// The parts; none where nothing of it runs, since then it is not what is asked.
    pub(crate) async fn parts(&self) -> Vec<Part> {
        let parts = match self {
            Self::Caller(parts) => parts.clone(),
            Self::Here(Some(found)) => found.parts().await.unwrap_or_default(),
            Self::Here(None) => Vec::new(),
        };
        let runs = |part: &Part| !matches!(part.state, State::Down | State::Done);
        if parts.iter().any(runs) { parts } else { Vec::new() }
    }
}

/// Whether this runs in a container for somebody outside.
pub(crate) fn is_inside() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// What runs it here. With `NATS_URL` that is only who uses the very same server: another bot's is not meant.
///
/// # Errors
/// As [`find`], and when `NATS_URL` cannot be read.
pub(crate) async fn of_nats(runs: &Runs) -> anyhow::Result<Option<Supervisor>> {
    match places::nats_url_setting()? {
        Some(url) if !runs.is_named() => {
            let same = Running::find(&runs.which.data).is_some_and(|running| running.nats_url == url);
            Ok(same.then(|| up(runs)))
        }
        _ => find(runs).await,
    }
}

/// Whether a part does the work of a service, also as its stand-in in the demo.
pub(crate) fn works_as(part: &str, service: &str) -> bool {
    is_called(part, service) || compose::stand_in_of(service) == Some(part)
}

/// Why NATS of Compose cannot be asked.
pub(super) fn without_nats(nats: &Part) -> String {
    let detail = &nats.detail;
    // One that was paused is not started, and does not answer.
    if nats.state == State::Down && !detail.contains("Paused") {
        format!("NATS does not run ({detail}): `vigie start` starts it")
    } else {
        format!("NATS does not answer ({detail}): `vigie restart nats` starts it again")
    }
}
