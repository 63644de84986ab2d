//! The subjects that messages travel on, and which partition an action belongs to.

use crate::id::{ChannelId, CommunityId, Platform};

/// How many partitions a platform's actions have. Fixed for ever: a change would need drained streams.
pub const PARTITIONS: u16 = 16;

/// `event.<platform>.<community>.<kind>`: one happening.
#[must_use]
pub fn event(platform: Platform, community: &CommunityId, kind: &str) -> String {
    format!("event.{platform}.{community}.{kind}")
}

/// `chatter.<platform>`: a [`Batch`](crate::Batch) of messages from several communities.
#[must_use]
pub fn chatter(platform: Platform) -> String {
    format!("chatter.{platform}")
}

/// `interaction.<platform>.<community>`: a question that a worker answers at once.
#[must_use]
pub fn interaction(platform: Platform, community: &CommunityId) -> String {
    format!("interaction.{platform}.{community}")
}

/// `action.<platform>.<partition>.<community>`: something to do in `channel`.
#[must_use]
pub fn action(platform: Platform, channel: &ChannelId, community: &CommunityId) -> String {
    format!("action.{platform}.{}.{community}", partition(channel))
}

/// `action.<platform>.<partition>.*`: all actions of one partition.
#[must_use]
pub fn actions_of(platform: Platform, partition: u16) -> String {
    format!("action.{platform}.{partition}.*")
}

/// `outcome.<platform>.<community>`: what became of an action.
#[must_use]
pub fn outcome(platform: Platform, community: &CommunityId) -> String {
    format!("outcome.{platform}.{community}")
}

/// `dead.<stream>`: what failed for good.
#[must_use]
pub fn dead(stream: &str) -> String {
    format!("dead.{stream}")
}

/// Which partition the actions of a channel belong to: FNV-1a (32 bit) of the channel id, modulo
/// [`PARTITIONS`].
#[must_use]
pub fn partition(channel: &ChannelId) -> u16 {
    let hash = channel
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The remainder is below 16, so the cast keeps it whole.
    #[allow(clippy::cast_possible_truncation)]
    let partition = (hash % u32::from(PARTITIONS)) as u16;
    partition
}
