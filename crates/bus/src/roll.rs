//! Asking all services again and again how they are, and hearing each answer when it comes, however late.
//! [`Bus::stats`] asks once and waits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use async_nats::{Client, SubscribeError, Subscriber};
use futures_util::StreamExt as _;
use protocol::ServiceStats;
use serde::Deserialize;

use crate::connect::Bus;

/// So many questions are remembered; an answer to an older one is taken as one to the oldest.
const QUESTIONS: usize = 16;

/// Questions to all services, and their answers.
#[derive(Debug)]
pub struct Roll {
    client: Client,
    inbox: String,
    answers: Subscriber,
    asked: VecDeque<Instant>,
    /// How many questions there were before those in `asked`.
    forgotten: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// What the service says of itself.
    pub stats: ServiceStats,
    /// From the question to the answer; `None` of its last word, which it says by itself when it ends.
    pub took: Option<Duration>,
}

impl Bus {
    /// Gets ready to ask all services.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn roll(&self) -> Result<Roll, SubscribeError> {
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(format!("{inbox}.*")).await?;
        let client = self.client.clone();
        Ok(Roll { client, inbox, answers, asked: VecDeque::new(), forgotten: 0 })
    }
}

impl Roll {
    /// Asks all services.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn ask(&mut self) -> Result<(), async_nats::PublishError> {
        if self.asked.len() == QUESTIONS {
            self.asked.pop_front();
            self.forgotten += 1;
        }
        let number = self.forgotten + self.asked.len() as u64;
        self.asked.push_back(Instant::now());
        let reply = format!("{}.{number}", self.inbox);
        self.client.publish_with_reply("$SRV.STATS", reply, Vec::new().into()).await
    }

    /// The next answer; `None` when the connection was drained. Answers of programs that are none of ours are
    /// passed by. Cancel-safe.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let message = self.answers.next().await?;
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
            let place = number.unwrap_or_default().saturating_sub(self.forgotten);
            let asked = usize::try_from(place).ok().and_then(|place| self.asked.get(place));
            if let (Some(asked), Some(stats)) = (asked, stats_in(&message.payload)) {
                return Some(Heard { stats, took: Some(asked.elapsed()) });
            }
            // It is none of the services protocol, so that nobody takes it for an answer.
            if let Ok(stats) = protocol::decode(&message.payload) {
                return Some(Heard { stats, took: None });
            }
        }
    }
}

/// What a service says of itself, in its answer to `$SRV.STATS`. Other programs may use the same protocol on
/// this server; they are not ours to count.
pub(crate) fn stats_in(answer: &[u8]) -> Option<ServiceStats> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        data: Option<ServiceStats>,
    }

    let answer = serde_json::from_slice::<Answer>(answer).ok()?;
    answer.endpoints.into_iter().find_map(|endpoint| endpoint.data)
}
