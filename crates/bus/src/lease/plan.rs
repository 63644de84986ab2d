//! What one member wants to change in the table, as a pure function of what it sees.
//!
//! | the resource is | who changes it | to what |
//! |---|---|---|
//! | free, or its owner is dead | the chosen one among the living | its own |
//! | owned by a living member | the chosen one, when that is another | asks: `next` |
//! | asked for and prepared | the owner, when it has let go | the asker's |
//! | not wanted any more by its owner | the owner, when it has let go | free |
//!
//! Nobody else writes an owner. A session that is neither seen alive nor known to be dead is a suspect:
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
    let others = view
        .others
        .iter()
        .filter(|(name, it)| *name != mine && !it.leaving && among(it))
        .map(|(name, _)| &**name);
    !me.leaving && hash::choice(resource, others.chain([mine])) == Some(mine)
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
