//! What is written: the key of a member, and the table of a group that says who owns what.
//!
//! The table names sessions, not instances. A session is one unbroken stretch of a member's key: once
//! that key is gone the session never comes back, and its member starts another. So "this session is
//! dead" stays true however late it is acted on.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// One unbroken membership of an instance: `<instance>:<random>`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session(Arc<str>);

impl Session {
    pub fn new(instance: &str, random: u64) -> Self {
        Self(format!("{instance}:{random:016x}").into())
    }

    /// The instance whose session this is.
    pub fn instance(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(instance, _)| instance)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Session {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// What a member says in its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub session: Session,
    /// It is about to go, and wants nothing any more.
    pub leaving: bool,
    /// It cannot do the work now.
    pub unable: bool,
    /// The digest of the resources it wants.
    pub wants: String,
    /// The time to live of this key, whole seconds.
    pub ttl_s: u64,
}

/// Who owns what in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Grows with every write, so that a table that a power cut took back is recognised.
    pub epoch: u64,
    pub entries: BTreeMap<String, Entry>,
}

/// The state of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub owner: Session,
    /// Who has asked to have it.
    pub next: Option<Next>,
}

/// The one who should have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub session: Session,
    /// It has prepared; the owner may let go.
    pub ready: bool,
}

#[derive(Serialize, Deserialize)]
struct PresenceWire<'a> {
    session: &'a str,
    #[serde(default)]
    leaving: bool,
    #[serde(default)]
    unable: bool,
    wants: &'a str,
    ttl_s: u64,
}

/// Owners first, so that each name is written once however much it owns.
#[derive(Default, Serialize, Deserialize)]
struct TableWire {
    epoch: u64,
    held: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    moving: BTreeMap<String, NextWire>,
}

#[derive(Serialize, Deserialize)]
struct NextWire {
    to: String,
    ready: bool,
}

impl Presence {
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { session, leaving, unable, wants, ttl_s } = self;
        let wire = PresenceWire {
            session: session.as_str(),
            leaving: *leaving,
            unable: *unable,
            wants,
            ttl_s: *ttl_s,
        };
        serde_json::to_vec(&wire)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let PresenceWire { session, leaving, unable, wants, ttl_s } = serde_json::from_slice(bytes)?;
        Ok(Self { session: session.into(), leaving, unable, wants: wants.to_owned(), ttl_s })
    }
}

impl Table {
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut wire = TableWire { epoch: self.epoch, ..TableWire::default() };
        for (resource, entry) in &self.entries {
            wire.held.entry(entry.owner.as_str().to_owned()).or_default().push(resource.clone());
            if let Some(Next { session, ready }) = &entry.next {
                let next = NextWire { to: session.as_str().to_owned(), ready: *ready };
                wire.moving.insert(resource.clone(), next);
            }
        }
        serde_json::to_vec(&wire)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let TableWire { epoch, held, mut moving } = serde_json::from_slice(bytes)?;
        let mut entries = BTreeMap::new();
        for (owner, resources) in held {
            let owner = Session::from(owner.as_str());
            for resource in resources {
                let next = moving.remove(&resource);
                let next = next.map(|next| Next { session: next.to.as_str().into(), ready: next.ready });
                entries.insert(resource, Entry { owner: owner.clone(), next });
            }
        }
        Ok(Self { epoch, entries })
    }

    /// Whether `session` owns `resource`.
    pub fn is_owner(&self, resource: &str, session: &Session) -> bool {
        self.entries.get(resource).is_some_and(|entry| entry.owner == *session)
    }

    /// Every session that is named.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.entries.values().flat_map(|entry| {
            std::iter::once(&entry.owner).chain(entry.next.as_ref().map(|next| &next.session))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_as_it_was_written() {
        let (a, b) = (Session::new("a", 1), Session::new("b", 2));
        let next = Some(Next { session: b.clone(), ready: true });
        let entries = BTreeMap::from([
            ("channel.x".to_owned(), Entry { owner: a.clone(), next }),
            ("partition.0".to_owned(), Entry { owner: a, next: None }),
            ("partition.1".to_owned(), Entry { owner: b, next: None }),
        ]);
        let table = Table { epoch: 7, entries };
        let bytes = table.encode().unwrap();
        let text = r#"{"epoch":7,"held":{"a:0000000000000001":["channel.x","partition.0"],"b:0000000000000002":["partition.1"]},"moving":{"channel.x":{"to":"b:0000000000000002","ready":true}}}"#;
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), text);
        assert_eq!(Table::decode(&bytes).unwrap(), table);
    }
}
