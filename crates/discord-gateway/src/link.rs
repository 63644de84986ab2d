//! One connection to the gateway, and never a second one: when the other side hangs up without a close frame,
//! twilight connects anew at once and for ever, by itself, without a pause, and to another URL than it was told.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{StreamExt, task::AtomicWaker};
use tokio::task::coop;
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
    bell: Arc<Bell>,
}

/// Tells whether the connection asked to be looked at, or something else of the same task did.
#[derive(Debug, Default)]
struct Bell {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Link {
    /// A connection that is made when it is first asked for something.
    #[must_use]
    pub fn new(id: ShardId, config: Config<Granted>) -> Self {
        Self { shard: Shard::with_config(id, config), stands: false, steps: 0, bell: Arc::default() }
    }

    /// What comes next; `None` when the other side has hung up. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Message, ReceiveMessageError>> {
        let waker = Waker::from(self.bell.clone());
        poll_fn(|cx| {
            self.bell.task.register(cx.waker());
            // What used up the task's budget makes the connection ask again without having done anything.
            let is_step = coop::has_budget_remaining() && self.bell.rang.swap(false, Ordering::AcqRel);
            let polled = self.shard.poll_next_unpin(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                self.stands = true;
                return polled;
            }
            if !matches!(self.shard.state(), ShardState::Disconnected { .. }) {
                self.stands = true;
                return Poll::Pending;
            }
            self.steps += u32::from(is_step);
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::net::TcpListener;
    use twilight_gateway::{ConfigBuilder, Intents};

    use super::*;

    #[tokio::test]
    async fn what_else_the_task_does_is_no_step_of_a_connection() {
        service::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let config = ConfigBuilder::new("token".to_owned(), Intents::empty()).queue(Granted::default());
        let mut link = Link::new(ShardId::ONE, config.proxy_url(url).build());
        for _ in 0..=MAX_STEPS * 2 {
            assert!(link.next().now_or_never().is_none());
        }
        let connected = async {
            tokio::select! { _ = link.next() => panic!("it is over"), taken = listener.accept() => taken }
        };
        connected.await.unwrap();
    }
}
