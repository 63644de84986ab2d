//! The command line of the `sandbox` binary: where to listen, how to end, what is printed when ready.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use clap::Parser;
use serde_json::json;
use tokio::sync::oneshot;

use crate::{Options, Sandbox, twitch};

const HTTP_PORT: u16 = 7700;
/// What Discord itself asks for.
const HEARTBEAT_MS: u64 = 41_250;
/// A rate limit that no load test reaches.
const BEYOND_ANY_LOAD: u32 = 100_000;
const LAST_BASE: u16 = u16::MAX - 3;

/// A local Discord and Twitch, with a chat page to try a bot in.
#[derive(Debug, Parser)]
#[command(version = service::BUILD, about)]
pub struct Args {
    /// First of four ports in a row: http, irc, irc over TLS, irc over WebSocket. 0 takes any free ones.
    #[arg(long, default_value_t = HTTP_PORT, value_parser = clap::value_parser!(u16).range(0..=i64::from(LAST_BASE)))]
    port: u16,
    /// Where page, control API, Discord, Helix, OAuth and EventSub listen [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Where Twitch chat listens [default: 127.0.0.1:7701].
    #[arg(long, value_name = "ADDRESS:PORT")]
    irc: Option<SocketAddr>,
    /// Where Twitch chat listens for TLS [default: 127.0.0.1:7702].
    #[arg(long, value_name = "ADDRESS:PORT")]
    irc_tls: Option<SocketAddr>,
    /// Where Twitch chat listens for WebSockets [default: 127.0.0.1:7703].
    #[arg(long, value_name = "ADDRESS:PORT")]
    irc_ws: Option<SocketAddr>,
    /// The base of the URLs that clients are told, if they reach it by another name.
    #[arg(long, value_name = "http://HOST:PORT", value_parser = base_url)]
    public_url: Option<String>,
    /// How many quiet Discord guilds there are beside the demo one, for load tests.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    extra_guilds: u32,
    /// How many quiet Twitch channels there are beside the demo ones, for load tests.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    extra_channels: u32,
    /// How many shards Discord recommends.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// How often Discord wants a heartbeat, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = HEARTBEAT_MS, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    heartbeat_ms: u64,
    /// Let bots send as much as they like, for load tests.
    #[arg(long)]
    no_limits: bool,
    /// Print the addresses as one line of JSON.
    #[arg(long)]
    json: bool,
    /// End when standard input closes, as when the program that started this one is gone.
    #[arg(long)]
    until_stdin_closes: bool,
    /// Start nothing: ask the sandbox that runs at --http, or at --port, whether it is ready.
    #[arg(long)]
    probe: bool,
}

impl Args {
    fn options(&self) -> Options {
        let default = |nth: u16| {
            let port = if self.port == 0 { 0 } else { self.port + nth };
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        let mut options = Options {
            http: self.http.unwrap_or_else(|| default(0)),
            irc: self.irc.unwrap_or_else(|| default(1)),
            irc_tls: self.irc_tls.unwrap_or_else(|| default(2)),
            irc_ws: self.irc_ws.unwrap_or_else(|| default(3)),
            public_url: self.public_url.clone(),
            ..Options::default()
        };
        options.discord.extra_guilds = self.extra_guilds as usize;
        options.discord.shards = self.shards;
        options.discord.heartbeat_interval_ms = self.heartbeat_ms;
        options.twitch.extra_channels = self.extra_channels as usize;
        if self.no_limits {
            options.discord.requests_per_second = BEYOND_ANY_LOAD;
            options.discord.bucket_scale = BEYOND_ANY_LOAD;
            options.twitch.limits = twitch::Limits::none();
        }
        options
    }
}

fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', ' ']) => Ok(text.to_owned()),
        _ => Err("expected http://HOST:PORT without a path".to_owned()),
    }
}

/// Runs until a signal (or the end of standard input) and drains.
///
/// # Errors
/// When an address cannot be listened on, or standard output cannot be written; of a probe when
/// nothing is ready there.
pub async fn run(args: Args) -> anyhow::Result<()> {
    if args.probe {
        return probe(args.options().http);
    }
    let signalled = signals()?;
    let sandbox = Sandbox::start(args.options()).await?;
    announce(&sandbox, args.json)?;
    tokio::select! {
        name = signalled => tracing::info!(signal = name, "stopping"),
        () = stdin_closed(), if args.until_stdin_closes => tracing::info!("standard input closed, stopping"),
    }
    sandbox.stop().await;
    Ok(())
}

fn probe(http: SocketAddr) -> anyhow::Result<()> {
    anyhow::ensure!(http.port() != 0, "expected --port or --http of the sandbox that runs");
    service::probe(http)?;
    writeln!(io::stdout().lock(), "ready")?;
    Ok(())
}

fn announce(sandbox: &Sandbox, as_json: bool) -> io::Result<()> {
    let http = sandbox.http_url();
    let (irc, irc_tls, irc_ws) = (sandbox.irc_addr(), sandbox.irc_tls_addr(), sandbox.irc_ws_addr());
    let mut out = io::stdout().lock();
    if as_json {
        let line = json!({
            "http": http,
            "irc": format!("irc://{irc}"),
            "irc_tls": format!("ircs://{irc_tls}"),
            "irc_ws": format!("ws://{irc_ws}"),
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "chat page   {http}/")?;
        writeln!(out, "Discord     {http}/api/v10 and {}/gateway", http.replacen("http", "ws", 1))?;
        writeln!(out, "Twitch      irc://{irc}  ircs://{irc_tls}  ws://{irc_ws}  {http}/helix")?;
    }
    out.flush()
}

#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}

#[cfg(not(unix))]
fn signals() -> io::Result<impl Future<Output = &'static str>> {
    Ok(async {
        // Without a handler there is only the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    })
}

/// Waits on a thread of its own: a runtime would have to wait for its blocked reader when it ends.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut chunk = [0_u8; 512];
        while io::stdin().lock().read(&mut chunk).is_ok_and(|read| read > 0) {}
        // An error only says that the sandbox ended first.
        let _ = closed.send(());
    });
    if wait.await.is_err() {
        std::future::pending::<()>().await;
    }
}
