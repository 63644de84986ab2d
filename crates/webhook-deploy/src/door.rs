//! What becomes of a request: the checks, in the order in which they cost.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method, Request,
    body::{Body as _, Incoming},
    header::CONTENT_TYPE,
    http::request::Parts,
};
use service::clock::unix_ms;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::{
    answer::Answer,
    hooks::Hook,
    limits::{Bucket, Inside, Rate, Sources},
    network::{self, Networks},
    numbers::Numbers,
    payload::Meaning,
    place::{Delivery, Means, Place},
    signature::one,
};

/// Where hooks are.
const PATH: &str = "/hooks/";
/// The longest body, in bytes. A push of a thousand commits has about one.
const BODY_MAX: usize = 2 * 1024 * 1024;
/// What all bodies together may have, in bytes. One source has half of it: it may send eight at once.
const BODIES_MAX: usize = 16 * BODY_MAX;
/// How long a body may take.
pub const BODY_LIMIT: Duration = Duration::from_secs(10);
/// How much of a path is shown, in characters.
const PATH_SHOWN: usize = 80;
/// Lines in the log about what was refused; the rest is in the numbers.
const LINES: Rate = Rate { burst: 20, every: Duration::from_secs(6) };

/// What all requests share.
#[derive(Debug)]
pub struct Door {
    hooks: HashMap<String, Arc<Place>>,
    proxies: Networks,
    sources: Arc<Sources>,
    bodies: Semaphore,
    means: Means,
    numbers: Numbers,
    lines: Mutex<Bucket>,
    /// Whether somebody who is no proxy of ours was seen to forward.
    told_of_proxy: AtomicBool,
}

impl Door {
    /// For these hooks.
    #[must_use]
    pub fn new(hooks: Vec<Hook>, proxies: Networks, means: Means, numbers: Numbers) -> Self {
        Self {
            hooks: hooks.into_iter().map(|hook| (hook.id.clone(), Arc::new(Place::new(hook)))).collect(),
            proxies,
            sources: Arc::default(),
            bodies: Semaphore::new(BODIES_MAX),
            means,
            numbers,
            lines: Mutex::new(Bucket::new(LINES, Instant::now())),
            told_of_proxy: AtomicBool::new(false),
        }
    }

    /// Takes a place for a connection, which is of the source itself where it is no proxy's.
    ///
    /// # Errors
    /// When the source has too many.
    pub fn connect(&self, peer: IpAddr) -> Result<Option<Inside>, Answer> {
        let peer = peer.to_canonical();
        if self.proxies.contains(peer) {
            return Ok(None);
        }
        self.sources.enter(peer, Instant::now()).map(Some).ok_or(Answer::TooOften)
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let source = self.source(&parts.headers, peer);
        let from = source.as_ref().map_or(peer, |(source, _)| *source);
        let answer = match self.admit(&parts, body, source).await {
            Ok((place, delivery)) => place.take(delivery, &self.means).await,
            Err(answer) => answer,
        };
        self.numbers.answered(answer, started.elapsed());
        if !matches!(answer, Answer::Accepted | Answer::Already | Answer::Ignored | Answer::Pong) {
            let (path, name) = (parts.uri.path(), answer.name());
            if self.lines.lock().unwrap_or_else(PoisonError::into_inner).take(started) {
                let path = path.chars().take(PATH_SHOWN).collect::<String>();
                warn!(answer = name, source = %from, path = ?path, "not taken");
            } else {
                debug!(answer = name, source = %from, "not taken");
            }
        }
        answer
    }

    /// All checks; what does not pass one is answered at once.
    async fn admit(
        &self,
        parts: &Parts,
        body: Incoming,
        source: Result<(IpAddr, Option<Inside>), Answer>,
    ) -> Result<(Arc<Place>, Delivery), Answer> {
        let (source, _inside) = source?;
        if !self.sources.may_ask(source, Instant::now()) {
            return Err(Answer::TooOften);
        }
        let id = parts.uri.path().strip_prefix(PATH);
        let place = id.and_then(|id| self.hooks.get(id)).ok_or(Answer::NoHook)?;
        let hook = &place.hook;
        if parts.method != Method::POST {
            return Err(Answer::Method);
        }
        if hook.networks.as_ref().is_some_and(|networks| !networks.contains(source)) {
            return Err(Answer::NotAllowed);
        }
        if !is_json(&parts.headers) {
            return Err(Answer::Type);
        }
        let (body, _room) = self.read(body).await?;
        let verified = hook.forge.verify(&hook.secret, &parts.headers, &body, unix_ms() / 1000)?;
        let event = hook.forge.event_header().map(|name| one(&parts.headers, name)).unwrap_or(Ok(""));
        let event = event.map_err(|_| Answer::Malformed)?;
        match Meaning::of(hook, event, &body) {
            Meaning::News { event, commit } => {
                Ok((Arc::clone(place), Delivery { source, verified, event, commit }))
            }
            Meaning::Ping => {
                info!(hook = hook.id, %source, "the forge reaches this hook");
                Err(Answer::Pong)
            }
            Meaning::Ignored => Err(Answer::Ignored),
            Meaning::OtherRepository => Err(Answer::OtherRepository),
            Meaning::Malformed => Err(Answer::Malformed),
        }
    }

    /// Who it is from. What comes by a proxy takes a place here, as its connection is the proxy's.
    fn source(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(IpAddr, Option<Inside>), Answer> {
        let peer = peer.to_canonical();
        let source = network::source(peer, headers, &self.proxies).map_err(|_| Answer::NoSource)?;
        if self.proxies.contains(peer) {
            let inside = self.sources.enter(source, Instant::now()).ok_or(Answer::TooOften)?;
            return Ok((source, Some(inside)));
        }
        if network::is_forwarded(headers) && !self.told_of_proxy.swap(true, Ordering::Relaxed) {
            warn!(
                %peer,
                "it says on whose behalf it comes, and is not believed: if it is your proxy, name it in WEBHOOK_PROXIES"
            );
        }
        Ok((source, None))
    }

    /// Reads a body, with the room that it takes: as much as has come, since whoever only says that much is to come
    /// could keep the others out.
    async fn read(&self, mut body: Incoming) -> Result<(Vec<u8>, SemaphorePermit<'_>), Answer> {
        let length = body.size_hint().exact().ok_or(Answer::NoLength)?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= BODY_MAX).ok_or(Answer::TooLarge)?;
        let take = |bytes: usize| {
            let bytes = u32::try_from(bytes).map_err(|_| Answer::TooLarge)?;
            self.bodies.try_acquire_many(bytes).map_err(|_| Answer::Busy)
        };
        let read = async {
            // Pages that nothing was written to take no memory.
            let (mut bytes, mut room) = (Vec::with_capacity(length), take(0)?);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Answer::Broken)?;
                let data = frame.data_ref().ok_or(Answer::Broken)?;
                room.merge(take(data.len())?);
                bytes.extend_from_slice(data);
            }
            Ok((bytes, room))
        };
        timeout(BODY_LIMIT, read).await.unwrap_or(Err(Answer::TooSlow))
    }
}

/// What the forge sends as a form is the same in other words, which nobody signs.
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
