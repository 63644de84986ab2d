//! What one member wants to change in the table, as a pure function of what it sees.
//!
//! | the resource is | who changes it | to what |
//! |---|---|---|
//! | free, or its owner is dead | the chosen one among the living | its own |
//! | owned by a living member | the chosen one, when that is another | asks: `next` |
//! | asked for and prepared | the owner, when it has let go | the asker's |
//! | not wanted any more by its owner | the owner, when it has let go | free |
//!
//! Right after an outage only the one that owned it may take what a dead session had. Nobody else writes an
//! owner. A session that is neither seen alive nor known to be dead is a suspect:
//! nothing is decided about it until its key was read.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    hash,
    table::{Entry, Next, Presence, Session, Table},
};

/// How a resource passes from a living owner to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The owner finishes what it began and lets go; then the other begins.
    DrainFirst,
    /// The other prepares (joins a channel, say) while the owner still acts; then the owner lets go.
    PrepareFirst,
}

/// What a member can see of the others.
pub(crate) struct View<'a> {
    pub table: &'a Table,
    /// The keys of the other members, by instance.
    pub others: &'a BTreeMap<String, Presence>,
    /// Sessions that will never act again.
    pub dead: &'a BTreeSet<Session>,
    /// An outage was just over: who is not there may be on its way back.
    pub returning: bool,
}

/// What a member itself wants.
pub(crate) struct Me {
    pub session: Session,
    pub wants: BTreeMap<String, Handover>,
    /// The digest of `wants`.
    pub digest: String,
    /// What it owned and has let go; the table does not say so yet.
    pub given: BTreeSet<String>,
    /// What it has prepared; the table does not say so yet.
    pub ready: BTreeSet<String>,
    pub leaving: bool,
    /// It cannot do the work now: it owns only what nobody else could do either.
    pub unable: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The new entries, when they differ.
    pub entries: Option<BTreeMap<String, Entry>>,
    /// Sessions whose key must be read before they are decided about.
    pub suspects: BTreeSet<Session>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Me,
    Living,
    Dead,
    Unknown,
}

/// What `me` would change, given what it sees.
pub(crate) fn plan(view: &View<'_>, me: &Me) -> Plan {
    let mut plan = Plan::default();
    let mut entries = view.table.entries.clone();
    let resources: BTreeSet<&String> = view.table.entries.keys().chain(me.wants.keys()).collect();
    for resource in resources {
        let now = view.table.entries.get(resource);
        match decide(view, me, resource, now, &mut plan.suspects) {
            Some(entry) => entries.insert(resource.clone(), entry),
            None => entries.remove(resource),
        };
    }
    plan.entries = (entries != view.table.entries).then_some(entries);
    plan
}

fn decide(
    view: &View<'_>,
    me: &Me,
    resource: &str,
    now: Option<&Entry>,
    suspects: &mut BTreeSet<Session>,
) -> Option<Entry> {
    let Some(entry) = now else { return claim(view, me, resource) };
    match life(view, me, &entry.owner) {
        Life::Me => own(view, me, resource, entry, suspects),
        Life::Living => ask(view, me, resource, entry),
        Life::Dead if view.returning => Some(take_back(me, resource, entry)),
        Life::Dead => match claim(view, me, resource) {
            Some(claimed) => Some(claimed),
            // One hand clears what nobody seems to want; somebody who does will claim it.
            None if !me.wants.contains_key(resource) && is_chosen(view, me, resource, |_| true) => None,
            None => Some(entry.clone()),
        },
        Life::Unknown => {
            suspects.insert(entry.owner.clone());
            Some(entry.clone())
        }
    }
}

/// What a dead session had, while its member may be about to come back as another session.
fn take_back(me: &Me, resource: &str, entry: &Entry) -> Entry {
    let mine = entry.owner.instance() == me.session.instance();
    let wanted = me.wants.contains_key(resource) && !me.leaving;
    if mine && wanted { Entry { owner: me.session.clone(), next: None } } else { entry.clone() }
}

