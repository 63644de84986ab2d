//! What clients send over the gateway, and what is answered that is no dispatch.
//! Source: <https://docs.discord.com/developers/events/gateway-events>.

use serde::Deserialize;
use serde_json::Value;

/// Any payload from a client.
#[derive(Debug, Deserialize)]
pub struct Incoming {
    /// Opcode.
    pub op: u64,
    /// Its data.
    #[serde(default)]
    pub d: Value,
}

/// Op 2.
#[derive(Debug, Deserialize)]
pub struct Identify {
    pub token: String,
    pub intents: u64,
    #[serde(rename = "properties")]
    _properties: serde_json::Map<String, Value>,
    #[serde(default)]
    pub shard: Option<(u32, u32)>,
}

/// Op 6.
#[derive(Debug, Deserialize)]
pub struct Resume {
    pub token: String,
    pub session_id: String,
    pub seq: u64,
}

/// Op 8.
#[derive(Debug, Deserialize)]
pub struct RequestMembers {
    pub guild_id: Value,
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    pub limit: u64,
    #[serde(default)]
    pub presences: bool,
    #[serde(default)]
    pub user_ids: Option<Value>,
    #[serde(default)]
    pub nonce: Option<String>,
}

/// A closed connection, in Discord's words.
pub const fn reason(code: u16) -> &'static str {
    match code {
        4000 => "Unknown error.",
        4001 => "Unknown opcode.",
        4002 => "Error while decoding payload.",
        4003 => "Not authenticated.",
        4004 => "Authentication failed.",
        4005 => "Already authenticated.",
        4007 => "Invalid seq.",
        4008 => "Rate limited.",
        4009 => "Session timed out.",
        4010 => "Invalid shard.",
        4011 => "Sharding required.",
        4012 => "Invalid API version.",
        4013 => "Invalid intent(s).",
        4014 => "Disallowed intent(s).",
        _ => "",
    }
}

/// A payload without data of its own.
pub fn bare(op: u8, data: &str) -> String {
    format!(r#"{{"t":null,"s":null,"op":{op},"d":{data}}}"#)
}
