//! Whom a text mentions, and whom it is allowed to.
//! Source: <https://docs.discord.com/developers/resources/message#allowed-mentions-object>.

use super::{World, guild::Guild};
use crate::discord::{permissions::MENTION_EVERYONE, snowflake::Id};

/// How many users or roles one message can mention.
const MAX_MENTIONS: usize = 100;

/// Which ones of a kind may be mentioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only {
    /// All that the text names.
    All,
    /// Those of these that the text names.
    These(Vec<Id>),
}

impl Only {
    fn allows(&self, id: Id) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&id),
        }
    }
}

/// Whom a message may mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// `@everyone` and `@here`.
    pub everyone: bool,
    /// Users.
    pub users: Only,
    /// Roles.
    pub roles: Only,
    /// The author of the message that is answered.
    pub replied_user: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { everyone: true, users: Only::All, roles: Only::All, replied_user: true }
    }
}

/// Whom a message mentions in the end.
#[derive(Debug, Default)]
pub struct Mentions {
    /// Users.
    pub users: Vec<Id>,
    /// Roles.
    pub roles: Vec<Id>,
    /// Everybody.
    pub everyone: bool,
}

impl World {
    /// Whom `text` mentions when somebody with the permissions `may` writes it.
    pub fn mentions(&self, text: &str, allowed: &Allowed, guild: Option<Id>, may: u64) -> Mentions {
        let mut found = Mentions::default();
        if !text.contains(['@']) {
            return found;
        }
        let guild = guild.and_then(|id| self.guilds.get(&id));
        found.everyone = allowed.everyone
            && may & MENTION_EVERYONE != 0
            && guild.is_some()
            && (text.contains("@everyone") || text.contains("@here"));
        for part in text.split("<@").skip(1) {
            let Some((inside, _)) = part.split_once('>') else { continue };
            match inside.strip_prefix('&') {
                Some(role) => self.mention_role(role, allowed, guild, may, &mut found),
                None => self.mention_user(inside.trim_start_matches('!'), allowed, &mut found),
            }
        }
        found
    }

    fn mention_user(&self, id: &str, allowed: &Allowed, found: &mut Mentions) {
        let Ok(id) = id.parse::<Id>() else { return };
        let new = !found.users.contains(&id) && found.users.len() < MAX_MENTIONS;
        if new && self.users.contains_key(&id) && allowed.users.allows(id) {
            found.users.push(id);
        }
    }

    fn mention_role(
        &self,
        id: &str,
        allowed: &Allowed,
        guild: Option<&Guild>,
        may: u64,
        found: &mut Mentions,
    ) {
        let Some(role) = id.parse::<Id>().ok().and_then(|id| guild?.role(id)) else { return };
        let new = !found.roles.contains(&role.id) && found.roles.len() < MAX_MENTIONS;
        if new && allowed.roles.allows(role.id) && (role.mentionable || may & MENTION_EVERYONE != 0) {
            found.roles.push(role.id);
        }
    }
}
