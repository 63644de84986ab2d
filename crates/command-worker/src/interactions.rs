//! Slash commands, pressed buttons and completion: asked over NATS, answered at once.

use std::{sync::Arc, time::Duration};

use bus::{Request, Requests};
use commands::{Asked, apology};
use protocol::{Interaction, InteractionResponse, ResponseBody, VERSION};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::{
    attempt::{Attempt, shown},
    worker::Worker,
};

/// Interactions of all communities.
pub const SUBJECT: &str = "interaction";
/// The group that shares them: each is asked of one worker.
pub const GROUP: &str = "workers";
/// How many are answered at a time; others wait in the client's buffer.
const RUNNING: usize = 64;
/// How long a command may take. The gateway defers by itself after two seconds.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Answers until the shutdown, then what is still asked of this worker.
pub async fn serve(worker: &Arc<Worker>, mut requests: Requests, shutdown: &CancellationToken) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = running.join_next() => {}
            request = requests.next(), if running.len() < RUNNING => match request {
                Some(request) => drop(running.spawn(answer(Arc::clone(worker), request))),
                // The connection is closed for good.
                None => shutdown.cancelled().await,
            },
        }
    }
    for request in requests.stop().await {
        running.spawn(answer(Arc::clone(worker), request));
    }
    while running.join_next().await.is_some() {}
}

async fn answer(worker: Arc<Worker>, request: Request) {
    let span = info_span!("worker.interaction", otel.kind = "server", event_id = tracing::field::Empty);
    let trace = match request.trace() {
        Some(header) => {
            service::trace::join(&span, header);
            service::trace::header(&span, header)
        }
        None => service::trace::start(&span),
    };
    async {
        let response = respond(&worker, &request, &trace).await;
        let subject = request.incoming.subject.clone();
        if let Err(error) = request.respond(&response).await {
            warn!(subject, %error, "an interaction is not answered");
        }
    }
    .instrument(span)
    .await;
}

async fn respond(worker: &Worker, request: &Request, trace: &str) -> InteractionResponse {
    worker.took(1);
    let interaction = match request.decode::<Interaction>() {
        Ok(interaction) => interaction,
        Err(error) => {
            worker.numbers.undecodable.inc();
            let trace_id = service::trace::id(trace);
            warn!(trace_id, subject = request.incoming.subject, %error, "an interaction cannot be read");
            let content = apology(worker.config.language, shown(trace_id)).content;
            let body = ResponseBody::Reply { content, ephemeral: true };
            return InteractionResponse { v: VERSION, body };
        }
    };
    tracing::Span::current().record("event_id", interaction.id.as_str());
    let call = match worker.engine.of_interaction(&interaction) {
        Asked::Call(call) => call,
        Asked::Answered(response) => {
            let completion = matches!(response.body, ResponseBody::Choices { .. });
            worker.numbers.interactions.with(if completion { "choices" } else { "refused" }).inc();
            return response;
        }
    };
    worker.numbers.interactions.with("command").inc();
    match worker.attempt(&call, COMMAND_LIMIT, trace).await {
        Attempt::Answered(answer) => call.response(answer),
        Attempt::TooSoon => call.response(call.too_soon()),
    }
}
