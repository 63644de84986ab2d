//! `GET /sandbox/feed`: what becomes visible in the chats, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Control;
use crate::feed::Item;

/// A comment goes out this often, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub fn router() -> Router<Control> {
    Router::new().route("/sandbox/feed", get(follow))
}

async fn follow(State(control): State<Control>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let following = (control.feed.watch(), control.shutdown);
    Sse::new(stream::unfold(following, next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

type Following = (broadcast::Receiver<Item>, CancellationToken);

async fn next((mut feed, shutdown): Following) -> Option<(Result<Event, Infallible>, Following)> {
    loop {
        let item = tokio::select! {
            () = shutdown.cancelled() => return None,
            item = feed.recv() => item,
        };
        let event = match item {
            Ok(item) => match Event::default().json_data(&item) {
                Ok(event) => event,
                Err(error) => {
                    tracing::error!(%error, "an item of the feed has no JSON form");
                    continue;
                }
            },
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        return Some((Ok(event), (feed, shutdown)));
    }
}
