//! Questions that are answered at once, or not at all.

use std::time::Duration;

use async_nats::{RequestErrorKind, SubscribeError};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt};
use protocol::{DecodeError, Versioned};
use tokio::{sync::watch, task::unconstrained, time::timeout};
use tracing::warn;

use crate::{
    connect::{Bus, Link},
    message::{Incoming, trace_headers},
};

/// Questions that may be on their way to one who stops.
const ON_THE_WAY: usize = 64;
/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(1);

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

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Questions that come in.
#[derive(Debug)]
pub struct Requests {
    bus: Bus,
    subscriber: async_nats::Subscriber,
    /// A subject that is served, and of which nobody expects an answer.
    idle: String,
    /// All that came, also what was passed by.
    came: usize,
    /// Changed when the connection was lost.
    link: watch::Receiver<Link>,
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

    /// Serves all subjects below `subject`, such as `interaction`, as one of `group`: each question goes to one
    /// of them.
    ///
    /// # Errors
    /// When the subject or group is none, or the connection is closed.
    pub async fn serve(&self, subject: &str, group: &str) -> Result<Requests, SubscribeError> {
        let mut link = self.link();
        link.mark_unchanged();
        let subscriber = self.client.queue_subscribe(format!("{subject}.>"), group.to_owned()).await?;
        Ok(Requests { bus: self.clone(), subscriber, idle: format!("{subject}.none"), came: 0, link })
    }
}

impl Requests {
    /// The next question; `None` when the connection was drained. A message that expects no answer is
    /// passed by.
    pub async fn next(&mut self) -> Option<Request> {
        loop {
            let message = self.subscriber.next().await?;
            if let Some(request) = self.read(message) {
                return Some(request);
            }
        }
    }

    fn read(&mut self, message: async_nats::Message) -> Option<Request> {
        self.came += 1;
        Request::read(&self.bus, message)
    }

    /// Takes no more questions, and gives those that had been asked of us by then. While NATS is away, or
    /// does not answer within a second, or the connection was lost since, some may be missing: whoever asked is
    /// told by the gateway in the end.
    pub async fn stop(mut self) -> Vec<Request> {
        let mut left = Vec::new();
        while let Some(Some(message)) = unconstrained(self.subscriber.next()).now_or_never() {
            left.extend(self.read(message));
        }
        // A client that only ceases to listen loses what the server has sent meanwhile. Both can count: the
        // subscription ends after so many messages more, and is filled up to that. They go to all of the
        // group, who pass them by, until enough have come here. But a server counts from each connection on,
        // so that after a lost one this cannot be done.
        let end = async {
            if self.link.has_changed()? {
                self.subscriber.drain().await?;
                while let Some(message) = self.subscriber.next().await {
                    left.extend(self.read(message));
                }
                return Ok(());
            }
            self.subscriber.unsubscribe_after((self.came + ON_THE_WAY) as u64).await?;
            loop {
                for _ in 0..ON_THE_WAY {
                    self.bus.client.publish(self.idle.clone(), Bytes::new()).await?;
                }
                self.bus.round_trip().await;
                while let Some(next) = unconstrained(self.subscriber.next()).now_or_never() {
                    let Some(message) = next else { return Ok::<_, Source>(()) };
                    left.extend(self.read(message));
                }
            }
        };
        match timeout(STOP_LIMIT, end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "questions that were on their way are lost"),
            Err(_) => warn!("NATS does not answer; questions that were on their way are lost"),
        }
        left
    }
}

impl Request {
    /// `None` where nobody expects an answer.
    pub(crate) fn read(bus: &Bus, mut message: async_nats::Message) -> Option<Self> {
        let reply = message.reply.take()?;
        Some(Self { incoming: Incoming::from_nats(message), bus: bus.clone(), reply })
    }

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
