//! One connection to the gateway, and never a second one: when the other side hangs up without a close frame,
//! twilight connects anew at once and for ever, by itself, without a pause, and to another URL than it was told.

use std::{future::poll_fn, task::Poll};

use futures_util::StreamExt;
use twilight_gateway::{CloseFrame, Config, Message, Shard, ShardId, ShardState, error::ReceiveMessageError};

use crate::identify::Granted;

/// Frames that are read past before a connection is left; there is rarely one.
const MAX_PARTING_FRAMES: usize = 4096;
/// How often something may happen until a connection stands, be it name, socket, TLS or HTTP. What needs more
/// was connected, hung up on, and connected again in between.
const MAX_STEPS: u32 = 64;

/// A connection that is being made, stands, or is over.
#[derive(Debug)]
pub struct Link {
    shard: Shard<Granted>,
    stands: bool,
    steps: u32,
}

impl Link {
    /// A connection that is made when it is first asked for something.
    #[must_use]
    pub fn new(id: ShardId, config: Config<Granted>) -> Self {
        Self { shard: Shard::with_config(id, config), stands: false, steps: 0 }
    }

    /// What comes next; `None` when the other side has hung up. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Message, ReceiveMessageError>> {
        poll_fn(|cx| {
            let polled = self.shard.poll_next_unpin(cx);
            if polled.is_ready() {
                self.stands = true;
                return polled;
            }
            if !matches!(self.shard.state(), ShardState::Disconnected { .. }) {
                self.stands = true;
                return Poll::Pending;
            }
            self.steps += 1;
            if self.stands || self.steps > MAX_STEPS { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// How long the last heartbeat took to be acknowledged, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self) -> Option<f64> {
        self.shard.latency().recent().first().map(|last| last.as_secs_f64() * 1000.0)
    }

    /// Closes with 4000, which keeps the session, and goes. The answer is not waited for.
    pub async fn part(mut self) {
        self.shard.close(CloseFrame::RESUME);
        poll_fn(|cx| {
            for _ in 0..MAX_PARTING_FRAMES {
                match self.shard.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(Message::Text(_)))) => {}
                    Poll::Ready(_) | Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
