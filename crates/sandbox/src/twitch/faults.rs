//! Faults that can be switched on: silence, delay, refused logins, failing HTTP. What they do is
//! done by the module that would have answered.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Every knob as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Milliseconds that every line to an IRC client is held back.
    pub delay_ms: u64,
    /// PINGs of clients are not answered.
    pub mute_pong: bool,
    /// Nothing is sent to IRC clients at all while their sockets stay open: a half-open connection.
    pub silent: bool,
    /// How many of the next logins are refused as if the token were wrong.
    pub refuse_logins: u32,
    /// Status of the next Helix answers, while `helix_failures` is above 0.
    pub helix_status: u16,
    /// How many of the next Helix requests are answered `helix_status`.
    pub helix_failures: u32,
    /// What a Helix request asks for is done all the same, before it fails or is held back.
    pub helix_done: bool,
    /// Milliseconds that every Helix answer is held back.
    pub helix_slow_ms: u64,
    /// Status of the next OAuth answers, while `oauth_failures` is above 0.
    pub oauth_status: u16,
    /// How many of the next OAuth requests are answered `oauth_status`.
    pub oauth_failures: u32,
    /// Drop reason of the next `POST /helix/chat/messages` that would have been sent; empty for none.
    pub drop_reason: String,
}

/// A change of some knobs; those that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// See [`Settings::delay_ms`].
    pub delay_ms: Option<u64>,
    /// See [`Settings::mute_pong`].
    pub mute_pong: Option<bool>,
    /// See [`Settings::silent`].
    pub silent: Option<bool>,
    /// See [`Settings::refuse_logins`].
    pub refuse_logins: Option<u32>,
    /// See [`Settings::helix_status`].
    pub helix_status: Option<u16>,
    /// See [`Settings::helix_failures`].
    pub helix_failures: Option<u32>,
    /// See [`Settings::helix_done`].
    pub helix_done: Option<bool>,
    /// See [`Settings::helix_slow_ms`].
    pub helix_slow_ms: Option<u64>,
    /// See [`Settings::oauth_status`].
    pub oauth_status: Option<u16>,
    /// See [`Settings::oauth_failures`].
    pub oauth_failures: Option<u32>,
    /// See [`Settings::drop_reason`].
    pub drop_reason: Option<String>,
}

/// The knobs of one local Twitch.
#[derive(Debug, Default)]
pub struct Faults {
    now: Mutex<Settings>,
    /// The delay once more, where every line that is queued can read it without a lock.
    delay_ms: Arc<AtomicU64>,
}

/// What befalls a Helix request.
pub(crate) struct HelixFault {
    /// A status instead of its answer.
    pub(crate) status: Option<u16>,
    /// Whether it is done before that.
    pub(crate) done: bool,
    /// A wait before the answer.
    pub(crate) slow: Duration,
}

impl Faults {
    /// Every knob as it is now.
    pub fn get(&self) -> Settings {
        self.lock().clone()
    }

    /// Turns some knobs and returns all of them.
    pub fn set(&self, change: Change) -> Settings {
        let mut now = self.lock();
        macro_rules! take {
            ($($knob:ident),*) => { $(if let Some(value) = change.$knob { now.$knob = value; })* };
        }
        take!(
            delay_ms,
            mute_pong,
            silent,
            refuse_logins,
            helix_status,
            helix_failures,
            helix_done,
            helix_slow_ms,
            oauth_status,
            oauth_failures,
            drop_reason
        );
        self.delay_ms.store(now.delay_ms, Ordering::Relaxed);
        now.clone()
    }

    /// Turns every knob back.
    pub fn clear(&self) {
        *self.lock() = Settings::default();
        self.delay_ms.store(0, Ordering::Relaxed);
    }

    /// Holds back every line to IRC clients by this many milliseconds.
    pub fn set_delay_ms(&self, delay_ms: u64) {
        self.set(Change { delay_ms: Some(delay_ms), ..Change::default() });
    }

    /// Stops (or resumes) answering PINGs.
    pub fn set_mute_pong(&self, mute: bool) {
        self.lock().mute_pong = mute;
    }

    /// Stops (or resumes) sending anything to IRC clients.
    pub fn set_silent(&self, silent: bool) {
        self.lock().silent = silent;
    }

    /// Refuses the next `n` logins.
    pub fn refuse_logins(&self, n: u32) {
        self.lock().refuse_logins = n;
    }

    /// Answers the next `n` Helix requests with this status.
    pub fn fail_helix(&self, status: u16, n: u32) {
        let mut now = self.lock();
        now.helix_status = status;
        now.helix_failures = n;
    }

    /// Answers the next `n` OAuth requests with this status.
    pub fn fail_oauth(&self, status: u16, n: u32) {
        let mut now = self.lock();
        now.oauth_status = status;
        now.oauth_failures = n;
    }

    pub(crate) fn delay_ms(&self) -> Arc<AtomicU64> {
        self.delay_ms.clone()
    }

    pub(crate) fn mutes_pong(&self) -> bool {
        self.lock().mute_pong
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.lock().silent
    }

    pub(crate) fn take_login_refusal(&self) -> bool {
        let mut now = self.lock();
        let refuse = now.refuse_logins > 0;
        now.refuse_logins = now.refuse_logins.saturating_sub(1);
        refuse
    }

    /// What befalls the next Helix request.
    pub(crate) fn take_helix(&self) -> HelixFault {
        let mut now = self.lock();
        let status = (now.helix_failures > 0).then_some(now.helix_status);
        now.helix_failures = now.helix_failures.saturating_sub(1);
        HelixFault { status, done: now.helix_done, slow: Duration::from_millis(now.helix_slow_ms) }
    }

    pub(crate) fn take_oauth(&self) -> Option<u16> {
        let mut now = self.lock();
        let status = (now.oauth_failures > 0).then_some(now.oauth_status);
        now.oauth_failures = now.oauth_failures.saturating_sub(1);
        status
    }

    pub(crate) fn take_drop_reason(&self) -> Option<String> {
        let mut now = self.lock();
        (!now.drop_reason.is_empty()).then(|| std::mem::take(&mut now.drop_reason))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Settings> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
