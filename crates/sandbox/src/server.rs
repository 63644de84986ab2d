//! The running sandbox: its four listeners, its parts, and its end.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    control::{self, Control},
    counters::Counters,
    discord::{self, Discord},
    feed::Feed,
    listen::Bounded,
    page,
    twitch::{self, Transport, Twitch},
};

/// How long open requests may take to end when the sandbox stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Largest request body, in bytes; a replayed chat has its own bound.
const MOST_BODY_BYTES: usize = 1 << 20;

/// Where a sandbox listens and how its platforms are set up. The default is loopback on free ports.
#[derive(Clone, Debug)]
pub struct Options {
    /// Page, control API, Discord REST and gateway, Helix, OAuth, EventSub.
    pub http: SocketAddr,
    /// Twitch chat over plain TCP.
    pub irc: SocketAddr,
    /// Twitch chat over TLS.
    pub irc_tls: SocketAddr,
    /// Twitch chat over WebSocket.
    pub irc_ws: SocketAddr,
    /// The base of the URLs that clients are told, when they reach the http listener by another name,
    /// such as `http://sandbox:7700` between containers.
    pub public_url: Option<String>,
    /// The local Discord.
    pub discord: discord::Options,
    /// The local Twitch.
    pub twitch: twitch::Options,
}

impl Default for Options {
    fn default() -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            http: free,
            irc: free,
            irc_tls: free,
            irc_ws: free,
            public_url: None,
            discord: discord::Options::default(),
            twitch: twitch::Options::default(),
        }
    }
}

/// A sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on; the sentence says what to do about it.
    #[error("cannot listen on {address} for {purpose}: {}", advice(source, flag))]
    Bind {
        /// What the address is for.
        purpose: &'static str,
        /// The flag of the binary that chooses it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

fn advice(source: &io::Error, flag: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use, perhaps by another sandbox; end that program, choose another port with {flag} ADDRESS:PORT, or take any free ones with --port 0"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "no permission; ports below 1024 are kept for root, choose a higher one with {flag} ADDRESS:PORT"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; choose one of its own with {flag} ADDRESS:PORT")
        }
        _ => "the operating system refused".to_owned(),
    }
}

/// A running local Discord and Twitch. Dropping it ends it abruptly; [`Sandbox::stop`] ends it in order.
pub struct Sandbox {
    url: String,
    addresses: Addresses,
    discord: Discord,
    twitch: Twitch,
    counters: Counters,
    feed: Feed,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// Where the listeners really are; a port 0 has become a real one.
struct Addresses {
    http: SocketAddr,
    irc: SocketAddr,
    irc_tls: SocketAddr,
    irc_ws: SocketAddr,
}

impl Sandbox {
    /// Binds every listener and serves until [`Sandbox::stop`].
    ///
    /// # Errors
    /// [`StartError::Bind`] when an address cannot be listened on; nothing runs then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let http = bind(options.http, "http", "--http").await?;
        let irc = bind(options.irc, "Twitch chat", "--irc").await?;
        let irc_tls = bind(options.irc_tls, "Twitch chat over TLS", "--irc-tls").await?;
        let irc_ws = bind(options.irc_ws, "Twitch chat over WebSocket", "--irc-ws").await?;
        let addresses = Addresses { http: http.1, irc: irc.1, irc_tls: irc_tls.1, irc_ws: irc_ws.1 };

        let (counters, feed) = (Counters::default(), Feed::default());
        let discord = Discord::new(counters.clone(), feed.clone(), options.discord);
        let twitch = Twitch::new(counters.clone(), feed.clone(), options.twitch);
        let url = options.public_url.unwrap_or_else(|| url_of(addresses.http));
        let sandbox = Self {
            url,
            addresses,
            discord,
            twitch,
            counters,
            feed,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        sandbox.discord.set_base_url(&sandbox.url);
        sandbox.twitch.set_base_url(&sandbox.url);
        sandbox.serve_http(http.0);
        for (listener, transport) in
            [(irc.0, Transport::Plain), (irc_tls.0, Transport::Tls), (irc_ws.0, Transport::WebSocket)]
        {
            let (twitch, shutdown) = (sandbox.twitch.clone(), sandbox.shutdown.clone());
            sandbox.tasks.spawn(async move { twitch.serve_irc(listener, transport, shutdown).await });
        }
        Ok(sandbox)
    }

    fn serve_http(&self, listener: TcpListener) {
        let control = Control::new(
            self.discord.clone(),
            self.twitch.clone(),
            self.counters.clone(),
            self.feed.clone(),
            self.shutdown.clone(),
            self.tasks.clone(),
        );
        let router = Router::new()
            .merge(page::router())
            .merge(self.discord.router())
            .merge(self.twitch.router())
            .merge(control::router(control))
            .merge(probes(self.shutdown.clone()))
            .layer(DefaultBodyLimit::max(MOST_BODY_BYTES));
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let serve = axum::serve(Bounded::new(listener), router)
                .with_graceful_shutdown(shutdown.clone().cancelled_owned());
            let drained = async {
                shutdown.cancelled().await;
                tokio::time::sleep(DRAIN).await;
            };
            tokio::select! {
                served = serve => if let Err(error) = served {
                    tracing::error!(%error, "the http listener ended");
                },
                () = drained => tracing::debug!("some requests were still open"),
            }
        });
    }

    /// `http://127.0.0.1:PORT`: the page, and the base of every HTTP and WebSocket API.
    #[must_use]
    pub fn http_url(&self) -> String {
        self.url.clone()
    }

    /// Twitch chat over plain TCP.
    #[must_use]
    pub fn irc_addr(&self) -> SocketAddr {
        self.addresses.irc
    }

    /// Twitch chat over TLS, with the certificate of [`Twitch::tls_certificate_pem`].
    #[must_use]
    pub fn irc_tls_addr(&self) -> SocketAddr {
        self.addresses.irc_tls
    }

    /// Twitch chat over WebSocket.
    #[must_use]
    pub fn irc_ws_addr(&self) -> SocketAddr {
        self.addresses.irc_ws
    }

    /// The local Discord.
    #[must_use]
    pub fn discord(&self) -> &Discord {
        &self.discord
    }

    /// The local Twitch.
    #[must_use]
    pub fn twitch(&self) -> &Twitch {
        &self.twitch
    }

    /// What was counted; a test waits on these.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What a person would see.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Ends in order: no new connections, open ones are told, requests get a moment to finish.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.discord.drop_connections();
        self.twitch.drop_connections();
        self.tasks.close();
        if tokio::time::timeout(DRAIN + Duration::from_secs(1), self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks of the sandbox did not end in time");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A listener on every address is reached by loopback from here.
fn url_of(mut http: SocketAddr) -> String {
    if http.ip().is_unspecified() {
        http.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{http}")
}

async fn bind(
    address: SocketAddr,
    purpose: &'static str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Bind { purpose, flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

fn probes(shutdown: CancellationToken) -> Router {
    let ready = move || {
        let stopping = shutdown.is_cancelled();
        async move {
            if stopping {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            } else {
                (StatusCode::OK, "ready\n")
            }
        }
    };
    Router::new().route("/livez", get(async || "alive\n")).route("/readyz", get(ready))
}
