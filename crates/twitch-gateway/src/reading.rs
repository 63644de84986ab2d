//! Which channels this gateway reads, among those of the account.
//!
//! Every channel is read by the two members that rank highest for it, so that nothing is lost when one of
//! them dies: what both hear is one event, because its id is Twitch's. A third joins where it only
//! speaks, to be told what the bot may do there. Who has no part in a channel any more reads it behind
//! those who took it over until they have joined, and leaves it a while after that.
//!
//! Reading needs no lease. `CHAT` is one all the same: it passes to another only when that one has joined
//! its channels, and a gateway that ends waits for that.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bus::{Handover, Holding, Lease};
use protocol::{ChannelId, subject::partition};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{chat::Chat, limiter::Limiter, rooms::Role};

/// Belongs to a gateway that has joined its channels.
const CHAT: &str = "chat";
/// How many gateways read a channel.
const READERS: usize = 2;

/// Keeps the channels in step with who is there.
pub struct Reading {
    /// The membership among the gateways of the account.
    pub lease: Arc<Lease>,
    /// Which member this one is.
    pub instance: String,
    /// The channels.
    pub chat: Arc<Chat>,
    /// Who has joined its channels (see `roll`).
    pub joined: watch::Receiver<BTreeSet<String>>,
    /// Who is told what it begins to speak in.
    pub limiter: Arc<Limiter>,
    /// Cancelled when no action is done any more: from then on partitions are given to who asks.
    pub drained: CancellationToken,
}

/// What the gateways of an account share.
pub fn resources() -> BTreeMap<String, Handover> {
    let partitions = actions::resources().map(|partition| (partition, Handover::DrainFirst));
    partitions.chain([(CHAT.to_owned(), Handover::PrepareFirst)]).collect()
}

impl Reading {
    /// Runs until `shutdown`. While it is not known who is there, nothing changes.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (mut held, mut changes) = (self.lease.held(), self.chat.rooms.changes());
        let mut joined = self.joined.clone();
        let mut leaving: HashMap<String, Instant> = HashMap::new();
        let (mut owned, mut drained) = (BTreeSet::new(), false);
        loop {
            changes.mark_unchanged();
            let holding = held.borrow_and_update().clone();
            if !holding.fenced {
                self.begin(&holding, &mut owned);
                self.assign(&holding, &mut leaving);
                self.answer(&holding, drained);
            }
            let next = leaving.values().min().copied();
            tokio::select! {
                () = self.drained.cancelled(), if !drained => drained = true,
                () = shutdown.cancelled() => return Ok(()),
                Ok(()) = held.changed() => {}
                Ok(()) = changes.changed() => {}
                Ok(()) = joined.changed() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Tells the limiter of partitions that are new here.
    fn begin(&self, holding: &Holding, owned: &mut BTreeSet<String>) {
        for (number, partition) in (0..).zip(actions::resources()) {
            if holding.owned.contains(&partition) && !owned.contains(&partition) {
                self.limiter.begin(number);
            }
        }
        owned.clone_from(&holding.owned);
    }

    fn assign(&self, holding: &Holding, leaving: &mut HashMap<String, Instant>) {
        let now = Instant::now();
        let assigned = self.chat.rooms.list().into_iter().map(|(login, id, kept)| {
            let role = self.role(holding, &login, id.as_ref(), kept);
            let keep = if role != Role::None {
                leaving.remove(&login);
                true
            } else if !kept {
                false
            } else {
                let until = *leaving.entry(login.clone()).or_insert(now + self.chat.timing.part_after);
                now < until || leaving.remove(&login).is_none()
            };
            (login, role, keep)
        });
        let assigned: Vec<_> = assigned.collect();
        self.chat.rooms.assign(assigned);
    }

    fn role(&self, holding: &Holding, login: &str, id: Option<&ChannelId>, kept: bool) -> Role {
        // One that is leaving goes on until it ends, and leaves the telling to those who stay.
        if !holding.members.contains(&self.instance) {
            return if holding.members.is_empty() { Role::First } else { Role::Behind(1) };
        }
        let ranked = holding.ranked(&format!("channel-{login}"), holding.members.len());
        let readers = ranked.get(..READERS).unwrap_or(&ranked);
        // Nobody leaves a channel to those who have not joined it.
        let stays = kept && !self.have_joined(readers);
        match (0..).zip(&ranked).find(|(_, member)| **member == self.instance) {
            Some((0, _)) => Role::First,
            Some((ahead, _)) if stays || readers.contains(&&*self.instance) => Role::Behind(ahead),
            _ if id.is_some_and(|id| speaks(holding, id)) => Role::Speaker,
            _ => Role::None,
        }
    }

    fn have_joined(&self, members: &[&str]) -> bool {
        let joined = self.joined.borrow();
        members.iter().all(|member| joined.contains(*member))
    }

    /// Lets `CHAT` come when all is joined, and go when another has joined all.
    fn answer(&self, holding: &Holding, drained: bool) {
        if holding.preparing.contains(CHAT) && self.chat.rooms.settled() {
            self.lease.ready(CHAT);
        }
        for resource in holding.asked.iter().filter(|resource| drained || *resource == CHAT) {
            self.lease.release(resource);
        }
    }
}

/// Whether actions of a channel are done here.
fn speaks(holding: &Holding, id: &ChannelId) -> bool {
    let number = usize::from(partition(id));
    actions::resources().nth(number).is_some_and(|resource| holding.owned.contains(&resource))
}
