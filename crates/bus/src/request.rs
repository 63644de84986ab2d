//! Questions that are answered at once, or not at all.

use std::time::Duration;

use async_nats::{RequestErrorKind, SubscribeError};
use futures_util::StreamExt;
use protocol::{DecodeError, Versioned};

use crate::{
    connect::Bus,
    message::{Incoming, trace_headers},
};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody serves this subject now. This is known at once.
    #[error("nobody serves {subject}")]
    NoResponders {
        /// The subject.
        subject: String,
    },
    /// Somebody may have taken it, and did not answer in time.
    #[error("{subject} was not answered within {} ms", within.as_millis())]
    TimedOut {
        /// The subject.
        subject: String,
        /// How long was waited.
        within: Duration,
    },
    /// The question cannot be JSON.
    #[error("the question cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// The answer is of another version or shape.
    #[error("the answer cannot be read")]
    Decode(#[from] DecodeError),
    /// The client could not send it.
    #[error("{subject}: the question was not sent")]
    NotSent {
        /// The subject.
        subject: String,
        /// What the client said.
        source: async_nats::RequestError,
    },
}

/// Why an answer was not given.
#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    /// The answer cannot be JSON.
    #[error("the answer cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// The client refused it.
    #[error("the answer was not sent")]
    Publish(#[from] async_nats::PublishError),
}

/// Questions that come in.
#[derive(Debug)]
pub struct Requests {
    bus: Bus,
    subscriber: async_nats::Subscriber,
}

/// One question.
#[derive(Debug)]
pub struct Request {
    /// What was asked.
    pub incoming: Incoming,
    bus: Bus,
    reply: async_nats::Subject,
}

impl Bus {
    /// Asks, and waits for the answer of one who serves the subject.
    ///
    /// # Errors
    /// [`RequestError`]; that nobody serves the subject is known at once, not after `within`.
    pub async fn request<Q: Versioned, A: Versioned>(
        &self,
        subject: String,
        question: &Q,
        within: Duration,
        trace: Option<&str>,
    ) -> Result<A, RequestError> {
        let payload = protocol::encode(question)?.into();
        let mut request = async_nats::Request::new().payload(payload).timeout(Some(within));
        if let Some(trace) = trace {
            request = request.headers(trace_headers(trace));
        }
        match self.client.send_request(subject.clone(), request).await {
            Ok(answer) => Ok(protocol::decode(&answer.payload)?),
            Err(source) => Err(match source.kind() {
                RequestErrorKind::NoResponders => RequestError::NoResponders { subject },
                RequestErrorKind::TimedOut => RequestError::TimedOut { subject, within },
                _ => RequestError::NotSent { subject, source },
            }),
        }
    }

    /// Serves a subject as one of `group`: each question goes to one of them.
    ///
    /// # Errors
    /// When the subject or group is none, or the connection is closed.
    pub async fn serve(&self, subject: &str, group: &str) -> Result<Requests, SubscribeError> {
        let subscriber = self.client.queue_subscribe(subject.to_owned(), group.to_owned()).await?;
        Ok(Requests { bus: self.clone(), subscriber })
    }
}

impl Requests {
    /// The next question; `None` when the connection was drained. A message that expects no answer is
    /// passed by.
    pub async fn next(&mut self) -> Option<Request> {
        loop {
            let mut message = self.subscriber.next().await?;
            if let Some(reply) = message.reply.take() {
                let bus = self.bus.clone();
                return Some(Request { incoming: Incoming::from_nats(message), bus, reply });
            }
        }
    }

    /// Takes no more questions; those already here are still given by [`next`](Self::next).
    pub async fn stop(&mut self) {
        // An error says that the connection is closed, and then no more questions come either.
        let _ = self.subscriber.drain().await;
    }
}

impl Request {
    /// Reads the question.
    ///
    /// # Errors
    /// [`DecodeError`] when it is of another version or shape.
    pub fn decode<T: Versioned>(&self) -> Result<T, DecodeError> {
        self.incoming.decode()
    }

    /// Its `traceparent`, when it has a valid one.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        self.incoming.trace.as_deref()
    }

    /// Answers it.
    ///
    /// # Errors
    /// [`RespondError`] when the answer cannot be sent.
    pub async fn respond<T: Versioned>(self, answer: &T) -> Result<(), RespondError> {
        let payload = protocol::encode(answer)?.into();
        Ok(self.bus.client.publish(self.reply, payload).await?)
    }
}
