//! A member of a group as a state machine: told what happened and what time it is, it says what to do
//! next. No I/O and no clock, so that a test can drive it through every disorder.
//!
//! What keeps two members from owning the same resource:
//! 1. A member acts only until `until`: the time at which its last confirmed renewal was *sent*, plus the
//!    time to live, minus a margin. The server removes its key later than that.
//! 2. A resource is taken from another owner only once that owner's session is dead: its key was read
//!    *after* the table named it, and is gone, or holds another session, or was removed by this member
//!    because it had not changed for longer than its time to live.
//! 3. A member whose key is gone starts a new session, which owns nothing.
//! 4. Every write is refused by the server if somebody else wrote first, so one that arrives late,
//!    from before an outage, changes nothing that anybody relies on.
//!
//! What keeps an outage of the server from moving things about: whoever had one itself takes back what was
//! its own, and nothing else, until the others have had the time to do the same (`GRACE`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    hash,
    plan::{Handover, Me, View, plan},
    rules::{ALONE, IN_COMPANY, MARGIN, OVERDUE, Rhythm, WATCH_LIMIT},
    table::{Presence, Session, Table},
};

/// The time since some moment, on a clock that never goes back.
pub(crate) type Time = Duration;

/// Something to be done with the server, before anything else is asked of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Read a member's key from the leader of the stream.
    Examine { instance: String, suspects: BTreeSet<Session> },
    /// Write the own key.
    Renew { presence: Presence, expected: u64 },
    /// Remove the key of a member that stopped renewing it.
    Evict { instance: String, expected: u64 },
    /// Remove the own key.
    Leave { expected: u64 },
    /// Read the table from the leader of the stream.
    ReadTable,
    /// Write the table.
    WriteTable { table: Table, expected: u64 },
    /// Watch the group, from the values of now on.
    Watch,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is the last of its key, with this revision.
    Stored(u64),
    /// Somebody else wrote first.
    Refused,
    /// No answer: it may be stored, now or later.
    Unknown,
}

/// The last of a key: its revision (0: never written) and its value, if it was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub revision: u64,
    pub value: Option<T>,
}

/// A table as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableValue {
    Readable(Table),
    Unreadable,
}

/// What a member may act on now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub owned: BTreeSet<String>,
    pub asked: BTreeSet<String>,
    pub preparing: BTreeSet<String>,
    pub living: usize,
    /// Those that are there to stay, itself included.
    pub members: BTreeSet<String>,
    /// Whether one of the others that are there to stay can do the work.
    pub relieved: bool,
    /// Until when; `None` when fenced.
    pub until: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// To be read first.
    Unknown,
    /// Not ours yet; the revision to write over.
    Absent {
        expected: u64,
    },
    Held {
        revision: u64,
    },
}

/// What is known of another member's key.
pub(super) struct Seen {
    /// 0: the watch was opened anew and has not brought it yet.
    pub revision: u64,
    /// When this revision was seen first.
    pub since: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    No,
    /// It has not brought all yet that there was when it was opened.
    CatchingUp,
    Yes,
}

/// The state of one membership.
pub(crate) struct Machine {
    pub(super) instance: String,
    pub(super) me: Me,
    pub(super) random: fastrand::Rng,
    pub(super) key: Key,
    /// The rhythm and the time of the renewal that is under way.
    pub(super) sent: (Rhythm, Time),
    pub(super) until: Option<Time>,
    pub(super) renew_at: Time,
    pub(super) retry_at: Time,
    /// After an outage: until when the others may still be on their way back.
    pub(super) grace: Option<Time>,
    /// Whether this session's key was ever confirmed.
    pub(super) confirmed: bool,
    pub(super) joined: bool,
    pub(super) replaced: bool,
    pub(super) finishing: bool,
    pub(super) left: bool,
    pub(super) watching: Watching,
    pub(super) watched_since: Time,
    /// The highest revision of the own key that the watch brought.
    pub(super) own_seen: u64,
    pub(super) others: BTreeMap<String, Presence>,
    pub(super) seen: BTreeMap<String, Seen>,
    pub(super) overdue: Option<(String, u64)>,
    pub(super) dead: BTreeSet<Session>,
    pub(super) table: Table,
    pub(super) table_revision: u64,
    /// A table came that cannot be read: a newer version's, perhaps. Nothing is owned by it.
    pub(super) table_unreadable: bool,
    pub(super) table_stale: bool,
    /// The server has an older table than this member remembers: it is written again.
    pub(super) table_lost: bool,
    /// Something changed since the last plan.
    pub(super) dirty: bool,
    /// The last plan changed nothing, in this session.
    pub(super) settled: bool,
}

