//! One JSON request over HTTP/1.1 to this machine. Not a client for the internet: no TLS, no
//! redirects, no chunked bodies.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer is at most this long, in bytes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Posts JSON to `http://HOST:PORT` + `path` and gives the JSON of the answer.
///
/// # Errors
/// When nobody answers `within` the time, or with anything but a 2xx; the message then holds the
/// server's own `error`.
pub async fn post(base: &str, path: &str, body: &Value, within: Duration) -> anyhow::Result<Value> {
    send(base, &format!("POST {path}"), body, within).await
}

/// Posts a body as it is, with these headers.
///
/// # Errors
/// As [`post`].
pub async fn post_with(
    base: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    within: Duration,
) -> anyhow::Result<Value> {
    let mut head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    head += &format!("Content-Length: {}\r\n", body.len());
    ask(base, &format!("POST {path}"), &head, body, within).await
}

/// As [`post`], with PUT.
///
/// # Errors
/// As [`post`].
pub async fn put(base: &str, path: &str, body: &Value, within: Duration) -> anyhow::Result<Value> {
    send(base, &format!("PUT {path}"), body, within).await
}

/// Gets `http://HOST:PORT` + `path`: its JSON, or its text as a JSON string.
///
/// # Errors
/// As [`post`].
pub async fn get(base: &str, path: &str, within: Duration) -> anyhow::Result<Value> {
    ask(base, &format!("GET {path}"), "", "", within).await
}

async fn send(base: &str, what: &str, body: &Value, within: Duration) -> anyhow::Result<Value> {
    let body = body.to_string();
    let content = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    ask(base, what, &content, &body, within).await
}

async fn ask(base: &str, what: &str, headers: &str, body: &str, within: Duration) -> anyhow::Result<Value> {
    let host = base.strip_prefix("http://").unwrap_or(base).trim_end_matches('/');
    let request = format!("{what} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n{body}");
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(within, exchange)
        .await
        .with_context(|| format!("{host} did not answer {what} within {} s", within.as_secs()))?
        .with_context(|| format!("cannot ask {host}"))?;
    read(&answer).with_context(|| format!("{host} did not do {what}"))
}

fn read(answer: &[u8]) -> anyhow::Result<Value> {
    let text = std::str::from_utf8(answer).context("the answer is not UTF-8")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(
        !head.to_ascii_lowercase().contains("transfer-encoding: chunked"),
        "the answer is chunked, which is not read here"
    );
    let value: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    if !status.starts_with('2') {
        let said = value.get("error").and_then(Value::as_str).unwrap_or(body.trim());
        bail!("answer {status}: {said}");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_the_servers_words() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n{\"error\":\"no such\"}";
        assert_eq!(read(answer).unwrap_err().to_string(), "answer 404: no such");
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n{\"a\":1}").unwrap()["a"], 1);
        read(b"nonsense").unwrap_err();
    }
}
