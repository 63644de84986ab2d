//! What the user of a lease wants.

use std::collections::BTreeMap;

use super::{
    hash,
    machine::{Machine, Time, Watching},
    plan::Handover,
    rules::GRACE,
};

impl Machine {
    pub fn want(&mut self, wants: BTreeMap<String, Handover>, now: Time) {
        let digest = hash::digest(wants.keys().map(String::as_str));
        if digest != self.me.digest {
            self.renew_at = now;
        }
        self.me.wants = wants;
        self.me.digest = digest;
        self.dirty = true;
    }

    pub fn release(&mut self, resource: &str) {
        if self.table.is_owner(resource, &self.me.session) {
            self.me.given.insert(resource.to_owned());
            self.dirty = true;
        }
    }

    pub fn ready(&mut self, resource: &str) {
        let next = self.table.entries.get(resource).and_then(|entry| entry.next.as_ref());
        if next.is_some_and(|next| next.session == self.me.session) {
            self.me.ready.insert(resource.to_owned());
            self.dirty = true;
        }
    }

    /// Wants nothing any more, so that others ask for what is owned.
    pub fn retire(&mut self, now: Time) {
        if !self.me.leaving {
            self.me.leaving = true;
            self.renew_at = now;
            self.dirty = true;
        }
    }

    /// Whether it can do the work: while it cannot, those that can are preferred for everything.
    pub fn set_able(&mut self, able: bool, now: Time) {
        if self.me.unable == able {
            self.me.unable = !able;
            self.renew_at = now;
            self.dirty = true;
        }
    }

    /// Whether a retired member has nothing more to wait for.
    pub fn handed_over(&self, now: Time) -> bool {
        self.ended()
            || self.standing(now).owned.is_empty()
            || self.others.values().all(|presence| presence.leaving)
    }

    /// Lets go of everything and removes the own key.
    pub fn finish(&mut self) {
        self.me.leaving = true;
        self.finishing = true;
        self.dirty = true;
    }

    /// The link is back: nothing is worth waiting for.
    pub fn reconnected(&mut self, now: Time) {
        (self.retry_at, self.renew_at) = (now, now);
        self.watching = Watching::No;
        self.grace = Some(now + GRACE);
    }
}
