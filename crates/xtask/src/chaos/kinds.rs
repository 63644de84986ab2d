//! Every kind of fault there is: what it is called, whom it hits, what is done and for how long. When
//! which of them happens is in `plan`; how it is done is in `inject`.

use std::ops::RangeInclusive;

use serde::Serialize;

/// The parts that there are, in the order in which they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// nats-server.
    Nats,
    /// The local Discord and Twitch.
    Sandbox,
    /// `discord-gateway`.
    DiscordGateway,
    /// `twitch-gateway`.
    TwitchGateway,
    /// `command-worker`.
    Worker,
}

/// A platform of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// The local Discord.
    Discord,
    /// The local Twitch.
    Twitch,
}

impl Platform {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Discord, Self::Twitch];

    /// As the control API of the sandbox and event ids name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discord => "discord",
            Self::Twitch => "twitch",
        }
    }
}

/// A connection of a part that goes through a fault proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To NATS.
    Nats,
    /// To where chat is read: Discord's gateway, Twitch's IRC.
    Chat,
    /// To the platform's HTTP API.
    Api,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL; started again after the time.
    Kill,
    /// SIGTERM; started again once it has ended and the time is over.
    Terminate,
    /// SIGSTOP, and SIGCONT after the time.
    Stop,
    /// Every connection of the link is closed, and each new one, for the time.
    Cut(Link),
    /// Nothing comes through the link for the time; then all of it.
    Stall(Link),
    /// What passes the link comes in bursts, some 300 ms late, for the time.
    Slow(Link),
    /// The sandbox is told something, once.
    Tell(&'static str, &'static str),
    /// Knobs of the sandbox are turned, and back after the time.
    Knobs(&'static str, &'static str, &'static str),
}

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    /// What it is called in tables.
    pub name: &'static str,
    /// Whom it hits.
    pub role: Role,
    /// The platform that notices, if it is only one.
    pub platform: Option<Platform>,
    /// What is done.
    pub deed: Deed,
    /// For how long, in milliseconds.
    pub lasts_ms: RangeInclusive<u64>,
    /// Whether it comes in the first round, which a short run is.
    pub first: bool,
    /// Twitch repeats nothing, and Discord not across sessions: what such a fault meets on the way from
    /// the platform is gone. So nothing else may hold up that way at the same time.
    pub forgets: bool,
}

const SOON: RangeInclusive<u64> = 100..=1000;
const WHILE: RangeInclusive<u64> = 500..=8000;
const STOPPED: RangeInclusive<u64> = 1000..=8000;
const SOME: RangeInclusive<u64> = 2000..=6000;
const TWO_HEARTBEATS: RangeInclusive<u64> = 26_000..=30_000;
const ONCE: RangeInclusive<u64> = 0..=0;

const fn kind(name: &'static str, role: Role, deed: Deed, lasts_ms: RangeInclusive<u64>) -> Kind {
    let platform = match role {
        DiscordGateway => Some(Platform::Discord),
        TwitchGateway => Some(Platform::Twitch),
        Nats | Sandbox | Worker => None,
    };
    Kind { name, role, platform, deed, lasts_ms, first: false, forgets: false }
}

const fn of_platform(
    name: &'static str,
    platform: Platform,
    deed: Deed,
    lasts_ms: RangeInclusive<u64>,
) -> Kind {
    Kind { platform: Some(platform), ..kind(name, Sandbox, deed, lasts_ms) }
}

const fn early(kind: Kind) -> Kind {
    Kind { first: true, ..kind }
}

const fn forgetful(kind: Kind) -> Kind {
    Kind { forgets: true, ..kind }
}

const DISCORD: &str = "/sandbox/discord/faults";
const TWITCH: &str = "/sandbox/twitch/faults";

use Deed::{Cut, Kill, Knobs, Slow, Stall, Stop, Tell, Terminate};
use Role::{DiscordGateway, Nats, Sandbox, TwitchGateway, Worker};