/// A free resource: the chosen one among those who certainly want it takes it.
fn claim(view: &View<'_>, me: &Me, resource: &str) -> Option<Entry> {
    let wanted = me.wants.contains_key(resource) && !me.given.contains(resource);
    let alike = |presence: &Presence| presence.wants == me.digest;
    (wanted && is_chosen(view, me, resource, alike)).then(|| Entry { owner: me.session.clone(), next: None })
}

/// A resource of this member: given away when it has let go.
fn own(
    view: &View<'_>,
    me: &Me,
    resource: &str,
    entry: &Entry,
    suspects: &mut BTreeSet<Session>,
) -> Option<Entry> {
    let next = entry.next.as_ref().and_then(|next| match life(view, me, &next.session) {
        Life::Living => Some(next.clone()),
        Life::Unknown => {
            suspects.insert(next.session.clone());
            Some(next.clone())
        }
        Life::Dead | Life::Me => None,
    });
    if !me.given.contains(resource) {
        return Some(Entry { owner: entry.owner.clone(), next });
    }
    next.filter(|next| next.ready).map(|next| Entry { owner: next.session, next: None })
}

/// A resource of a living member: asked for by the one that should have it.
fn ask(view: &View<'_>, me: &Me, resource: &str, entry: &Entry) -> Option<Entry> {
    let handover = me.wants.get(resource).filter(|_| !me.leaving);
    let asked = entry.next.as_ref().filter(|next| next.session == me.session);
    let next = match (handover, asked) {
        (None, Some(_)) => None,
        (Some(_), Some(next)) => {
            Some(Next { ready: next.ready || me.ready.contains(resource), ..next.clone() })
        }
        (Some(handover), None) if is_chosen(view, me, resource, |_| true) => {
            Some(Next { session: me.session.clone(), ready: *handover == Handover::DrainFirst })
        }
        _ => entry.next.clone(),
    };
    Some(Entry { owner: entry.owner.clone(), next })
}

fn is_chosen(view: &View<'_>, me: &Me, resource: &str, among: impl Fn(&Presence) -> bool) -> bool {
    let mine = me.session.instance();
    let others = view.others.iter().filter(|(name, it)| *name != mine && !it.leaving && among(it));
    let relieved = others.clone().any(|(_, it)| !it.unable);
    if me.leaving || me.unable && relieved {
        return false;
    }
    let others = others.filter(|(_, it)| me.unable || !it.unable).map(|(name, _)| &**name);
    hash::choice(resource, others.chain([mine])) == Some(mine)
}

