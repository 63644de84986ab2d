//! `/livez`, `/readyz` and `/metrics` of a service, what else it answers, and the probe that asks for them.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{health::Health, metrics::Metrics};

/// How long a probe waits for the service, in all.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// A probe's answer is one line and a reason.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// What a service answers besides its probes; cheap to clone.
#[derive(Clone, Default)]
pub struct Pages(Arc<OnceLock<Box<Answer>>>);

type Answer = dyn Fn(&str) -> Option<Page> + Send + Sync;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// Such as `text/plain; charset=utf-8`.
    pub content_type: &'static str,
    /// What is said.
    pub body: String,
}

impl Pages {
    /// Answers `GET` of a path, such as `/health`, from now on; `None` is 404. It is asked for every request, so
    /// it must be quick. The first one given holds.
    pub fn answer(&self, answer: impl Fn(&str) -> Option<Page> + Send + Sync + 'static) {
        // A second one has no reader to be told.
        let _ = self.0.set(Box::new(answer));
    }

    /// What is answered to `GET` of a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Page> {
        self.0.get().and_then(|answer| answer(path))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

/// Binds the address.
///
/// # Errors
/// When the port is taken; the message says what to do.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: set VIGIE_HTTP_ADDR to a free address and port")
    })
}

/// Answers until `end`.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    pages: Pages,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let probes = Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(health);
    let numbers = Router::new()
        .route("/metrics", get(async |State(metrics): State<Metrics>| metrics.text()))
        .with_state(metrics);
    let others = Router::new().fallback(get(page)).with_state(pages);
    axum::serve(listener, probes.merge(numbers).merge(others))
        .with_graceful_shutdown(end.cancelled_owned())
        .await
        .context("the probe server ended")
}

async fn page(State(pages): State<Pages>, uri: Uri) -> Response {
    match pages.get(uri.path()) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(page) => {
            let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            // What is true now is not to be kept by anybody on the way.
            let headers = [(header::CONTENT_TYPE, page.content_type), (header::CACHE_CONTROL, "no-store")];
            (status, headers, page.body).into_response()
        }
    }
}

async fn live(State(health): State<Health>) -> (StatusCode, String) {
    let now = health.readiness();
    if now.alive { (StatusCode::OK, "alive\n".to_owned()) } else { unavailable(&now.reason) }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let now = health.readiness();
    match (now.ready, now.reason.as_str()) {
        (true, "") => (StatusCode::OK, "ready\n".to_owned()),
        (true, off) => (StatusCode::OK, format!("ready ({off})\n")),
        (false, reason) => unavailable(reason),
    }
}

fn unavailable(reason: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

/// Asks a running service whether it is ready: what `--probe` does, without a shell or curl in the
/// container.
///
/// # Errors
/// When nobody answers, or the answer is not 200; the message holds the service's own reason.
pub fn probe(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)
        .with_context(|| format!("nobody answers on {address}"))?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.set_write_timeout(Some(PROBE_LIMIT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "not ready: {}", body.trim());
    Ok(())
}
