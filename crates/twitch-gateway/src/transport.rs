//! Sockets that carry lines: TCP, TLS and WebSocket. What the lines say is not its business.
//!
//! Certificates are checked against the system's trust store, or the PEM file that `SSL_CERT_FILE`
//! names.

use std::{fmt, io, str::FromStr, sync::Arc, time::Duration};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use crate::framing::Lines;

/// How long connecting may take, all layers together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long one write may take; a peer that lets it take longer reads no more.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Room that is made for one read, in bytes.
const READ_BYTES: usize = 8 * 1024;
/// Largest WebSocket message, in bytes. Twitch puts several lines into one. The connection closes
/// when one is larger, so this stands well above a line that is merely too long.
const MAX_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// Where chat is: an `irc://`, `ircs://`, `ws://` or `wss://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    websocket: bool,
    host: String,
    port: u16,
    url: http::Uri,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host could not be reached.
    #[error("cannot connect to {endpoint}")]
    Tcp {
        /// Where to.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate was not accepted, or the peer speaks no TLS.
    #[error("no TLS with {endpoint}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// What TLS says.
        source: io::Error,
    },
    /// The trust store of this system cannot be used.
    #[error("no trusted certificates: install ca-certificates or let SSL_CERT_FILE name a PEM file")]
    Roots(#[source] rustls::Error),
    /// The peer did not switch to the WebSocket protocol.
    #[error("no WebSocket with {endpoint}")]
    WebSocket {
        /// Where to.
        endpoint: String,
        /// What went wrong.
        source: tokio_websockets::Error,
    },
    /// It took too long.
    #[error("{0} did not answer within {within} s", within = CONNECT_WITHIN.as_secs())]
    TimedOut(String),
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Socket = Box<dyn Duplex>;

/// The reading side of a connection.
pub struct Reader {
    source: Source,
    lines: Lines,
}

enum Source {
    Bytes(ReadHalf<Socket>),
    Messages(SplitStream<WebSocketStream<Socket>>),
}

/// The writing side of a connection.
pub struct Writer(Target);

enum Target {
    Bytes(WriteHalf<Socket>),
    Messages(SplitSink<WebSocketStream<Socket>, Message>),
}

impl Endpoint {
    /// Connects, in at most 10 s.
    ///
    /// # Errors
    /// [`ConnectError`], whose text is meant for people.
    pub async fn connect(&self) -> Result<(Reader, Writer), ConnectError> {
        timeout(CONNECT_WITHIN, self.open())
            .await
            .map_err(|_elapsed| ConnectError::TimedOut(self.to_string()))?
    }

    async fn open(&self) -> Result<(Reader, Writer), ConnectError> {
        let tcp = |source| ConnectError::Tcp { endpoint: self.to_string(), source };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(tcp)?;
        stream.set_nodelay(true).map_err(tcp)?;
        let socket: Socket = match self.tls {
            true => Box::new(self.secure(stream).await?),
            false => Box::new(stream),
        };
        let (source, target) = match self.websocket {
            false => {
                let (read, write) = tokio::io::split(socket);
                (Source::Bytes(read), Target::Bytes(write))
            }
            true => {
                let limits = Limits::default().max_payload_len(Some(MAX_FRAME_BYTES));
                let builder = ClientBuilder::from_uri(self.url.clone()).limits(limits);
                let upgraded = builder.connect_on(socket).await;
                let (stream, _response) = upgraded
                    .map_err(|source| ConnectError::WebSocket { endpoint: self.to_string(), source })?;
                let (write, read) = stream.split();
                (Source::Messages(read), Target::Messages(write))
            }
        };
        Ok((Reader { source, lines: Lines::default() }, Writer(target)))
    }

    async fn secure(&self, stream: TcpStream) -> Result<impl Duplex + use<>, ConnectError> {
        let tls = |source| ConnectError::Tls { endpoint: self.to_string(), source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map_err(ConnectError::Roots)?
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(self.host.clone())
            .map_err(|error| tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(tls)
    }
}

impl Default for Endpoint {
    /// Twitch's own, over TLS.
    fn default() -> Self {
        Self {
            tls: true,
            websocket: false,
            host: "irc.chat.twitch.tv".to_owned(),
            port: 6697,
            url: http::Uri::from_static("ircs://irc.chat.twitch.tv:6697"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: http::Uri = text.parse().map_err(|_| String::new())?;
        let (tls, websocket, port) = match url.scheme_str() {
            Some("irc") => (false, false, 6667),
            Some("ircs") => (true, false, 6697),
            Some("ws") => (false, true, 80),
            Some("wss") => (true, true, 443),
            _ => return Err(String::new()),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or("no host")?;
        // A resolver wants an IPv6 address without its brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, websocket, host, port: url.port_u16().unwrap_or(port), url })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Reader {
    /// Reads once. `false` when the peer closed. Nothing is lost when this is dropped half-way.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn fill(&mut self) -> io::Result<bool> {
        let buffer = self.lines.buffer_mut();
        match &mut self.source {
            Source::Bytes(socket) => {
                buffer.reserve(READ_BYTES);
                Ok(socket.read_buf(buffer).await? > 0)
            }
            Source::Messages(stream) => {
                let Some(message) = stream.next().await else { return Ok(false) };
                let message = message.map_err(io::Error::other)?;
                if message.is_text() || message.is_binary() {
                    buffer.extend_from_slice(message.as_payload());
                    if !buffer.ends_with(b"\n") {
                        buffer.extend_from_slice(b"\n");
                    }
                }
                Ok(true)
            }
        }
    }

    /// The next whole line of what was read.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines.next_line()
    }

    /// How many lines were too long since this was last asked.
    pub fn take_too_long(&mut self) -> u64 {
        self.lines.take_too_long()
    }
}

impl Writer {
    /// Writes one line, to which the line end is added.
    ///
    /// # Errors
    /// When the connection is broken, or took nothing for 10 s.
    pub async fn line(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        let write = async {
            match &mut self.0 {
                Target::Bytes(socket) => {
                    socket.write_all(line.as_bytes()).await?;
                    socket.flush().await
                }
                Target::Messages(sink) => sink.send(Message::text(line)).await.map_err(io::Error::other),
            }
        };
        timeout(WRITE_WITHIN, write).await.map_err(|_elapsed| io::ErrorKind::TimedOut)?
    }

    /// Says that nothing more will come, as far as the peer still listens.
    pub async fn close(mut self) {
        let close = async {
            match &mut self.0 {
                Target::Bytes(socket) => socket.shutdown().await,
                Target::Messages(sink) => sink.close().await.map_err(io::Error::other),
            }
        };
        if let Ok(Err(error)) = timeout(WRITE_WITHIN, close).await {
            tracing::debug!(%error, "the connection was gone before it was closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_kinds_of_url() {
        let read = |text: &str| text.parse::<Endpoint>().map(|e| (e.tls, e.websocket, e.host, e.port));
        assert_eq!(read("irc://127.0.0.1:6667"), Ok((false, false, "127.0.0.1".into(), 6667)));
        assert_eq!(read("ircs://irc.chat.twitch.tv"), Ok((true, false, "irc.chat.twitch.tv".into(), 6697)));
        assert_eq!(read("ws://[::1]/"), Ok((false, true, "::1".into(), 80)));
        assert_eq!(
            read("wss://irc-ws.chat.twitch.tv"),
            Ok((true, true, "irc-ws.chat.twitch.tv".into(), 443))
        );
        for bad in ["", "irc.chat.twitch.tv:6697", "http://x", "irc://"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Endpoint::default(), "ircs://irc.chat.twitch.tv:6697".parse().unwrap());
    }
}