fn life(view: &View<'_>, me: &Me, session: &Session) -> Life {
    if *session == me.session {
        Life::Me
    } else if view.dead.contains(session) {
        Life::Dead
    } else if view.others.get(session.instance()).is_some_and(|presence| presence.session == *session) {
        Life::Living
    } else {
        Life::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group where everybody sees everything and does at once what it is asked to.
    #[derive(Default)]
    struct Group {
        table: Table,
        members: BTreeMap<String, Me>,
        dead: BTreeSet<Session>,
        changes: u32,
    }

    impl Group {
        fn join(&mut self, instance: &str, wants: &[&str]) {
            let wants: BTreeMap<_, _> =
                wants.iter().map(|resource| ((*resource).to_owned(), Handover::PrepareFirst)).collect();
            let me = Me {
                session: Session::new(instance, 1),
                digest: hash::digest(wants.keys().map(String::as_str)),
                wants,
                given: BTreeSet::new(),
                ready: BTreeSet::new(),
                leaving: false,
                unable: false,
            };
            self.members.insert(instance.to_owned(), me);
            self.settle();
        }

        fn die(&mut self, instance: &str) {
            self.dead.insert(self.members.remove(instance).unwrap().session);
            self.settle();
        }

        fn settle(&mut self) {
            let mut quiet = 0;
            while quiet <= self.members.len() {
                quiet += 1;
                for instance in self.members.keys().cloned().collect::<Vec<_>>() {
                    if self.act(&instance) {
                        quiet = 0;
                        self.changes += 1;
                    }
                }
                assert!(self.changes < 1000, "never at rest: {:?}", self.table);
            }
            self.changes = 0;
        }

        fn act(&mut self, instance: &str) -> bool {
            let presence = |me: &Me| Presence {
                session: me.session.clone(),
                leaving: me.leaving,
                unable: me.unable,
                wants: me.digest.clone(),
                ttl_s: 4,
            };
            let others = self.members.iter().filter(|(name, _)| *name != instance);
            let others = others.map(|(name, me)| (name.clone(), presence(me))).collect();
            let me = self.members.get_mut(instance).unwrap();
            for (resource, Entry { owner, next }) in &self.table.entries {
                let asked = next.as_ref().is_some_and(|next| next.ready) || !me.wants.contains_key(resource);
                set(&mut me.given, resource, *owner == me.session && asked);
                set(&mut me.ready, resource, next.as_ref().is_some_and(|next| next.session == me.session));
            }
            let view = View { table: &self.table, others: &others, dead: &self.dead, returning: false };
            let plan = plan(&view, me);
            assert!(plan.suspects.is_empty());
            plan.entries.map(|entries| self.table.entries = entries).is_some()
        }

        fn owners(&self) -> BTreeMap<String, String> {
            let entries = self.table.entries.iter();
            entries.map(|(resource, entry)| (resource.clone(), entry.owner.instance().to_owned())).collect()
        }
    }

    fn set(set: &mut BTreeSet<String>, resource: &str, present: bool) {
        if present {
            set.insert(resource.to_owned())
        } else {
            set.remove(resource)
        };
    }

    #[test]
    fn only_what_must_move_does() {
        let names: Vec<String> = (0..64).map(|n| format!("channel.{n}")).collect();
        let wants: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut group = Group::default();
        ["a", "b"].into_iter().for_each(|name| group.join(name, &wants));
        let two = group.owners();
        group.join("c", &wants);
        let three = group.owners();
        let moved = names.iter().filter(|name| two[*name] != three[*name]);
        assert!(moved.clone().count() > 10);
        assert!(moved.clone().all(|name| three[name] == "c"));
        group.die("c");
        assert_eq!(group.owners(), two);
    }

    #[test]
    fn one_that_cannot_do_the_work_owns_nothing_unless_nobody_can() {
        let wants = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];
        let mut group = Group::default();
        ["a", "b"].into_iter().for_each(|name| group.join(name, &wants));
        let able = group.owners();
        assert!(able.values().any(|owner| owner == "a") && able.values().any(|owner| owner == "b"));
        let mut set_able = |name: &str, able: bool| {
            group.members.get_mut(name).unwrap().unable = !able;
            group.settle();
            group.owners()
        };
        assert!(set_able("a", false).values().all(|owner| owner == "b"));
        assert_eq!(set_able("b", false), able, "somebody has to try");
        assert!(set_able("a", true).values().all(|owner| owner == "a"));
        assert_eq!(set_able("b", true), able);
    }

    #[test]
    fn members_that_want_different_things_come_to_rest_and_serve_all() {
        let all = ["r0", "r1", "r2", "r3", "r4", "r5"];
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut group = Group::default();
            for name in ["a", "b", "c", "d"] {
                let wants: Vec<&str> = all.into_iter().filter(|_| random.bool()).collect();
                group.join(name, &wants);
            }
            if random.bool() {
                group.die("b");
            }
            let owners = group.owners();
            for resource in all {
                let wanting = |(_, me): &(&String, &Me)| me.wants.contains_key(resource);
                let wanting: BTreeSet<&String> =
                    group.members.iter().filter(wanting).map(|it| it.0).collect();
                let owner = owners.get(resource);
                assert_eq!(owner.is_some(), !wanting.is_empty(), "seed {seed}: {resource}");
                assert!(owner.is_none_or(|owner| wanting.contains(owner)), "seed {seed}: {resource}");
            }
        }
    }
}
