//! How often a membership is renewed, and how long it lasts. The only place with these numbers.

use std::time::Duration;

/// How often a member renews its key, and when the server removes a key that was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// Whole seconds, as the server demands. nats-server 2.15 removes a key 0 to 0.3 s after this,
    /// never before.
    pub ttl: Duration,
    /// Between two renewals. One may be lost and told late without the member having to stop.
    pub renew: Duration,
}

/// While another member is there that could take over: it does so within 4.3 s of a death.
pub(crate) const IN_COMPANY: Rhythm = Rhythm { ttl: Duration::from_secs(4), renew: Duration::from_secs(1) };
/// While nobody is there to take over: fewer writes, for the sake of SD cards.
pub(crate) const ALONE: Rhythm = Rhythm { ttl: Duration::from_secs(10), renew: Duration::from_secs(3) };
/// A member stops acting so long before the server could remove its key. An effect that was begun must
/// be over by then.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);
/// A key that outlived its time by this much (the server lost its time to live) is removed by whoever
/// sees that.
pub(crate) const OVERDUE: Duration = Duration::from_secs(1);
/// Who comes back from an outage takes nothing from others for so long: their keys may have run out while the
/// server was away, and they come back as well. A client tries to connect every 2 s at most, and then renews
/// its key at once.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// After an unanswered or failed request, before the next.
pub(crate) const RETRY: Duration = Duration::from_millis(250);
/// How long one request may take before its outcome counts as unknown.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// A watch that did not bring the own last renewal, open for this long, is dead.
pub(crate) const WATCH_LIMIT: Duration = Duration::from_secs(2);
/// How long the marker of a removed key stays, in seconds: long enough to be seen by every watch.
pub(crate) const MARKER_TTL: Duration = Duration::from_secs(60);

/// The most resources of one group: the table must fit into one message.
pub const RESOURCES_MAX: usize = 4096;
/// The longest name of a resource, in bytes.
pub const RESOURCE_NAME_MAX: usize = 48;
/// The longest name of a group or an instance, in bytes.
pub const NAME_MAX: usize = 64;
