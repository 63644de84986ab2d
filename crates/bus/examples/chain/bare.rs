//! The same way by the client library alone: two work queues on disk with one consumer each, nothing that
//! survives an outage, no partitions. What the bus adds is measured against it.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, header,
    jetstream::{
        self, Context, Message,
        consumer::{AckPolicy, pull},
        context::PublishAckFuture,
        message::PublishMessage,
        stream::{Config, RetentionPolicy},
    },
};
use futures_util::StreamExt as _;
use protocol::{TraceParent, Versioned};
use tokio::sync::{Semaphore, mpsc};

use super::{Counts, Failed, Failure, OUTBOX, TRACE, WORKING, answer};

/// Messages taken ahead of the one consumer, as many as of all partitions.
const AHEAD: usize = 256;
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10 * 60);
const MAX_BYTES: i64 = 64 << 20;

/// Sends as a gateway does: in order, and some on their way at a time.
pub struct Outbox {
    jetstream: Context,
    acks: mpsc::Sender<PublishAckFuture>,
}

/// Makes the streams, starts the worker and the half of the gateway that takes answers.
pub async fn attach(url: &str, counts: &Arc<Counts>, tasks: &Failed) -> Result<Outbox, Failure> {
    let (gateway, worker) = (connect(url).await?, connect(url).await?);
    let commands = queue(&worker, "BARE_EVENTS", "event.>").await?;
    let actions = queue(&gateway, "BARE_ACTIONS", "action.>").await?;
    tasks.spawn(answer_all(worker, commands, tasks.clone()));
    tasks.spawn(take_all(actions, Arc::clone(counts)));
    let (acks, mut waiting) = mpsc::channel::<PublishAckFuture>(OUTBOX);
    tasks.spawn(async move {
        while let Some(ack) = waiting.recv().await {
            ack.await?;
        }
        Ok(())
    });
    Ok(Outbox { jetstream: gateway, acks })
}

impl Outbox {
    /// Gives a message to be stored; waits while too many are on their way.
    pub async fn send<T: Versioned>(&self, subject: String, id: &str, payload: &T) -> Result<(), Failure> {
        Ok(self.acks.send(publish(&self.jetstream, subject, id, payload).await?).await?)
    }
}

async fn connect(url: &str) -> Result<Context, Failure> {
    Ok(jetstream::new(async_nats::connect(url).await?))
}

async fn queue(jetstream: &Context, name: &str, subjects: &str) -> Result<pull::Stream, Failure> {
    let config = Config {
        name: name.to_owned(),
        subjects: vec![subjects.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        duplicate_window: DUPLICATE_WINDOW,
        max_bytes: MAX_BYTES,
        ..Config::default()
    };
    let consumer = pull::Config {
        durable_name: Some("all".to_owned()),
        ack_policy: AckPolicy::Explicit,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = jetstream.create_stream(config).await?.create_consumer(consumer).await?;
    Ok(consumer.stream().max_messages_per_batch(AHEAD).messages().await?)
}

async fn publish<T: Versioned>(
    jetstream: &Context,
    subject: String,
    id: &str,
    payload: &T,
) -> Result<PublishAckFuture, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, id);
    headers.insert(TraceParent::HEADER, TRACE);
    let message = PublishMessage::build().payload(protocol::encode(payload)?.into()).headers(headers);
    Ok(jetstream.send_publish(subject, message).await?)
}

async fn answer_all(jetstream: Context, mut commands: pull::Stream, tasks: Failed) -> Result<(), Failure> {
    let working = Arc::new(Semaphore::new(WORKING));
    while let Some(command) = commands.next().await {
        let (command, jetstream): (Message, Context) = (command?, jetstream.clone());
        let slot = Arc::clone(&working).acquire_owned().await?;
        tasks.spawn(async move {
            let (subject, action) = answer(&protocol::decode(&command.payload)?)?;
            publish(&jetstream, subject, action.id.as_str(), &action).await?.await?;
            command.ack().await?;
            drop(slot);
            Ok(())
        });
    }
    Ok(())
}

async fn take_all(mut actions: pull::Stream, counts: Arc<Counts>) -> Result<(), Failure> {
    while let Some(action) = actions.next().await {
        let action = action?;
        counts.take(&protocol::decode(&action.payload)?);
        action.ack().await?;
    }
    Ok(())
}
