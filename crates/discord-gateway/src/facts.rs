//! What is remembered of each guild: who owns it, and which roles let somebody moderate it. Nothing
//! else, so that 1,000 guilds fit in a few hundred kilobytes.
//!
//! After a resume in a new process no `GUILD_CREATE` comes; then a guild's facts are asked from REST
//! when the rank of somebody who gave a command is needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::Rank;
use tokio::{
    sync::Mutex as Turn,
    time::{Instant, timeout},
};
use tracing::{debug, warn};
use twilight_http::Client;
use twilight_model::id::Id;

use crate::{
    frame::{Guild, Role, Snowflake},
    rest::{Call, Rest, silently},
};

/// How many guilds are remembered: 2,500 per shard is Discord's own limit.
const MAX_GUILDS: usize = 100_000;
/// How many guilds are asked for at the same time; the others wait.
const MAX_ASKING: usize = 256;
/// How long a command waits for its author's rank, all in all.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// How long a guild that could not be asked for is left alone: its commands do not wait, and refusals
/// do not spend the budget.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// How many of those are remembered.
const MAX_FAILED: usize = 1024;

const KICK_MEMBERS: u64 = 1 << 1;
const BAN_MEMBERS: u64 = 1 << 2;
const ADMINISTRATOR: u64 = 1 << 3;
const MANAGE_GUILD: u64 = 1 << 5;
const MANAGE_MESSAGES: u64 = 1 << 13;
const MODERATE_MEMBERS: u64 = 1 << 40;

/// What a permission bit set makes somebody.
/// Source: <https://docs.discord.com/developers/topics/permissions>.
#[must_use]
pub const fn rank_of(permissions: u64) -> Rank {
    if permissions & (ADMINISTRATOR | MANAGE_GUILD) != 0 {
        Rank::Owner
    } else if permissions & (KICK_MEMBERS | BAN_MEMBERS | MANAGE_MESSAGES | MODERATE_MEMBERS) != 0 {
        Rank::Moderator
    } else {
        Rank::Everyone
    }
}

/// What is known of the guilds.
#[derive(Debug)]
pub struct Facts {
    guilds: Mutex<HashMap<Snowflake, GuildFacts>>,
    /// One request in flight per guild.
    asking: Mutex<HashMap<Snowflake, Arc<Turn<()>>>>,
    /// When a guild was asked for in vain.
    failed: Mutex<HashMap<Snowflake, Instant>>,
    rest: Arc<Rest>,
    builder: Arc<Client>,
}

/// One guild.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GuildFacts {
    owner: Snowflake,
    /// Roles that make somebody more than everyone; few.
    roles: Box<[(Snowflake, Rank)]>,
}

impl GuildFacts {
    fn new(owner: Snowflake, roles: &[Role]) -> Self {
        let roles = roles.iter().map(|role| (role.id, rank_of(role.permissions)));
        Self { owner, roles: roles.filter(|(_, rank)| *rank != Rank::Everyone).collect() }
    }

    /// The guild's own id is that of the role `@everyone`.
    fn rank(&self, guild: Snowflake, user: Snowflake, roles: &[Snowflake]) -> Rank {
        if user == self.owner {
            return Rank::Owner;
        }
        let has = |role: &Snowflake| *role == guild || roles.contains(role);
        self.roles.iter().filter(|(role, _)| has(role)).map(|(_, rank)| *rank).max().unwrap_or_default()
    }

    fn set(&mut self, role: Snowflake, rank: Rank) {
        let others = self.roles.iter().copied().filter(|(known, _)| *known != role);
        let new = (rank != Rank::Everyone).then_some((role, rank));
        self.roles = others.chain(new).collect();
    }
}

impl Facts {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(rest: Arc<Rest>, builder: Arc<Client>) -> Self {
        Self { guilds: Mutex::default(), asking: Mutex::default(), failed: Mutex::default(), rest, builder }
    }

    /// Learns from `GUILD_CREATE`, `GUILD_UPDATE` or REST.
    pub fn learn(&self, guild: &Guild) {
        let Some(owner) = guild.owner_id else { return };
        let facts = GuildFacts::new(owner, &guild.roles);
        let mut guilds = self.guilds();
        if guilds.len() >= MAX_GUILDS
            && !guilds.contains_key(&guild.id)
            && let Some(any) = guilds.keys().next().copied()
        {
            guilds.remove(&any);
        }
        guilds.insert(guild.id, facts);
    }

    /// A role is new or changed.
    pub fn set_role(&self, guild: Snowflake, role: &Role) {
        if let Some(facts) = self.guilds().get_mut(&guild) {
            facts.set(role.id, rank_of(role.permissions));
        }
    }

