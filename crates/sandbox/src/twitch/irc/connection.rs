//! One IRC connection: its bounded queue, its reading and writing. What the lines mean is decided in
//! `login`, `channel` and `send`.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    line::{MAX_LINE_BYTES, Shared},
    login::Session,
};
use crate::twitch::{
    Inner,
    transport::{Reader, Writer},
};

/// Lines that may wait for a client. One that lets more pile up is dropped, as Twitch does.
const QUEUE_LINES: usize = 8192;

/// Lines written with one call.
const BATCH_LINES: usize = 128;

/// How long a client may take to log in.
const LOGIN_WITHIN: Duration = Duration::from_secs(30);

/// The sending side of a connection, shared with everybody who has something to say to it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    caps: AtomicU8,
    queue: mpsc::Sender<Out>,
    delay_ms: Arc<AtomicU64>,
    /// Ends the connection at once, without a word.
    pub(crate) dropped: CancellationToken,
}

#[derive(Debug)]
enum Out {
    Line {
        due: Option<Instant>,
        bytes: Bytes,
    },
    /// Everything before it is written, then the connection is closed.
    Close,
    /// The same after a while.
    CloseIn(Duration),
}

impl Connection {
    pub(crate) fn caps(&self) -> u8 {
        self.caps.load(Ordering::Relaxed)
    }

    pub(crate) fn add_caps(&self, more: u8) {
        self.caps.fetch_or(more, Ordering::Relaxed);
    }

    pub(crate) fn has(&self, cap: u8) -> bool {
        self.caps() & cap == cap
    }

    /// Queues a line, if the client's capabilities let it have it. A client whose queue is full is
    /// dropped.
    pub(crate) fn send(&self, line: &Shared) -> bool {
        let Some(bytes) = line.form(self.caps()) else {
            return false;
        };
        let delay = self.delay_ms.load(Ordering::Relaxed);
        let due = (delay > 0).then(|| Instant::now() + Duration::from_millis(delay));
        self.put(Out::Line { due, bytes })
    }

    /// Closes the connection once all that is queued was written.
    pub(crate) fn close(&self) {
        self.put(Out::Close);
    }

    /// Closes the connection after a while.
    pub(crate) fn close_in(&self, wait: Duration) {
        self.put(Out::CloseIn(wait));
    }

    fn put(&self, out: Out) -> bool {
        let queued = self.queue.try_send(out).is_ok();
        if !queued {
            self.dropped.cancel();
        }
        queued
    }
}

/// Serves one client until it goes, is dropped, or the sandbox ends.
pub(crate) async fn serve(
    twitch: Arc<Inner>,
    number: u64,
    mut reader: Reader,
    mut writer: Writer,
    shutdown: CancellationToken,
) {
    twitch.counters.add("twitch.irc.connect");
    let (queue, lines) = mpsc::channel(QUEUE_LINES);
    let connection = Arc::new(Connection {
        number,
        caps: AtomicU8::new(0),
        queue,
        delay_ms: twitch.faults.delay_ms(),
        dropped: shutdown.child_token(),
    });
    let dropped = connection.dropped.clone();
    twitch.state().open.insert(number, connection.clone());
    let mut session = Session::new(twitch.clone(), connection.clone());
    let in_order = tokio::select! {
        () = dropped.cancelled() => false,
        () = read(&twitch, &mut session, &mut reader) => true,
        () = write(&twitch, lines, &mut writer) => true,
    };
    dropped.cancel();
    session.leave();
    twitch.state().open.remove(&number);
    if in_order {
        writer.close().await;
    }
    twitch.counters.add("twitch.irc.disconnect");
}

/// Reads until the client goes, says too much at once, or says nothing for too long. When it returns
/// after a `Close` was queued, it waits for the writer to get there.
async fn read(twitch: &Inner, session: &mut Session, reader: &mut Reader) {
    let mut buffer = BytesMut::with_capacity(4096);
    let login_by = Instant::now() + LOGIN_WITHIN;
    let mut next_ping = Instant::now() + twitch.options.ping_every;
    let mut answer_by: Option<Instant> = None;
    loop {
        let deadline = if session.is_logged_in() { answer_by.unwrap_or(next_ping) } else { login_by };
        match tokio::time::timeout_at(deadline, reader.read(&mut buffer)).await {
            Ok(Ok(true)) => answer_by = None,
            Ok(Ok(false) | Err(_)) => return,
            Err(_elapsed) if session.is_logged_in() && answer_by.is_none() => {
                session.ping();
                let now = Instant::now();
                next_ping = now + twitch.options.ping_every;
                answer_by = Some(now + twitch.options.pong_within);
                continue;
            }
            Err(_elapsed) => {
                twitch.counters.add("twitch.irc.timed_out");
                return;
            }
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            if line.len() > MAX_LINE_BYTES {
                twitch.counters.add("twitch.irc.line_too_long");
                return;
            }
            if let ControlFlow::Break(()) = session.on_line(&line) {
                // The last words are still in the queue; the writer ends the connection after them.
                return std::future::pending().await;
            }
        }
        if buffer.len() > MAX_LINE_BYTES {
            twitch.counters.add("twitch.irc.line_too_long");
            return;
        }
    }
}

/// Writes what is queued, several lines at a time, until it is told to close.
async fn write(twitch: &Inner, mut lines: mpsc::Receiver<Out>, writer: &mut Writer) {
    let mut batch = Vec::with_capacity(BATCH_LINES);
    let mut bytes = BytesMut::new();
    let mut closes_at: Option<Instant> = None;
    loop {
        let closing = async {
            match closes_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            got = lines.recv_many(&mut batch, BATCH_LINES) => if got == 0 { return },
            () = closing => return,
        }
        let mut close = false;
        for out in batch.drain(..) {
            match out {
                Out::Line { due, bytes: line } => {
                    if let Some(due) = due {
                        if !flush(twitch, &mut bytes, writer).await {
                            return;
                        }
                        tokio::time::sleep_until(due).await;
                    }
                    bytes.extend_from_slice(&line);
                }
                Out::Close => close = true,
                Out::CloseIn(wait) => closes_at = Some(Instant::now() + wait),
            }
        }
        if !flush(twitch, &mut bytes, writer).await || close {
            return;
        }
    }
}

async fn flush(twitch: &Inner, bytes: &mut BytesMut, writer: &mut Writer) -> bool {
    let ready = bytes.split().freeze();
    if ready.is_empty() || twitch.faults.is_silent() {
        return true;
    }
    writer.write(ready).await.is_ok()
}
