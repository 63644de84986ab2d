//! The subjects that messages travel on, and which partition an action belongs to.

use crate::{
    event::{Event, EventBody},
    id::{ChannelId, CommunityId, Platform},
};

/// How many partitions commands have, and the actions of each platform. Fixed for ever: a change would
/// need drained streams.
pub const PARTITIONS: u16 = 16;

/// `event.<platform>.<community>.<kind>`: one happening; a command's ends with its channel's partition,
/// `event.<platform>.<community>.command.<partition>`.
#[must_use]
pub fn event(event: &Event) -> String {
    let (platform, community, kind) = (event.platform, &event.community, event.body.kind());
    match &event.body {
        EventBody::Command(command) => {
            format!("event.{platform}.{community}.{kind}.{}", partition(&command.message.channel))
        }
        _ => format!("event.{platform}.{community}.{kind}"),
    }
}

/// `event.*.*.command.<partition>`: all commands of one partition, of every platform.
#[must_use]
pub fn commands_of(partition: u16) -> String {
    format!("event.*.*.command.{partition}")
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

/// `control.<service>.<verb>`: something that a service is asked to do.
#[must_use]
pub fn control(service: &str, verb: &str) -> String {
    format!("control.{service}.{verb}")
}

/// `audit.<service>`: what a service that operates the bot has done.
#[must_use]
pub fn audit(service: &str) -> String {
    format!("audit.{service}")
}

/// `dead.<stream>`: what failed for good.
#[must_use]
pub fn dead(stream: &str) -> String {
    format!("dead.{stream}")
}

/// Which partition the commands and actions of a channel belong to: FNV-1a (32 bit) of the channel id, modulo
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

/// Whether a subject is under a pattern, with the wildcards `*` for one token and `>` for all that follow.
#[must_use]
pub fn is_under(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn subjects_are_under_patterns_as_in_nats() {
        for (pattern, subject, expected) in [
            ("action.>", "action.twitch.1.2", true),
            ("action.>", "action", false),
            ("action.*", "action.twitch.1", false),
            ("action.*.1", "action.twitch.1", true),
            ("action.twitch", "action.discord", false),
            (">", "", true),
        ] {
            assert_eq!(is_under(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