    /// A role is gone.
    pub fn remove_role(&self, guild: Snowflake, role: Snowflake) {
        if let Some(facts) = self.guilds().get_mut(&guild) {
            facts.set(role, Rank::Everyone);
        }
    }

    /// The bot left a guild.
    pub fn forget(&self, guild: Snowflake) {
        self.guilds().remove(&guild);
    }

    /// What `user` with `roles` may do; `None` when nothing is known of the guild.
    #[must_use]
    pub fn rank(&self, guild: Snowflake, user: Snowflake, roles: &[Snowflake]) -> Option<Rank> {
        self.guilds().get(&guild).map(|facts| facts.rank(guild, user, roles))
    }

    /// The same, asking Discord when nothing is known. Whoever cannot be told within [`ASK_LIMIT`] is
    /// `Everyone`.
    pub async fn ask_rank(&self, guild: Snowflake, user: Snowflake, roles: &[Snowflake]) -> Rank {
        if self.wants_asking(guild) {
            if timeout(ASK_LIMIT, self.ask_in_turn(guild)).await.is_err() {
                warn!(%guild, "discord does not tell roles in time; the author counts as everyone");
                self.failed(guild);
            }
            self.asking().remove(&guild);
        }
        self.rank(guild, user, roles).unwrap_or_default()
    }

    async fn ask_in_turn(&self, guild: Snowflake) {
        let turn = {
            let mut asking = self.asking();
            if asking.len() >= MAX_ASKING && !asking.contains_key(&guild) {
                warn!(%guild, "too many guilds are being asked for; the author counts as everyone");
                return;
            }
            asking.entry(guild).or_default().clone()
        };
        let _turn = turn.lock().await;
        // While this waited, another may have got the answer.
        if self.wants_asking(guild) {
            self.ask(guild).await;
        }
    }

    async fn ask(&self, guild: Snowflake) {
        let Some(id) = Id::new_checked(guild.0) else { return };
        let outcome = async {
            let call = Call::new("GET /guilds/{id}", guild.0, self.builder.guild(id))?;
            self.rest.call(&call, Instant::now() + ASK_LIMIT, &silently).await
        };
        match outcome.await.map(|reply| reply.json::<Guild>().map(|answer| self.learn(&answer))) {
            Ok(Ok(())) => debug!(%guild, "asked for roles"),
            Ok(Err(error)) => {
                warn!(%guild, %error, "a guild has an unexpected shape");
                self.failed(guild);
            }
            Err(error) => {
                warn!(%guild, %error, "roles cannot be asked for; the author counts as everyone");
                self.failed(guild);
            }
        }
    }

    /// Nothing is known, and it was not asked in vain a moment ago.
    fn wants_asking(&self, guild: Snowflake) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let in_vain = failed.get(&guild).is_some_and(|at| at.elapsed() < LEFT_ALONE);
        drop(failed);
        !in_vain && !self.guilds().contains_key(&guild)
    }

    fn failed(&self, guild: Snowflake) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MAX_FAILED {
            failed.retain(|_, at| at.elapsed() < LEFT_ALONE);
        }
        if failed.len() < MAX_FAILED {
            failed.insert(guild, Instant::now());
        }
    }

    fn asking(&self) -> MutexGuard<'_, HashMap<Snowflake, Arc<Turn<()>>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guilds(&self) -> MutexGuard<'_, HashMap<Snowflake, GuildFacts>> {
        self.guilds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: Snowflake = Snowflake(1);
    const OLIVE: Snowflake = Snowflake(2);
    const MAX: Snowflake = Snowflake(3);

    fn role(id: u64, permissions: u64) -> Role {
        Role { id: Snowflake(id), permissions }
    }

    #[test]
    fn ranks_come_from_ownership_and_roles() {
        let roles = [role(10, MANAGE_GUILD), role(11, MODERATE_MEMBERS), role(12, 0), role(1, 1 << 11)];
        let mut facts = GuildFacts::new(OLIVE, &roles);
        let rank = |facts: &GuildFacts, user, roles: &[u64]| {
            facts.rank(GUILD, user, &roles.iter().copied().map(Snowflake).collect::<Vec<_>>())
        };
        assert_eq!(rank(&facts, OLIVE, &[]), Rank::Owner);
        assert_eq!(rank(&facts, MAX, &[12]), Rank::Everyone);
        assert_eq!(rank(&facts, MAX, &[12, 11]), Rank::Moderator);
        assert_eq!(rank(&facts, MAX, &[11, 10]), Rank::Owner);
        facts.set(Snowflake(11), Rank::Everyone);
        assert_eq!(rank(&facts, MAX, &[11]), Rank::Everyone);
        facts.set(GUILD, rank_of(MANAGE_MESSAGES));
        assert_eq!(rank(&facts, MAX, &[]), Rank::Moderator);
    }
}