impl Machine {
    pub fn new(instance: &str, wants: BTreeMap<String, Handover>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let me = Me {
            session: Session::new(instance, random.u64(..)),
            digest: hash::digest(wants.keys().map(String::as_str)),
            wants,
            given: BTreeSet::new(),
            ready: BTreeSet::new(),
            leaving: false,
            unable: false,
        };
        Self {
            instance: instance.to_owned(),
            me,
            random,
            key: Key::Unknown,
            sent: (IN_COMPANY, Time::ZERO),
            until: None,
            renew_at: Time::ZERO,
            retry_at: Time::ZERO,
            grace: None,
            confirmed: false,
            joined: false,
            replaced: false,
            finishing: false,
            left: false,
            watching: Watching::No,
            watched_since: Time::ZERO,
            own_seen: 0,
            others: BTreeMap::new(),
            seen: BTreeMap::new(),
            overdue: None,
            dead: BTreeSet::new(),
            table: Table::default(),
            table_revision: 0,
            table_unreadable: false,
            table_stale: false,
            table_lost: false,
            dirty: true,
            settled: false,
        }
    }

    /// What to do now; `None`: wait until something happens, or until [`wake`](Self::wake).
    pub fn next(&mut self, now: Time) -> Option<Do> {
        if self.replaced || self.left || now < self.retry_at {
            return None;
        }
        if self.grace.is_some_and(|until| now >= until) {
            self.grace = None;
            self.dirty = true;
        }
        let expected = match self.key {
            Key::Unknown => return Some(self.examine(self.instance.clone())),
            Key::Absent { expected } => return Some(self.renew(expected, now)),
            Key::Held { revision } => revision,
        };
        if now >= self.renew_at {
            // A watch proves that it lives by bringing the own renewals.
            if self.own_seen < expected && now >= self.watched_since + WATCH_LIMIT {
                self.watching = Watching::No;
            }
            return Some(self.renew(expected, now));
        }
        if self.watching == Watching::No {
            return Some(Do::Watch);
        }
        if self.watching == Watching::CatchingUp {
            return None;
        }
        if let Some((instance, expected)) = self.overdue.take() {
            return Some(Do::Evict { instance, expected });
        }
        if let Some(late) = self.seen.iter().find(|(name, seen)| now >= self.overdue_at(name, seen)) {
            return Some(self.examine(late.0.clone()));
        }
        if self.table_stale {
            return Some(Do::ReadTable);
        }
        self.change(expected, now)
    }

    /// When [`next`](Self::next) should be asked again even if nothing happens.
    pub fn wake(&self) -> Time {
        let catching_up = self.watching == Watching::CatchingUp;
        let seen = self.seen.iter().filter(|_| !catching_up);
        let overdue = seen.map(|(name, seen)| self.overdue_at(name, seen)).min();
        let soonest = [overdue, self.grace].into_iter().flatten().fold(self.renew_at, Time::min);
        soonest.max(self.retry_at)
    }

