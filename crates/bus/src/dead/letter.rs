//! One dead letter as the server stores it. Whatever is missing or broken in it is left out; it is never
//! a reason not to show the rest.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use protocol::TraceParent;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What [`Delivery::bury`](crate::Delivery::bury) writes beside the payload.
pub(crate) const SUBJECT_HEADER: &str = "Vigie-Subject";
pub(crate) const REASON_HEADER: &str = "Vigie-Reason";
pub(crate) const ATTEMPTS_HEADER: &str = "Vigie-Attempts";
/// How it makes the letter's message id from the one of the message.
pub(crate) const ID_PREFIX: &str = "dead:";

/// What failed for good.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Names it; numbers rise, and none is given twice.
    pub number: u64,
    /// When it was buried, by the server's clock.
    pub at: OffsetDateTime,
    /// The stream it was taken from.
    pub stream: String,
    /// The subject it was stored under there.
    pub subject: Option<String>,
    /// The message id it had there, such as the id of the event.
    pub id: Option<String>,
    /// Why it was buried.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// Its `traceparent`.
    pub trace: Option<String>,
    /// Its bytes, as they were.
    pub payload: Bytes,
}

/// As the server's API gives it, with header and payload in base64.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Letter {
    pub(super) fn read(stored: Stored) -> Result<Self, super::Source> {
        let headers = STANDARD.decode(stored.hdrs)?;
        let headers = String::from_utf8_lossy(&headers);
        let header = |name: &str| {
            let value = headers.lines().filter_map(|line| line.split_once(':')).find_map(|(key, value)| {
                key.eq_ignore_ascii_case(name).then(|| value.trim()).filter(|value| !value.is_empty())
            });
            value.map(str::to_owned)
        };
        let (_, stream) = stored.subject.split_once('.').unwrap_or_default();
        Ok(Self {
            number: stored.seq,
            at: OffsetDateTime::parse(&stored.time, &Rfc3339)?,
            stream: stream.to_owned(),
            subject: header(SUBJECT_HEADER),
            id: header("Nats-Msg-Id").map(|id| id.strip_prefix(ID_PREFIX).unwrap_or(&id).to_owned()),
            reason: header(REASON_HEADER),
            attempts: header(ATTEMPTS_HEADER).and_then(|count| count.parse().ok()),
            trace: header(TraceParent::HEADER)
                .and_then(|trace| trace.parse::<TraceParent>().ok())
                .map(|trace| trace.to_string()),
            payload: STANDARD.decode(stored.data)?.into(),
        })
    }

    /// When it was buried, in Unix milliseconds; 0 before 1970.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        u64::try_from(self.at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }

    /// The message id under which it is given back. Its number alone would not do: a server that lost
    /// power may give the last ones again.
    pub(super) fn replay_id(&self) -> String {
        format!("replay:{}:{}", self.number, self.at.unix_timestamp_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[u8]) -> Letter {
        let stored = Stored {
            subject: "dead.EVENTS".to_owned(),
            seq: 7,
            time: "2026-11-21T17:50:47.123456789Z".to_owned(),
            hdrs: STANDARD.encode(headers),
            data: STANDARD.encode(b"{"),
        };
        Letter::read(stored).unwrap()
    }

    #[test]
    fn a_letter_says_what_it_can() {
        let whole = letter(
            b"NATS/1.0\r\nNats-Msg-Id: dead:twitch:1\r\nVigie-Subject: event.twitch.1.command\r\n\
              Vigie-Reason: it: broke\r\nVigie-Attempts: 5\r\n\r\n",
        );
        assert_eq!(whole.id.as_deref(), Some("twitch:1"));
        assert_eq!(whole.subject.as_deref(), Some("event.twitch.1.command"));
        assert_eq!((whole.reason.as_deref(), whole.attempts), (Some("it: broke"), Some(5)));
        assert_eq!((whole.stream.as_str(), whole.at_ms()), ("EVENTS", 1_795_283_447_123));
        assert_eq!(whole.replay_id(), "replay:7:1795283447123456789");
    }

    #[test]
    fn headers_that_are_missing_or_broken_are_left_out() {
        for headers in [&b""[..], b"NATS/1.0\r\n\r\n", b"nonsense", b"\xff\xfe\r\n:\r\n::\r\n"] {
            let bare = letter(headers);
            assert!(bare.subject.is_none() && bare.reason.is_none() && bare.id.is_none(), "{bare:?}");
        }
        let odd = letter(
            b"NATS/1.0\r\nvigie-reason: \xff\xff\r\nVigie-Attempts: many\r\nVigie-Subject:\r\n\
              traceparent: 00-zz\r\n",
        );
        assert_eq!(odd.reason.as_deref(), Some("\u{fffd}\u{fffd}"));
        assert!(odd.attempts.is_none() && odd.subject.is_none() && odd.trace.is_none(), "{odd:?}");
    }
}
