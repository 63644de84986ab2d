//! Dead letters: what failed for good and waits in `DEAD` until a person looks at it. They are read,
//! given back and removed here; [`Delivery::bury`](crate::Delivery::bury) writes them. What a payload
//! means is not known here.

pub(crate) mod letter;

use async_nats::{
    HeaderMap, header,
    jetstream::{
        ErrorCode,
        context::{PublishError, RequestErrorKind},
        message::PublishMessage,
        response::Response,
    },
};
use protocol::{TraceParent, subject};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use letter::Letter;

use crate::{
    connect::Bus,
    store::is_final,
    topology::{DEAD_STREAM, Storage, Stream},
};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why nothing can be said or done about dead letters.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The stream is not there.
    #[error("NATS has no stream {DEAD_STREAM}: run `vigie provision`")]
    NoStream,
    /// NATS did not answer.
    #[error("NATS did not answer about dead letters: {0}")]
    NoAnswer(RequestErrorKind),
    /// NATS refused.
    #[error("NATS refused: {0}")]
    Refused(String),
    /// NATS answered something else than a stored message.
    #[error("NATS answered what cannot be read")]
    Answer(#[source] Source),
}

/// Why a letter was not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Nothing says where it came from.
    #[error("dead letter {number} does not say which subject it came from")]
    NoSubject {
        /// Which letter.
        number: u64,
    },
    /// It says that it came from where nothing is stored.
    #[error("dead letter {number} says that it came from {subject:?}, which is of no stream")]
    Foreign {
        /// Which letter.
        number: u64,
        /// What it says.
        subject: String,
    },
    /// It never fits.
    #[error("dead letter {number} is larger than NATS takes")]
    TooLarge {
        /// Which letter.
        number: u64,
    },
    /// It was not acknowledged, and may be stored all the same. The letter is still there.
    #[error("dead letter {number} was not stored in {} again, and is kept", .stream.name())]
    NotStored {
        /// Which letter.
        number: u64,
        /// Where it should have gone.
        stream: Stream,
        /// What the server or the client said.
        source: PublishError,
    },
    /// It is stored again, but the letter may still be there.
    #[error("dead letter {number} is in {} again, but was not removed", .stream.name())]
    NotRemoved {
        /// Which letter.
        number: u64,
        /// Where it went.
        stream: Stream,
        /// What the server said.
        source: DeadError,
    },
}

impl ReplayError {
    /// Whether it is about this letter alone, so that others may still be given back.
    #[must_use]
    pub const fn is_of_the_letter(&self) -> bool {
        matches!(self, Self::NoSubject { .. } | Self::Foreign { .. } | Self::TooLarge { .. })
    }
}

/// How many letters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// So many.
    pub count: u64,
    /// The number that was given last. What is buried from now on has a higher one.
    pub last: u64,
}

/// Where a letter went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The stream that has it again.
    pub stream: Stream,
    /// Whether it had it already, from another replay of the same letter: then it was not stored twice.
    pub already: bool,
}

/// All dead letters, or those of one stream. One letter is held at a time, however many there are.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    bus: Bus,
    filter: String,
}

impl Bus {
    /// The dead letters of a stream, or of all.
    #[must_use]
    pub fn dead_letters(&self, stream: Option<Stream>) -> DeadLetters {
        DeadLetters { bus: self.clone(), filter: subject::dead(stream.map_or("*", Stream::name)) }
    }
}

