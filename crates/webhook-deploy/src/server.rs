//! Connections: how many, how long, and one request on each.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    door::{BODY_LIMIT, Door},
    numbers::{BROKEN, CROWDED, Numbers, SLOW},
};

/// Connections that are served at once; more are closed.
const CONNECTIONS_MAX: usize = 128;
/// The head of a request, in bytes, lines, and time.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// What of a request is held beside its body, in bytes.
const BUFFER_MAX: usize = 2 * HEAD_MAX;
/// How long a connection may last in all.
const CONNECTION_LIMIT: Duration = Duration::from_secs(20);
/// How much may follow an answer, in bytes and time, before the connection is cut: whoever is cut while sending does
/// not see the answer.
const REST_MAX: u64 = 4 * 1024 * 1024;
const REST_LIMIT: Duration = Duration::from_secs(1);
/// After the system could not give a connection: it is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests that are in work may take at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Serves until `shutdown`, and then what is in work.
pub async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    numbers: Numbers,
    work: TaskTracker,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let cut = CancellationToken::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) => {
                    warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        numbers.connections.inc();
        let place = Arc::clone(&room).try_acquire_owned();
        let (Ok(place), Ok(inside)) = (place, door.connect(peer)) else {
            numbers.closed.with(CROWDED).inc();
            continue;
        };
        let (door, numbers, cut) = (Arc::clone(&door), numbers.clone(), cut.clone());
        work.spawn(async move {
            let serving = timeout(CONNECTION_LIMIT, connection(stream, peer, &door));
            let served = cut.run_until_cancelled(serving).await.unwrap_or(Ok(None));
            if let Some(reason) = served.unwrap_or(Some(SLOW)) {
                numbers.closed.with(reason).inc();
            }
            drop((place, inside));
        });
    }
    drop(listener);
    work.close();
    if timeout(DRAIN_LIMIT, work.wait()).await.is_err() {
        warn!("requests that are still in work are cut off");
        cut.cancel();
    }
}

/// Serves one request; says why when there was none.
async fn connection(stream: TcpStream, peer: IpAddr, door: &Door) -> Option<&'static str> {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(door.answer(request, peer).await.response())
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(BUFFER_MAX)
        .keep_alive(false);
    match builder.serve_connection(TokioIo::new(stream), service).without_shutdown().await {
        Ok(parts) => {
            // Whoever goes on sending is cut off then, and has had the answer.
            let _ = timeout(REST_LIMIT, see_out(parts.io.into_inner())).await;
            None
        }
        Err(error) if error.is_timeout() => Some(SLOW),
        Err(_) => Some(BROKEN),
    }
}

async fn see_out(mut stream: TcpStream) -> std::io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(REST_MAX), &mut tokio::io::sink()).await
}

const _: () = assert!(HEAD_LIMIT.as_secs() + BODY_LIMIT.as_secs() < CONNECTION_LIMIT.as_secs());
