//! One channel and the messages it still remembers.

use std::{collections::VecDeque, sync::Arc};

use super::message::Message;
use crate::discord::{
    permissions::{Overwrite, VIEW_CHANNEL},
    snowflake::Id,
};

/// `type` of a text channel in a guild.
pub const TEXT: u8 = 0;
/// `type` of direct messages.
pub const DM: u8 = 1;
/// `type` of a category.
pub const CATEGORY: u8 = 4;

/// How many messages one channel remembers.
const MESSAGES_KEPT: usize = 1000;

/// A channel.
#[derive(Debug)]
pub struct Channel {
    /// Snowflake.
    pub id: Id,
    /// Its guild; none for direct messages.
    pub guild: Option<Id>,
    /// [`TEXT`], [`DM`] or [`CATEGORY`].
    pub kind: u8,
    /// Without the `#`.
    pub name: String,
    /// What it is for.
    pub topic: Option<String>,
    /// Sorting position.
    pub position: u32,
    /// The category it is in.
    pub parent: Option<Id>,
    /// Who may do more or less here than elsewhere.
    pub overwrites: Vec<Overwrite>,
    /// With whom the bot talks here; only for direct messages.
    pub recipient: Option<Id>,
    /// The newest message, even when it was deleted.
    pub last_message: Option<Id>,
    /// Oldest first.
    pub messages: VecDeque<Arc<Message>>,
}

impl Channel {
    /// A channel of a guild.
    pub fn in_guild(id: Id, guild: Id, kind: u8, name: &str, position: u32) -> Self {
        Self {
            id,
            guild: Some(guild),
            kind,
            name: name.to_owned(),
            topic: None,
            position,
            parent: None,
            overwrites: Vec::new(),
            recipient: None,
            last_message: None,
            messages: VecDeque::new(),
        }
    }

    /// Direct messages between `recipient` and the bot.
    pub fn direct(id: Id, recipient: Id) -> Self {
        let guild = None;
        Self { guild, recipient: Some(recipient), ..Self::in_guild(id, id, DM, "", 0) }
    }

    /// A message that is still remembered.
    pub fn message(&self, id: Id) -> Option<&Arc<Message>> {
        self.place(id).and_then(|place| self.messages.get(place))
    }

    /// Replaces a message by its edited self.
    pub fn replace(&mut self, message: Arc<Message>) {
        if let Some(place) = self.place(message.id)
            && let Some(slot) = self.messages.get_mut(place)
        {
            *slot = message;
        }
    }

    /// Adds a new message.
    pub fn keep(&mut self, message: Arc<Message>) {
        if self.messages.len() >= MESSAGES_KEPT {
            self.messages.pop_front();
        }
        self.last_message = Some(message.id);
        self.messages.push_back(message);
    }

    /// Takes a message away.
    pub fn forget(&mut self, id: Id) -> Option<Arc<Message>> {
        self.place(id).and_then(|place| self.messages.remove(place))
    }

    /// What remains of `base` here: everyone's overwrite first, then roles together, then the member's.
    pub fn apply_overwrites(&self, base: u64, everyone: Id, member: Id, roles: &[Id]) -> u64 {
        let apply = |may: u64, allow: u64, deny: u64| (may & !deny) | allow;
        let mut may = base;
        for overwrite in self.overwrites.iter().filter(|o| o.id == everyone) {
            may = apply(may, overwrite.allow, overwrite.deny);
        }
        let of_roles = self.overwrites.iter().filter(|o| o.kind == 0 && roles.contains(&o.id));
        let (allow, deny) = of_roles.fold((0, 0), |(allow, deny), o| (allow | o.allow, deny | o.deny));
        may = apply(may, allow, deny);
        for overwrite in self.overwrites.iter().filter(|o| o.kind == 1 && o.id == member) {
            may = apply(may, overwrite.allow, overwrite.deny);
        }
        if may & VIEW_CHANNEL == 0 { 0 } else { may }
    }

    /// Ids only grow, so the place is found by halving.
    fn place(&self, id: Id) -> Option<usize> {
        self.messages.binary_search_by(|message| message.id.cmp(&id)).ok()
    }
}
