//! Subjects and partitions are part of the contract: other languages compute them too.

use protocol::{ChannelId, CommunityId, Platform, subject};

#[test]
fn subjects_read_as_documented() {
    let community = CommunityId::new("41771983423143937").unwrap();
    let channel = ChannelId::new("81384788765712384").unwrap();
    assert_eq!(subject::commands_of(7), "event.*.*.command.7");
    assert_eq!(subject::chatter(Platform::Twitch), "chatter.twitch");
    assert_eq!(subject::interaction(Platform::Discord, &CommunityId::direct()), "interaction.discord.dm");
    assert_eq!(
        subject::action(Platform::Discord, &channel, &community),
        format!("action.discord.{}.41771983423143937", subject::partition(&channel))
    );
    assert_eq!(subject::actions_of(Platform::Twitch, 3), "action.twitch.3.*");
    assert_eq!(subject::dead("EVENTS"), "dead.EVENTS");
}

/// Reference values of FNV-1a 32 (published test vectors: "a" e40c292c, "foobar" bf9cf968).
#[test]
fn the_partition_is_fnv1a_modulo_16() {
    for (channel, hash) in [("a", 0xe40c_292c_u32), ("b", 0xe70c_2de5), ("foobar", 0xbf9c_f968)] {
        let expected = u16::try_from(hash % 16).unwrap();
        assert_eq!(subject::partition(&ChannelId::new(channel).unwrap()), expected, "{channel}");
    }
}