    /// Whether there is nothing left to do for ever.
    pub fn ended(&self) -> bool {
        self.replaced || self.left
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether it only waits for its key to be removed.
    pub fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Whether another process took the key of the same instance.
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    /// What may be acted on at `now`.
    pub fn standing(&self, now: Time) -> Standing {
        let living = self.others.len() + 1;
        let until = self.until.filter(|until| now < *until && self.settled && !self.ended());
        let staying = self.others.iter().filter(|(_, presence)| !presence.leaving).map(|(name, _)| name);
        let me = (!self.me.leaving).then_some(&self.instance);
        let members = staying.chain(me).cloned().collect();
        let relieved = self.others.values().any(|presence| !presence.leaving && !presence.unable);
        if until.is_none() || self.table_unreadable {
            return Standing { living, members, relieved, ..Standing::default() };
        }
        let mut standing = Standing { living, members, relieved, until, ..Standing::default() };
        for (resource, entry) in &self.table.entries {
            let next = entry.next.as_ref();
            if entry.owner == self.me.session && !self.me.given.contains(resource) {
                standing.owned.insert(resource.clone());
                if next.is_some_and(|next| next.ready) || !self.me.wants.contains_key(resource) {
                    standing.asked.insert(resource.clone());
                }
            } else if next.is_some_and(|next| next.session == self.me.session && !next.ready)
                && !self.me.ready.contains(resource)
            {
                standing.preparing.insert(resource.clone());
            }
        }
        standing
    }

    pub(super) fn overdue_at(&self, instance: &str, seen: &Seen) -> Time {
        let ttl_s = self.others.get(instance).map_or(0, |presence| presence.ttl_s);
        seen.since + Duration::from_secs(ttl_s) + OVERDUE
    }

    /// What the table says that this session owns.
    fn owned(&self) -> impl Iterator<Item = &str> {
        let mine = self.table.entries.iter().filter(|(_, entry)| entry.owner == self.me.session);
        mine.map(|(resource, _)| resource.as_str())
    }

    fn examine(&self, instance: String) -> Do {
        let suspects = self.table.sessions().filter(|it| it.instance() == instance).cloned().collect();
        Do::Examine { instance, suspects }
    }

    fn renew(&mut self, expected: u64, now: Time) -> Do {
        let alone = self.others.is_empty() && self.watching == Watching::Yes;
        let rhythm = if alone { ALONE } else { IN_COMPANY };
        self.sent = (rhythm, now);
        // Once sent, this one may be in force, and shorter than the last.
        self.until = self.until.map(|until| until.min(now + rhythm.ttl - MARGIN));
        let presence = Presence {
            session: self.me.session.clone(),
            leaving: self.me.leaving,
            unable: self.me.unable,
            wants: self.me.digest.clone(),
            ttl_s: rhythm.ttl.as_secs(),
        };
        Do::Renew { presence, expected }
    }

    fn change(&mut self, expected: u64, now: Time) -> Option<Do> {
        if self.table_unreadable || self.until.is_none_or(|until| now >= until) {
            return None;
        }
        if self.finishing {
            self.me.given = self.owned().map(str::to_owned).collect();
            if self.me.given.is_empty() {
                return Some(Do::Leave { expected });
            }
        }
        if !self.dirty {
            return None;
        }
        let view = View {
            table: &self.table,
            others: &self.others,
            dead: &self.dead,
            returning: self.grace.is_some(),
        };
        let plan = plan(&view, &self.me);
        if let Some(suspect) = plan.suspects.first() {
            return Some(self.examine(suspect.instance().to_owned()));
        }
        if plan.entries.is_none() && !self.table_lost {
            (self.dirty, self.settled) = (false, true);
            return None;
        }
        let entries = plan.entries.unwrap_or_else(|| self.table.entries.clone());
        let table = Table { epoch: self.table.epoch + 1, entries };
        Some(Do::WriteTable { table, expected: self.table_revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed(machine: &mut Machine, now: Time, revision: u64) {
        assert!(matches!(machine.next(now), Some(Do::Renew { .. })));
        machine.renewed(Outcome::Stored(revision), now);
    }

    /// Alone with nothing wanted, renewed last at `now`.
    fn alone(now: Time) -> Machine {
        let mut machine = Machine::new("a", BTreeMap::new(), 1);
        assert!(matches!(machine.next(now), Some(Do::Examine { .. })));
        machine.examined("a", BTreeSet::new(), Some(Found { revision: 0, value: None }), now);
        renewed(&mut machine, now, 1);
        assert_eq!(machine.next(now), Some(Do::Watch));
        machine.watch_opened(true, now);
        machine.saw_member("a", 1, None, now);
        machine.caught_up();
        machine.renew_at = now;
        renewed(&mut machine, now, 2);
        assert_eq!(machine.next(now), None);
        machine
    }

    #[test]
    fn a_shorter_time_holds_from_when_it_is_sent() {
        let start = Duration::from_secs(100);
        let mut machine = alone(start);
        assert_eq!(machine.standing(start).until, Some(start + ALONE.ttl - MARGIN));
        let other = Presence {
            session: Session::new("b", 1),
            leaving: false,
            unable: false,
            wants: String::new(),
            ttl_s: 4,
        };
        let later = start + Duration::from_secs(1);
        machine.saw_member("b", 3, Some(other), later);
        let Some(Do::Renew { presence, .. }) = machine.next(later) else { panic!("not renewed at once") };
        assert_eq!(presence.ttl_s, IN_COMPANY.ttl.as_secs());
        assert_eq!(machine.standing(later).until, Some(later + IN_COMPANY.ttl - MARGIN), "answered or not");
    }

    #[test]
    fn a_removed_key_fences_at_once_and_begins_a_session() {
        let now = Duration::from_secs(100);
        let mut machine = alone(now);
        let before = machine.me.session.clone();
        machine.saw_member("a", 9, None, now);
        assert_eq!(machine.standing(now).until, None);
        assert!(matches!(machine.next(now), Some(Do::Examine { .. })));
        machine.examined("a", BTreeSet::new(), Some(Found { revision: 9, value: None }), now);
        let Some(Do::Renew { presence, expected: 9 }) = machine.next(now) else { panic!("not joined again") };
        assert_ne!(presence.session, before);
    }
}
