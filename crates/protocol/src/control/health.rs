//! `control.healthcheck.<verb>`: of what people are not to be told for a while. How the bot is, is asked over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{VERSION, wire::versioned};

/// The shortest silence, in seconds.
pub const SILENCE_MIN_S: u64 = 60;
/// The longest silence, in seconds: 30 days.
pub const SILENCE_MAX_S: u64 = 30 * 24 * 60 * 60;

/// `control.healthcheck.<verb>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthRequest {
    /// The version of this payload.
    pub v: u16,
    /// Who asks: `cli`, …
    pub by: String,
    /// What for.
    pub order: HealthOrder,
}
versioned!(HealthRequest, "health-request");

/// What is asked of `healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum HealthOrder {
    /// Tell nobody of something that is wrong, unless it gets worse. Of what is silenced already, the end and the
    /// reason are set anew.
    Silence {
        /// What is wrong, as in [`Alert::alert`].
        alert: String,
        /// For how long, in seconds, between [`SILENCE_MIN_S`] and [`SILENCE_MAX_S`].
        for_s: u64,
        /// Why, in words for others; may be empty. At most [`WORDS_MAX`](super::WORDS_MAX) characters.
        #[serde(default)]
        reason: String,
    },
    /// Tell of it again.
    Unsilence {
        /// What was silenced, as in [`Silence::alert`].
        alert: String,
    },
    /// What is silenced, and what is wrong.
    Silences,
}

/// The answer of `healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// The version of this payload.
    pub v: u16,
    /// What it is.
    pub reply: HealthReply,
}
versioned!(HealthAnswer, "health-answer");

/// What `healthcheck` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum HealthReply {
    /// It is done: this one was silenced, or is silenced no more.
    Done {
        /// As it is now, or was.
        silence: Silence,
    },
    /// Nothing is done, and why.
    Refused {
        /// What was expected.
        reason: String,
    },
    /// The answer to `silences`.
    Silences {
        /// What is silenced; the first to end comes first.
        silences: Vec<Silence>,
        /// What is wrong, silenced or not, the worst first.
        alerts: Vec<Alert>,
    },
}

/// Something of which nobody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silence {
    /// What, as in [`Alert::alert`].
    pub alert: String,
    /// How bad it may be: what gets worse is told.
    pub level: AlertLevel,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
    /// Who wished it.
    pub by: String,
    /// Why, in words; may be empty.
    pub reason: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The name of its rule; where a rule is about several things, also which, such as `silent/backup`.
    pub alert: String,
    /// How bad.
    pub level: AlertLevel,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it is called, in a few words.
    pub title: String,
    /// What a person should know, in a line.
    pub text: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertLevel {
    /// Somebody should look at it, soon.
    Warning,
    /// The bot does not work, or will stop working.
    Critical,
}

impl Order for HealthRequest {
    type Answer = HealthAnswer;

    fn verb(&self) -> &'static str {
        match self.order {
            HealthOrder::Silence { .. } => "silence",
            HealthOrder::Unsilence { .. } => "unsilence",
            HealthOrder::Silences => "silences",
        }
    }

    fn refused(reason: String) -> HealthAnswer {
        HealthAnswer { v: VERSION, reply: HealthReply::Refused { reason } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn the_verb_of_the_subject_is_that_of_the_payload() {
        let alert = "disk".to_owned();
        let silence = HealthOrder::Silence { alert: alert.clone(), for_s: 3600, reason: String::new() };
        for order in [silence, HealthOrder::Unsilence { alert }, HealthOrder::Silences] {
            let request = HealthRequest { v: VERSION, by: "cli".to_owned(), order };
            let json: serde_json::Value = serde_json::from_slice(&encode(&request).unwrap()).unwrap();
            assert_eq!(json["order"]["verb"], request.verb());
        }
    }

    #[test]
    fn a_reason_may_be_left_out() {
        let bytes = br#"{"v":1,"by":"cli","order":{"verb":"silence","alert":"disk","for_s":60}}"#;
        let request: HealthRequest = decode(bytes).unwrap();
        let order = HealthOrder::Silence { alert: "disk".to_owned(), for_s: 60, reason: String::new() };
        assert_eq!(request.order, order);
    }
}