impl DeadLetters {
    /// How many there are.
    ///
    /// # Errors
    /// [`DeadError`] when NATS does not say.
    pub async fn tally(&self) -> Result<Tally, DeadError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            last_seq: u64,
            #[serde(default)]
            subjects: std::collections::BTreeMap<String, u64>,
        }
        let info: Info = self.ask("STREAM.INFO", &json!({ "subjects_filter": self.filter })).await?;
        Ok(Tally { count: info.state.subjects.values().sum(), last: info.state.last_seq })
    }

    /// The letter with this number, or else the first after it.
    ///
    /// # Errors
    /// [`DeadError`] when NATS does not say.
    pub async fn next(&self, number: u64) -> Result<Option<Letter>, DeadError> {
        self.read(&json!({ "seq": number.max(1), "next_by_subj": self.filter })).await
    }

    /// The letter with this number, whatever its stream; `None` when there is none.
    ///
    /// # Errors
    /// [`DeadError`] when NATS does not say.
    pub async fn get(&self, number: u64) -> Result<Option<Letter>, DeadError> {
        self.read(&json!({ "seq": number.max(1) })).await
    }

    /// The number up to which letters were buried before a time, in Unix milliseconds by the server's
    /// clock; 0 when none was. It may be one that no letter has any more.
    ///
    /// # Errors
    /// [`DeadError`] when NATS does not say.
    pub async fn last_before(&self, at_ms: u64) -> Result<u64, DeadError> {
        // Letters are stored in the order of time: halve what is in question until nothing is.
        let (mut from, mut to) = (1, self.tally().await?.last + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.next(middle).await? {
                Some(letter) if letter.at_ms() < at_ms => from = letter.number + 1,
                _ => to = middle,
            }
        }
        Ok(from - 1)
    }

    /// Stores a letter's message where it came from, and removes the letter once that is acknowledged.
    /// `mended` is what is stored instead of the letter's own payload.
    ///
    /// The message has an id of its own, since the duplicate window may remember the one it had before.
    /// The id follows from the letter, so that of two replays of one letter within that window only one
    /// is stored.
    ///
    /// # Errors
    /// [`ReplayError`]; unless it says otherwise the letter is still there.
    pub async fn replay(&self, letter: &Letter, mended: Option<Vec<u8>>) -> Result<Replayed, ReplayError> {
        let number = letter.number;
        let subject = letter.subject.clone().ok_or(ReplayError::NoSubject { number })?;
        let Some(stream) = stream_of(&subject) else {
            return Err(ReplayError::Foreign { number, subject });
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, letter.replay_id().as_str());
        headers.insert(header::NATS_EXPECTED_STREAM, stream.name());
        if let Some(trace) = &letter.trace {
            headers.insert(TraceParent::HEADER, trace.as_str());
        }
        let payload = mended.map_or_else(|| letter.payload.clone(), Into::into);
        let message = PublishMessage::build().payload(payload).headers(headers);
        let stored = match self.bus.jetstream.send_publish(subject, message).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        let ack = stored.map_err(|source| {
            if is_final(&source) {
                return ReplayError::TooLarge { number };
            }
            ReplayError::NotStored { number, stream, source }
        })?;
        // Somebody else who gave the same letter back may have removed it.
        let removed = self.remove(number).await;
        removed.map_err(|source| ReplayError::NotRemoved { number, stream, source })?;
        Ok(Replayed { stream, already: ack.duplicate })
    }

    /// Removes a letter for good; `false` when there is none with this number.
    ///
    /// # Errors
    /// [`DeadError`] when NATS did not confirm it; it may be gone all the same.
    pub async fn remove(&self, number: u64) -> Result<bool, DeadError> {
        // Writing over its bytes on the disk as well takes the server ten times as long.
        let asked = json!({ "seq": number.max(1), "no_erase": true });
        match self.ask::<Value>("STREAM.MSG.DELETE", &asked).await {
            Ok(_) => Ok(true),
            Err(DeadError::Refused(_)) if self.get(number).await?.is_none() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes all letters up to and with this number for good; says how many those were.
    ///
    /// # Errors
    /// [`DeadError`] when NATS did not confirm it; they may be gone all the same.
    pub async fn remove_through(&self, number: u64) -> Result<u64, DeadError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        // The server takes 0 for "all".
        if number == 0 {
            return Ok(0);
        }
        let asked = json!({ "filter": self.filter, "seq": number.saturating_add(1) });
        let done: Purged = self.ask("STREAM.PURGE", &asked).await?;
        Ok(done.purged)
    }

    /// Read as JSON, not as a message: a header that is no UTF-8 would end the client's connection.
    async fn read(&self, asked: &Value) -> Result<Option<Letter>, DeadError> {
        #[derive(Deserialize)]
        struct Found {
            message: letter::Stored,
        }
        match self.request("STREAM.MSG.GET", asked).await? {
            Response::Ok(Found { message }) => Letter::read(message).map(Some).map_err(DeadError::Answer),
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
            Response::Err { error } => Err(refused(&error)),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, verb: &str, asked: &Value) -> Result<T, DeadError> {
        match self.request(verb, asked).await? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(refused(&error)),
        }
    }

    async fn request<T: DeserializeOwned>(
        &self,
        verb: &str,
        asked: &Value,
    ) -> Result<Response<T>, DeadError> {
        let subject = format!("{verb}.{DEAD_STREAM}");
        let answer = self.bus.jetstream.request(subject, asked).await;
        answer.map_err(|error| DeadError::NoAnswer(error.kind()))
    }
}

fn refused(error: &async_nats::jetstream::Error) -> DeadError {
    if error.error_code() == ErrorCode::STREAM_NOT_FOUND {
        DeadError::NoStream
    } else {
        DeadError::Refused(error.to_string())
    }
}

/// Which stream a subject is of. Anybody who may write a letter could name any subject, such as one that
/// commands the server; only those of our streams are published to.
fn stream_of(subject: &str) -> Option<Stream> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '*' | '>');
    if !subject.split('.').all(|token| !token.is_empty() && token.chars().all(plain)) {
        return None;
    }
    let takes = |stream: &Stream| {
        let patterns = stream.config(Storage::default()).subjects;
        patterns.iter().any(|pattern| subject::is_under(pattern, subject))
    };
    Stream::ALL.into_iter().find(takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subjects_of_our_streams_are_known() {
        for (subject, stream) in [
            ("event.discord.1.command", Stream::Events),
            ("chatter.twitch", Stream::Chatter),
            ("action.discord.3.1", Stream::ActionsDiscord),
            ("action.twitch.15.1", Stream::ActionsTwitch),
        ] {
            assert_eq!(stream_of(subject), Some(stream), "{subject}");
        }
        for subject in [
            "",
            "event",
            "event.",
            "event.*.1.command",
            "event.discord.>",
            "event.a b",
            "event.a\r\nPUB b",
            "chatter.twitch.more",
            "action.irc.1.1",
            "dead.EVENTS",
            "$JS.API.STREAM.DELETE.EVENTS",
            "control.deploy.request",
        ] {
            assert_eq!(stream_of(subject), None, "{subject:?}");
        }
    }
}
