//! The knobs that make the local Discord misbehave while it runs. What happens once, such as a cut
//! connection, is a method of [`super::Discord`] instead.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Answers that REST gives instead of doing what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestFault {
    /// The status of the answer, such as 429, 500 or 502.
    pub status: u16,
    /// How many more requests are answered so.
    #[serde(default = "one")]
    pub count: u32,
    /// For a 429: how long to stay away, in milliseconds.
    #[serde(default = "second")]
    pub retry_after_ms: u64,
    /// For a 429: it is the global limit that was hit.
    #[serde(default)]
    pub global: bool,
    /// Only requests whose `METHOD /route/{template}` contains this; empty is every request.
    #[serde(default)]
    pub route: String,
}

const fn one() -> u32 {
    1
}

const fn second() -> u64 {
    1000
}

/// All knobs, as the control API shows and takes them. The default is a Discord that behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Every REST answer and every gateway dispatch comes this much later, in milliseconds.
    pub delay_ms: u64,
    /// Every REST answer comes this much later, after its work was done, in milliseconds.
    pub rest_slow_ms: u64,
    /// Wrong answers for the next requests.
    pub rest_status: Option<RestFault>,
    /// Heartbeats are taken, but never acknowledged: the zombie connection.
    pub mute_heartbeat_acks: bool,
    /// IDENTIFY is answered by closing with this code, such as 4004 or 4013.
    pub refuse_identify: Option<u16>,
    /// RESUME is answered by closing with this code, such as 4007 or 4009.
    pub refuse_resume: Option<u16>,
    /// New gateway connections are answered with 503.
    pub refuse_connections: bool,
    /// How far the clock of this Discord is off, in milliseconds; seen in `X-RateLimit-Reset`.
    pub clock_skew_ms: i64,
}

/// The knobs of one local Discord.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Knobs>);

impl Faults {
    /// All knobs as they are now.
    #[must_use]
    pub fn get(&self) -> Knobs {
        self.lock().clone()
    }

    /// Sets all knobs.
    pub fn set(&self, knobs: Knobs) {
        *self.lock() = knobs;
    }

    /// Changes some knobs.
    pub fn update(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.lock());
    }

    /// Changes the knobs that `patch` names and keeps the others; returns all of them.
    ///
    /// # Errors
    /// When `patch` names an unknown knob or gives one a value of the wrong kind.
    pub fn merge(&self, patch: &serde_json::Value) -> Result<Knobs, serde_json::Error> {
        let mut knobs = self.lock();
        let mut all = serde_json::to_value(&*knobs)?;
        match (all.as_object_mut(), patch.as_object()) {
            (Some(all), Some(patch)) => all.extend(patch.clone()),
            _ => return Err(serde::de::Error::custom("expected an object of knobs")),
        }
        *knobs = serde_json::from_value(all)?;
        Ok(knobs.clone())
    }

    /// The wrong answer for a request to `route`, if there is one left; it is used up by asking.
    pub(super) fn take_rest(&self, route: &str) -> Option<RestFault> {
        let mut knobs = self.lock();
        let fault = knobs.rest_status.as_mut().filter(|fault| route.contains(&fault.route))?;
        fault.count = fault.count.saturating_sub(1);
        let taken = fault.clone();
        if taken.count == 0 {
            knobs.rest_status = None;
        }
        Some(taken)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Knobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
