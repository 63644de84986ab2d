//! What a member is told: the outcomes of what it did, and what its watch brings.

use std::collections::BTreeSet;

use super::{
    machine::{Found, Key, Machine, Outcome, Seen, TableValue, Time, Watching},
    rules::{ALONE, GRACE, MARGIN, RETRY},
    table::{Presence, Session, Table},
};

impl Machine {
    /// The own key was written, or not.
    pub fn renewed(&mut self, outcome: Outcome, now: Time) {
        match outcome {
            Outcome::Stored(revision) => {
                let (rhythm, sent) = self.sent;
                if self.joined && self.until.is_none_or(|until| now >= until) {
                    // It was not confirmed for so long that the others may not have been either.
                    self.grace = Some(now + GRACE);
                }
                self.key = Key::Held { revision };
                self.until = Some(sent + rhythm.ttl - MARGIN);
                self.renew_at = sent + rhythm.renew;
                self.dirty |= !self.confirmed;
                (self.confirmed, self.joined) = (true, true);
            }
            Outcome::Refused => self.key = Key::Unknown,
            Outcome::Unknown => {
                self.key = Key::Unknown;
                self.retry_at = now + RETRY;
            }
        }
    }

    /// A key was read from the leader; `None`: it could not be.
    pub fn examined(
        &mut self,
        instance: &str,
        suspects: BTreeSet<Session>,
        found: Option<Found<Presence>>,
        now: Time,
    ) {
        let Some(found) = found else {
            self.retry_at = now + RETRY;
            return;
        };
        self.dirty = true;
        if instance == self.instance {
            return self.found_myself(suspects, found);
        }
        let late = self.seen.get(instance).is_some_and(|seen| now >= self.overdue_at(instance, seen));
        let seen = self.seen.get(instance).map_or(0, |seen| seen.revision);
        if late && seen == found.revision {
            self.overdue = Some((instance.to_owned(), seen));
        } else if late && seen < found.revision {
            // The watch should have said so long ago.
            self.watching = Watching::No;
        }
        let living = found.value.as_ref().map(|presence| presence.session.clone());
        self.note(instance, found.revision, found.value, now);
        for suspect in suspects {
            if living.as_ref() != Some(&suspect) {
                self.dead.insert(suspect);
            } else if self.others.get(instance).is_none_or(|presence| presence.session != suspect) {
                // The leader knows less than the watch: it will know more soon.
                self.retry_at = now + RETRY;
            }
        }
    }

    fn found_myself(&mut self, suspects: BTreeSet<Session>, found: Found<Presence>) {
        match found.value {
            Some(presence) if presence.session == self.me.session => {
                let mine = |suspect: &Session| *suspect == self.me.session;
                self.dead.extend(suspects.into_iter().filter(|suspect| !mine(suspect)));
                if self.key != (Key::Held { revision: found.revision }) {
                    // A renewal whose answer was lost. When it was sent is not known, so `until` stays.
                    self.key = Key::Held { revision: found.revision };
                    self.renew_at = Time::ZERO;
                }
                self.confirmed = true;
            }
            Some(_) if self.joined => {
                self.replaced = true;
                self.until = None;
            }
            // One of the same name that was here before; whoever started us saw its end.
            Some(_) => self.key = Key::Absent { expected: found.revision },
            None => {
                if self.confirmed {
                    self.start_session();
                }
                self.key = Key::Absent { expected: found.revision };
            }
        }
    }

    fn start_session(&mut self) {
        self.me.session = Session::new(&self.instance, self.random.u64(..));
        self.me.given.clear();
        self.me.ready.clear();
        self.until = None;
        (self.confirmed, self.settled) = (false, false);
    }

    /// An overdue key was removed, or not.
    pub fn evicted(&mut self, instance: &str, outcome: Outcome, now: Time) {
        if let Outcome::Stored(revision) = outcome {
            self.note(instance, revision, None, now);
        } else {
            self.retry_at = now + RETRY;
        }
    }

    /// The own key was removed, or not.
    pub fn departed(&mut self, outcome: Outcome, now: Time) {
        match outcome {
            Outcome::Stored(_) => self.left = true,
            Outcome::Refused => self.key = Key::Unknown,
            Outcome::Unknown => {
                self.key = Key::Unknown;
                self.retry_at = now + RETRY;
            }
        }
    }

