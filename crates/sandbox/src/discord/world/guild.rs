//! One guild: its roles and members.

use std::collections::BTreeMap;

use crate::discord::{
    permissions::{ADMINISTRATOR, ALL},
    snowflake::Id,
};

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Snowflake; that of the guild for `@everyone`.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// What it allows.
    pub permissions: u64,
    /// Higher ones rule lower ones.
    pub position: u32,
    /// RGB.
    pub color: u32,
    /// Shown apart in the list of members.
    pub hoist: bool,
    /// Anybody may mention it.
    pub mentionable: bool,
    /// The bot that it belongs to.
    pub bot: Option<Id>,
}

/// Somebody in a guild.
#[derive(Clone, Debug)]
pub struct Member {
    /// Roles beside `@everyone`.
    pub roles: Vec<Id>,
    /// The name in this guild.
    pub nick: Option<String>,
    /// Unix milliseconds.
    pub joined_ms: u64,
    /// When a time-out ends, as Discord writes it.
    pub timeout_until: Option<String>,
}

/// A guild.
#[derive(Debug)]
pub struct Guild {
    /// Snowflake.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Id,
    /// `@everyone` first.
    pub roles: Vec<Role>,
    /// Everybody in it.
    pub members: BTreeMap<Id, Member>,
    /// Its channels, in order.
    pub channels: Vec<Id>,
    /// Who is banned, and why.
    pub bans: BTreeMap<Id, Option<String>>,
}

impl Guild {
    /// What a member may do, before any channel adds or takes.
    pub fn permissions_of(&self, user: Id) -> u64 {
        if user == self.owner {
            return ALL;
        }
        let Some(member) = self.members.get(&user) else { return 0 };
        let roles = self.roles.iter().filter(|role| role.id == self.id || member.roles.contains(&role.id));
        let may = roles.fold(0, |may, role| may | role.permissions);
        if may & ADMINISTRATOR != 0 { ALL } else { may }
    }

    /// A role of this guild.
    pub fn role(&self, id: Id) -> Option<&Role> {
        self.roles.iter().find(|role| role.id == id)
    }

    /// The position of a member's highest role; the owner is above all.
    pub fn rank(&self, user: Id) -> u32 {
        if user == self.owner {
            return u32::MAX;
        }
        let Some(member) = self.members.get(&user) else { return 0 };
        member.roles.iter().filter_map(|id| self.role(*id)).map(|role| role.position).max().unwrap_or(0)
    }
}
