//! The three ways to IRC: plain TCP, TLS and WebSocket. Accepts connections and turns each into a
//! reader and a writer of bytes.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Inner, irc::connection};

/// IRC connections open at once.
const MAX_CONNECTIONS: usize = 4096;

/// How long a TLS or WebSocket handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Largest WebSocket message from a client, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// How the bytes of IRC travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `irc://`, port 6667 on Twitch.
    Plain,
    /// `ircs://`, port 6697 on Twitch; the certificate is [`super::Twitch::tls_certificate_pem`].
    Tls,
    /// `ws://`; Twitch itself only has `wss://` since 2025-08.
    WebSocket,
}

/// The receiving half of a connection.
pub(crate) enum Reader {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
    WebSocket(SplitStream<WebSocketStream<TcpStream>>),
}

/// The sending half.
pub(crate) enum Writer {
    Plain(OwnedWriteHalf),
    Tls(WriteHalf<TlsStream<TcpStream>>),
    WebSocket(SplitSink<WebSocketStream<TcpStream>, Message>),
}

impl Reader {
    /// Appends what came; `false` when nothing will come any more.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<bool> {
        match self {
            Self::Plain(half) => Ok(half.read_buf(buffer).await? > 0),
            Self::Tls(half) => Ok(half.read_buf(buffer).await? > 0),
            Self::WebSocket(half) => loop {
                let message = match half.next().await {
                    None => return Ok(false),
                    Some(message) => message.map_err(io::Error::other)?,
                };
                let bytes = match message {
                    Message::Text(text) => Bytes::from(text),
                    Message::Binary(bytes) => bytes,
                    Message::Close(_) => return Ok(false),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                };
                buffer.extend_from_slice(&bytes);
                if !bytes.ends_with(b"\n") {
                    // One message is at least one line, whether or not its end is spelled out.
                    buffer.extend_from_slice(b"\r\n");
                }
                return Ok(true);
            },
        }
    }
}

impl Writer {
    /// Writes whole lines.
    pub(crate) async fn write(&mut self, lines: Bytes) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.write_all(&lines).await,
            Self::Tls(half) => {
                half.write_all(&lines).await?;
                half.flush().await
            }
            Self::WebSocket(half) => {
                let text = Utf8Bytes::try_from(lines.clone())
                    .unwrap_or_else(|_| String::from_utf8_lossy(&lines).into_owned().into());
                half.send(Message::Text(text)).await.map_err(io::Error::other)
            }
        }
    }

    /// Ends the connection in the way of its transport; the other side may be long gone.
    pub(crate) async fn close(&mut self) {
        let ended = async {
            match self {
                Self::Plain(half) => half.shutdown().await,
                Self::Tls(half) => half.shutdown().await,
                Self::WebSocket(half) => half.close().await.map_err(io::Error::other),
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), ended).await {
            tracing::debug!(%error, "an irc connection was gone before it was closed");
        }
    }
}

/// Serves IRC on a listener until `shutdown`, then ends every connection and waits for them.
pub(crate) async fn serve(
    twitch: Arc<Inner>,
    listener: TcpListener,
    transport: Transport,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _from)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an irc connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if tasks.len() >= MAX_CONNECTIONS {
            twitch.counters.add("twitch.irc.too_many_connections");
            continue;
        }
        let twitch = twitch.clone();
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_WITHIN, open(&twitch, socket, transport)).await {
                Ok(Ok((reader, writer))) => {
                    let number = twitch.next_number();
                    connection::serve(twitch, number, reader, writer, shutdown).await;
                }
                Ok(Err(error)) => {
                    twitch.counters.add("twitch.irc.handshake_failed");
                    tracing::debug!(%error, ?transport, "an irc handshake failed");
                }
                Err(_elapsed) => twitch.counters.add("twitch.irc.handshake_failed"),
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn open(twitch: &Inner, socket: TcpStream, transport: Transport) -> io::Result<(Reader, Writer)> {
    socket.set_nodelay(true)?;
    match transport {
        Transport::Plain => {
            let (reader, writer) = socket.into_split();
            Ok((Reader::Plain(reader), Writer::Plain(writer)))
        }
        Transport::Tls => {
            let config = twitch.tls.config().map_err(io::Error::other)?;
            let stream = TlsAcceptor::from(config).accept(socket).await?;
            let (reader, writer) = tokio::io::split(stream);
            Ok((Reader::Tls(reader), Writer::Tls(writer)))
        }
        Transport::WebSocket => {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE_BYTES))
                .max_frame_size(Some(MAX_MESSAGE_BYTES));
            let stream = tokio_tungstenite::accept_hdr_async_with_config(socket, speak_irc, Some(config))
                .await
                .map_err(io::Error::other)?;
            let (writer, reader) = stream.split();
            Ok((Reader::WebSocket(reader), Writer::WebSocket(writer)))
        }
    }
}

/// Any path will do. A client that offers the `irc` subprotocol must be told that it is spoken.
#[expect(clippy::result_large_err, reason = "the signature is the library's")]
fn speak_irc(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offers_irc = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case("irc"));
    if offers_irc {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("irc"));
    }
    Ok(response)
}
