//! A real HTTP receiver that remembers what it was sent.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use healthcheck::Address;
use testkit::eventually;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::world::SOON;

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    status: StatusCode,
}

type Shared = Arc<Mutex<Inner>>;

/// A receiver on a free port.
pub struct Receiver {
    shared: Shared,
    url: String,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let router = Router::new().fallback(take).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, url, task }
    }

    pub fn address(&self, path: &str) -> Option<Address> {
        Some(Address(format!("{}{path}", self.url).parse().unwrap()))
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.shared.lock().unwrap().status = StatusCode::from_u16(status).unwrap();
    }

    pub fn all(&self) -> Vec<Received> {
        self.shared.lock().unwrap().received.clone()
    }

    /// Waits for a request that is wanted.
    pub async fn gets(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        eventually(SOON, || async {
            let all = self.all();
            all.iter().find(|one| wanted(one)).cloned().ok_or(all)
        })
        .await
    }

    /// How many hold this text.
    pub fn count(&self, text: &str) -> usize {
        self.all().iter().filter(|one| one.body.contains(text)).count()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut inner = shared.lock().unwrap();
    inner.received.push(Received { method, uri, headers, body });
    inner.status
}
