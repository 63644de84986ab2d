//! The frames of the NATS protocol, as far as one must know them to say where in a conversation one is.
//! What they mean is not known here.
//!
//! Source: <https://docs.nats.io/reference/reference-protocols/nats-protocol>

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest first line; an `INFO` of a server with many neighbours is the longest.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The largest message; far more than a test sends.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// The end of a line, and of a message.
const END: &[u8] = b"\r\n";

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// One frame, with the bytes that it came in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sender: Sender,
    /// Such as `HPUB`; in capitals.
    pub(crate) verb: String,
    /// Of `PUB`, `HPUB`, `SUB`, `MSG` and `HMSG`; else empty.
    pub(crate) subject: String,
    pub(crate) bytes: Vec<u8>,
    line: usize,
}

impl Frame {
    /// What follows the first line: headers and payload.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.line..).unwrap_or_default()
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.sender == Sender::Client { '>' } else { '<' };
        write!(f, "{arrow} {} {} ({} B)", self.verb, self.subject, self.body().len())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the frames of one side.
pub(crate) struct Frames<R> {
    from: R,
    sender: Sender,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(from: R, sender: Sender) -> Self {
        Self { from, sender, buffer: Vec::new() }
    }

    /// The next frame; `None` when the other side is gone. Cancel-safe.
    ///
    /// # Panics
    /// When it is not the NATS protocol.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = take(&mut self.buffer, self.sender) {
                return Some(frame);
            }
            match self.from.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// Takes the first frame off the bytes that have come, when it is complete.
fn take(buffer: &mut Vec<u8>, sender: Sender) -> Option<Frame> {
    let Some(length) = buffer.windows(END.len()).position(|bytes| bytes == END) else {
        assert!(buffer.len() <= MAX_LINE_BYTES, "a line of NATS that does not end");
        return None;
    };
    let words = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let mut words = words.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let has_subject = matches!(verb.as_str(), "PUB" | "HPUB" | "SUB" | "MSG" | "HMSG");
    let subject = words.next().filter(|_| has_subject).unwrap_or_default().to_owned();
    let line = length + END.len();
    let body = match verb.as_str() {
        "PUB" | "HPUB" | "MSG" | "HMSG" => {
            let size: usize = words.last().and_then(|size| size.parse().ok()).expect("the size of a message");
            assert!(size <= MAX_MESSAGE_BYTES, "{verb} {subject} of {size} bytes");
            size + END.len()
        }
        _ => 0,
    };
    (buffer.len() >= line + body).then(|| {
        let bytes = buffer.drain(..line + body).collect();
        Frame { sender, verb, subject, bytes, line }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut, the same frames come out, and all bytes with them.
    #[tokio::test]
    async fn frames_are_read_in_pieces_of_any_size() {
        let wire =
            b"CONNECT {\"a b\":1}\r\nSUB x.* q 1\r\nPUB a.b 5\r\n\r\nPUB\r\nHPUB $JS.ACK.1 _INBOX.2 12 \
                     14\r\nNATS/1.0\r\n\r\nhi\r\npub empty 0\r\n\r\nPING\r\n";
        for size in 1..wire.len() {
            let (mut to, from) = tokio::io::duplex(wire.len());
            let mut frames = Frames::new(from, Sender::Client);
            for piece in wire.chunks(size) {
                tokio::io::AsyncWriteExt::write_all(&mut to, piece).await.unwrap();
            }
            drop(to);
            let (mut seen, mut bytes) = (Vec::new(), Vec::new());
            while let Some(frame) = frames.next().await {
                seen.push(frame.to_string());
                bytes.extend(frame.bytes);
            }
            let expected = [
                "> CONNECT  (0 B)",
                "> SUB x.* (0 B)",
                "> PUB a.b (7 B)",
                "> HPUB $JS.ACK.1 (16 B)",
                "> PUB empty (2 B)",
                "> PING  (0 B)",
            ];
            assert_eq!(seen, expected);
            assert_eq!(bytes, wire);
        }
    }
}
