//! What happens on the local Twitch beside talk, and its troubles.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Control,
    reply::{Body, Chosen, Refused, done_with},
};
use crate::{
    feed::Platform,
    people::Person,
    twitch::{Change, Settings, Standing},
};

/// Why EventSub subscriptions can end. Source: EventSub reference, "Revoking your subscription".
const REVOCATIONS: [&str; 3] = ["authorization_revoked", "user_removed", "version_removed"];

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/twitch/faults", get(faults).put(set_faults))
        .route("/sandbox/twitch/certificate", get(certificate))
        .route("/sandbox/twitch/{what}", post(happen))
}

async fn faults(State(control): State<Control>) -> Json<Settings> {
    Json(control.twitch.faults().get())
}

/// Turns the knobs that are named and leaves the others.
async fn set_faults(State(control): State<Control>, Body(change): Body<Change>) -> Json<Settings> {
    Json(control.twitch.faults().set(change))
}

async fn certificate(State(control): State<Control>) -> String {
    control.twitch.tls_certificate_pem()
}

/// `POST /sandbox/twitch/{what}`: the last part of the path chooses the variant, the body fills it.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
enum Happening {
    /// A raid arrives.
    Raid { channel: Option<String>, viewers: u32 },
    /// Somebody subscribes.
    Subscribe { channel: Option<String>, person: Person },
    /// Somebody subscribes again, perhaps with a text.
    Resub {
        channel: Option<String>,
        person: Person,
        months: u16,
        #[serde(default)]
        text: String,
    },
    /// Somebody gives subscriptions: one to a person, or several to whoever.
    Gift { channel: Option<String>, person: Person, to: Option<Person>, count: Option<u32> },
    /// A moderator announces something.
    Announce { channel: Option<String>, person: Person, text: String },
    /// Somebody follows.
    Follow { channel: Option<String>, person: Person },
    /// The stream starts or ends.
    Live { channel: Option<String>, live: bool },
    /// All lines go.
    Clear { channel: Option<String> },
    /// An account may not talk for a while; 0 seconds is for ever.
    Timeout { channel: Option<String>, login: String, seconds: u32 },
    /// It may again.
    Unban { channel: Option<String>, login: String },
    /// One line goes.
    Delete { channel: Option<String>, message: String },
    /// An account becomes moderator, VIP, or neither.
    Standing { channel: Option<String>, login: String, standing: Standing },
    /// Nobody can join or talk in a suspended channel.
    Suspend { channel: Option<String>, suspended: bool },
    /// A NOTICE by its `msg-id`.
    Notice { channel: Option<String>, msg_id: String },
    /// A line exactly as given, to all who joined a channel, or to every client.
    Raw { channel: Option<String>, line: String },
    /// Every connection is cut.
    Drop {},
    /// Every client is told RECONNECT.
    Reconnect {},
    /// Every EventSub socket is closed with a code.
    CloseEventsub { code: u16 },
    /// Every EventSub subscription ends.
    RevokeSubscriptions { status: String },
    /// An access token is no longer known.
    RevokeToken { token: String },
    /// An access token runs out.
    ExpireToken { token: String },
    /// The next Helix requests are answered 429.
    ExhaustHelix {},
    /// Every knob goes back.
    Mend {},
}

/// Returns the id of the message that it made, or how many it concerned, where there is such a thing.
async fn happen(
    State(control): State<Control>,
    Chosen(happening): Chosen<Happening>,
) -> Result<Json<Value>, Refused> {
    use Happening as H;
    let twitch = &control.twitch;
    let at = |named: Option<String>| control.channel(Platform::Twitch, named.as_deref());
    let result = match happening {
        H::Raid { channel, viewers } => json!(twitch.raid(&at(channel)?, viewers)?),
        H::Subscribe { channel, person } => json!(twitch.subscribe(&at(channel)?, person)?),
        H::Resub { channel, person, months, text } => {
            json!(twitch.resub(&at(channel)?, person, months, &text)?)
        }
        H::Gift { channel, person, to: Some(to), .. } => json!(twitch.gift(&at(channel)?, person, to)?),
        H::Gift { channel, person, to: None, count } => {
            json!(twitch.gift_many(&at(channel)?, person, count.unwrap_or(1))?)
        }
        H::Announce { channel, person, text } => json!(twitch.announce(&at(channel)?, person, &text)?),
        H::Follow { channel, person } => json!(twitch.follow(&at(channel)?, person)?),
        H::Live { channel, live } => json!(twitch.go_live(&at(channel)?, live)?),
        H::Clear { channel } => json!(twitch.clear_chat(&at(channel)?)?),
        H::Timeout { channel, login, seconds } => json!(twitch.timeout(&at(channel)?, &login, seconds)?),
        H::Unban { channel, login } => json!(twitch.unban(&at(channel)?, &login)?),
        H::Delete { channel, message } => json!(twitch.delete(&at(channel)?, &message)?),
        H::Standing { channel, login, standing } => {
            json!(twitch.set_standing(&at(channel)?, &login, standing)?)
        }
        H::Suspend { channel, suspended } => json!(twitch.suspend(&at(channel)?, suspended)?),
        H::Notice { channel, msg_id } => json!(twitch.send_notice(&at(channel)?, &msg_id)?),
        H::Raw { channel, line } => json!(twitch.inject_raw(channel.as_deref(), line.as_bytes())?),
        H::Drop {} => json!(twitch.drop_connections()),
        H::Reconnect {} => json!(twitch.reconnect_all()),
        H::CloseEventsub { code } => json!(twitch.close_eventsub(code)),
        H::RevokeSubscriptions { status } => {
            let known = REVOCATIONS.into_iter().find(|known| *known == status);
            let expected = || Refused::bad(format!("expected a status of {}", REVOCATIONS.join(", ")));
            json!(twitch.revoke_subscriptions(known.ok_or_else(expected)?))
        }
        H::RevokeToken { token } => json!(twitch.revoke_token(&token)),
        H::ExpireToken { token } => json!(twitch.expire_token(&token)),
        H::ExhaustHelix {} => json!(twitch.exhaust_helix()),
        H::Mend {} => json!(twitch.faults().clear()),
    };
    Ok(done_with(&result))
}