    /// The table was read from the leader; `Err(())`: it could not be.
    pub fn table_read(&mut self, found: Result<Found<TableValue>, ()>, now: Time) {
        match found {
            Ok(found) => {
                self.table_stale = false;
                self.saw_table(found.revision, found.value);
            }
            Err(()) => self.retry_at = now + RETRY,
        }
    }

    /// The table was written, or not.
    pub fn table_written(&mut self, table: Table, outcome: Outcome, now: Time) {
        match outcome {
            Outcome::Stored(revision) => self.saw_table(revision, Some(TableValue::Readable(table))),
            Outcome::Refused => self.table_stale = true,
            Outcome::Unknown => {
                self.table_stale = true;
                self.retry_at = now + RETRY;
            }
        }
    }

    /// A watch was opened, or not. What it brings first is all that there is.
    pub fn watch_opened(&mut self, opened: bool, now: Time) {
        if !opened {
            self.retry_at = now + RETRY;
            return;
        }
        (self.watching, self.watched_since) = (Watching::CatchingUp, now);
        (self.own_seen, self.table_revision) = (0, 0);
        self.overdue = None;
        for seen in self.seen.values_mut() {
            seen.revision = 0;
        }
    }

    /// The watch ended.
    pub fn watch_lost(&mut self) {
        self.watching = Watching::No;
    }

    /// The watch has brought everything that there was when it was opened.
    pub fn caught_up(&mut self) {
        if self.watching != Watching::CatchingUp {
            return;
        }
        self.watching = Watching::Yes;
        self.dirty = true;
        let Self { seen, others, .. } = self;
        seen.retain(|_, seen| seen.revision > 0);
        others.retain(|instance, _| seen.contains_key(instance));
        if self.table_revision == 0 && self.table.epoch > 0 {
            self.table_stale = true;
        }
    }

    /// The watch brought a member's key; `None`: removed.
    pub fn saw_member(&mut self, instance: &str, revision: u64, value: Option<Presence>, now: Time) {
        if instance != self.instance {
            return self.note(instance, revision, value, now);
        }
        self.own_seen = self.own_seen.max(revision);
        let Key::Held { revision: held } = self.key else { return };
        let mine = value.as_ref().is_some_and(|presence| presence.session == self.me.session);
        if revision > held && !mine {
            self.until = None;
            self.settled = false;
            self.key = Key::Unknown;
        }
    }

    /// The watch brought the table; `None`: removed.
    pub fn saw_table(&mut self, revision: u64, value: Option<TableValue>) {
        if revision < self.table_revision {
            return;
        }
        self.table_revision = revision;
        self.dirty = true;
        self.table_unreadable = matches!(value, Some(TableValue::Unreadable));
        let table = match value {
            Some(TableValue::Unreadable) => return,
            Some(TableValue::Readable(table)) => table,
            None => Table::default(),
        };
        self.table_lost = table.epoch < self.table.epoch;
        if self.table_lost {
            return;
        }
        self.table = table;
        self.forget();
    }

    fn note(&mut self, instance: &str, revision: u64, value: Option<Presence>, now: Time) {
        if self.seen.get(instance).is_some_and(|seen| seen.revision >= revision) {
            return;
        }
        let Some(presence) = value else {
            self.dirty |= self.seen.remove(instance).is_some();
            self.others.remove(instance);
            return;
        };
        if self.others.is_empty() && self.sent.0 == ALONE {
            // The others take over after our time to live, so it should be the short one at once.
            self.renew_at = now;
        }
        self.seen.insert(instance.to_owned(), Seen { revision, since: now });
        let before = self.others.insert(instance.to_owned(), presence);
        self.dirty |= before.as_ref() != self.others.get(instance);
    }

    /// What the table says already needs not be remembered.
    fn forget(&mut self) {
        let Self { table, me, dead, .. } = self;
        me.given.retain(|resource| table.is_owner(resource, &me.session));
        me.ready.retain(|resource| {
            let next = table.entries.get(resource).and_then(|entry| entry.next.as_ref());
            next.is_some_and(|next| next.session == me.session && !next.ready)
        });
        let named: BTreeSet<&Session> = table.sessions().collect();
        dead.retain(|session| named.contains(session));
    }
}