/// Every kind.
pub static KINDS: [Kind; 40] = [
    early(kind("worker: kill -9", Worker, Kill, SOON)),
    early(kind("worker: SIGTERM", Worker, Terminate, SOON)),
    early(kind("worker: SIGSTOP", Worker, Stop, STOPPED)),
    kind("worker: NATS link cut", Worker, Cut(Link::Nats), WHILE),
    kind("worker: NATS link stalled", Worker, Stall(Link::Nats), WHILE),
    kind("worker: NATS link slow", Worker, Slow(Link::Nats), SOME),
    early(kind("Discord gateway: kill -9", DiscordGateway, Kill, SOON)),
    early(kind("Discord gateway: SIGTERM", DiscordGateway, Terminate, SOON)),
    kind("Discord gateway: SIGSTOP", DiscordGateway, Stop, STOPPED),
    early(kind("Discord gateway: NATS link cut", DiscordGateway, Cut(Link::Nats), WHILE)),
    kind("Discord gateway: NATS link stalled", DiscordGateway, Stall(Link::Nats), WHILE),
    kind("Discord gateway: NATS link slow", DiscordGateway, Slow(Link::Nats), SOME),
    kind("Discord gateway: WebSocket cut", DiscordGateway, Cut(Link::Chat), WHILE),
    kind("Discord gateway: WebSocket stalled", DiscordGateway, Stall(Link::Chat), WHILE),
    kind("Discord gateway: API cut", DiscordGateway, Cut(Link::Api), WHILE),
    kind("Discord gateway: API stalled", DiscordGateway, Stall(Link::Api), WHILE),
    early(forgetful(kind("Twitch gateway: kill -9", TwitchGateway, Kill, SOON))),
    early(forgetful(kind("Twitch gateway: SIGTERM", TwitchGateway, Terminate, SOON))),
    forgetful(kind("Twitch gateway: SIGSTOP", TwitchGateway, Stop, STOPPED)),
    early(kind("Twitch gateway: NATS link cut", TwitchGateway, Cut(Link::Nats), WHILE)),
    kind("Twitch gateway: NATS link stalled", TwitchGateway, Stall(Link::Nats), WHILE),
    kind("Twitch gateway: NATS link slow", TwitchGateway, Slow(Link::Nats), SOME),
    forgetful(kind("Twitch gateway: IRC cut", TwitchGateway, Cut(Link::Chat), WHILE)),
    forgetful(kind("Twitch gateway: IRC stalled", TwitchGateway, Stall(Link::Chat), WHILE)),
    kind("Twitch gateway: API cut", TwitchGateway, Cut(Link::Api), WHILE),
    early(kind("NATS: kill -9", Nats, Kill, SOON)),
    kind("NATS: SIGTERM", Nats, Terminate, SOON),
    kind("NATS: SIGSTOP", Nats, Stop, STOPPED),
    early(of_platform(
        "Discord: drops connections",
        Platform::Discord,
        Tell("/sandbox/discord/drop", "{}"),
        ONCE,
    )),
    of_platform(
        "Discord: closes with 4000",
        Platform::Discord,
        Tell("/sandbox/discord/close", r#"{"code":4000}"#),
        ONCE,
    ),
    of_platform(
        "Discord: asks to reconnect",
        Platform::Discord,
        Tell("/sandbox/discord/reconnect", "{}"),
        ONCE,
    ),
    forgetful(of_platform(
        "Discord: session invalid",
        Platform::Discord,
        Tell("/sandbox/discord/invalidate", "{}"),
        ONCE,
    )),
    of_platform(
        "Discord: heartbeats not acknowledged",
        Platform::Discord,
        Knobs(DISCORD, r#"{"mute_heartbeat_acks":true}"#, r#"{"mute_heartbeat_acks":false}"#),
        TWO_HEARTBEATS,
    ),
    of_platform(
        "Discord: API answers 500",
        Platform::Discord,
        Knobs(DISCORD, r#"{"rest_status":{"status":500,"count":1000000}}"#, r#"{"rest_status":null}"#),
        SOME,
    ),
    of_platform(
        "Discord: API answers 429",
        Platform::Discord,
        Knobs(
            DISCORD,
            r#"{"rest_status":{"status":429,"count":6,"retry_after_ms":700}}"#,
            r#"{"rest_status":null}"#,
        ),
        SOME,
    ),
    of_platform(
        "Discord: API slow",
        Platform::Discord,
        Knobs(DISCORD, r#"{"rest_slow_ms":1500}"#, r#"{"rest_slow_ms":0}"#),
        SOME,
    ),
    early(forgetful(of_platform(
        "Twitch: drops connections",
        Platform::Twitch,
        Tell("/sandbox/twitch/drop", "{}"),
        ONCE,
    ))),
    of_platform("Twitch: asks to reconnect", Platform::Twitch, Tell("/sandbox/twitch/reconnect", "{}"), ONCE),
    of_platform(
        "Twitch: API answers 500",
        Platform::Twitch,
        Knobs(TWITCH, r#"{"helix_status":500,"helix_failures":1000000}"#, r#"{"helix_failures":0}"#),
        SOME,
    ),
    of_platform(
        "Twitch: API slow",
        Platform::Twitch,
        Knobs(TWITCH, r#"{"helix_slow_ms":1500}"#, r#"{"helix_slow_ms":0}"#),
        SOME,
    ),
];
