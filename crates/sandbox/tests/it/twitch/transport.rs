//! The same chat over TLS and WebSocket.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};

use super::client::{Irc, SOON, say, start};

#[tokio::test]
async fn chat_over_tls() {
    let sandbox = start().await;
    let pem = sandbox.twitch().tls_certificate_pem();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(sandbox.irc_tls_addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let (reader, writer) = tokio::io::split(stream);
    let mut irc = Irc::over(reader, writer);
    irc.login("vigie_bot", "oauth:sandbox-token").await;
    irc.join("vigie_demo").await;
    say(&sandbox, "vigie_demo", "hello over tls");
    irc.expect("hello over tls").await;
    irc.send("PRIVMSG #vigie_demo :and back").await;
    irc.expect("USERSTATE #vigie_demo").await;
}

#[tokio::test]
async fn bytes_that_are_no_tls_are_no_danger() {
    let sandbox = start().await;
    let mut irc = Irc::connect(sandbox.irc_tls_addr()).await;
    irc.send("NICK justinfan1").await;
    irc.until_end().await;
    sandbox.counters().wait("twitch.irc.handshake_failed", 1, SOON).await.unwrap();
}

#[tokio::test]
async fn chat_over_websocket_on_any_path() {
    let sandbox = start().await;
    for path in ["", "/", "/irc?x=1"] {
        let url = format!("ws://{}{path}", sandbox.irc_ws_addr());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("irc"));
        let (mut socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "irc");
        // Some clients end their lines, others send one line per message.
        let lines = ["CAP REQ :twitch.tv/tags twitch.tv/commands\r\nPASS oauth:sandbox-token\r\n"];
        for line in lines.into_iter().chain(["NICK vigie_bot", "JOIN #vigie_demo"]) {
            socket.send(Message::text(line)).await.unwrap();
        }
        let mut seen = String::new();
        while !seen.contains("ROOMSTATE #vigie_demo\r\n") {
            let message = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
            seen.push_str(message.to_text().unwrap());
        }
        let said = say(&sandbox, "vigie_demo", "hello over websocket");
        while !seen.contains(&said) {
            let message = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
            seen.push_str(message.to_text().unwrap());
        }
        socket.close(None).await.unwrap();
    }
}
