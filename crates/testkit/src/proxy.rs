//! A TCP proxy between a client and a server, that can cut, stall and resume what passes. What happens
//! on the wire when a cable is pulled, a switch hangs, or a server closes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What is read from one side before it is written to the other.
const CHUNK_BYTES: usize = 16 * 1024;
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 256;

/// How the proxy treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What comes is passed on.
    Pass,
    /// Connections stay open and are accepted, but nothing comes through.
    Stall,
    /// Connections are closed, new ones as well.
    Cut,
}

/// A proxy on a free port of the loopback interface; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    /// So many bytes pass before it cuts.
    left: Arc<AtomicI64>,
    connections: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of `target`, such as `127.0.0.1:4222`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let (count, connections) = watch::channel(0);
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let task = tokio::spawn(accept(listener, target.into(), mode.clone(), left.clone(), count));
        Self { address, mode, left, connections, task }
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and each new one at once, until [`resume`](Self::resume).
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// [Cuts](Self::cut) once so many bytes have passed, both ways together: in the midst of what is longer, however busy
    /// the machine is.
    pub fn cut_after(&self, bytes: u32) {
        self.left.store(i64::from(bytes), Ordering::Relaxed);
    }

    /// Waits until it cuts.
    pub async fn was_cut(&self) {
        // Its sender is here as long as this is.
        let _ = self.mode.subscribe().wait_for(|mode| *mode == Mode::Cut).await;
    }

    /// Keeps connections open but lets nothing through, until [`resume`](Self::resume). What was sent
    /// meanwhile then arrives, late.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// Lets everything pass again.
    pub fn resume(&self) {
        self.left.store(i64::MAX, Ordering::Relaxed);
        self.mode.send_replace(Mode::Pass);
    }

    /// How many connections there are, and every change of it.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.connections.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    mode: Arc<watch::Sender<Mode>>,
    left: Arc<AtomicI64>,
    count: watch::Sender<usize>,
) {
    let mut pairs = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if pairs.len() < CONNECTIONS_MAX && *mode.borrow() != Mode::Cut {
                    pairs.spawn(pair(client, target.clone(), mode.clone(), left.clone()));
                }
            }
            Some(_) = pairs.join_next() => {}
        }
        count.send_replace(pairs.len());
    }
}

/// One connection, until either side closes it or it is cut.
async fn pair(client: TcpStream, target: String, mode: Arc<watch::Sender<Mode>>, left: Arc<AtomicI64>) {
    let mut cut = mode.subscribe();
    let passing = async {
        let Ok(server) = TcpStream::connect(target).await else { return };
        // Small writes must not wait for each other: that would be a fault of its own.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pass(from_client, to_server, &mode, &left) => {}
            () = pass(from_server, to_client, &mode, &left) => {}
        }
    };
    tokio::select! {
        () = passing => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mode: &watch::Sender<Mode>,
    left: &AtomicI64,
) {
    let (mut chunk, mut passing) = (vec![0; CHUNK_BYTES], mode.subscribe());
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let bytes = i64::try_from(length).unwrap_or(i64::MAX);
        if left.fetch_sub(bytes, Ordering::Relaxed) < bytes {
            mode.send_replace(Mode::Cut);
        }
        if passing.wait_for(|mode| *mode == Mode::Pass).await.is_err() {
            return;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn answer(stream: &mut TcpStream) -> Option<u8> {
        stream.write_all(b"x").await.ok()?;
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn it_passes_stalls_and_cuts() {
        let proxy = Proxy::start(echo().await.to_string()).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answer(&mut stream).await, Some(b'x'));
        proxy.stall();
        let late = tokio::time::timeout(Duration::from_millis(100), answer(&mut stream)).await;
        assert!(late.is_err(), "{late:?}");
        proxy.resume();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        proxy.cut_after(2);
        assert_eq!(answer(&mut stream).await, Some(b'x'));
        assert_eq!(answer(&mut stream).await, None);
        proxy.was_cut().await;
        proxy.resume();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.cut();
        assert_eq!(answer(&mut stream).await, None);
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answer(&mut refused).await, None);
        proxy.resume();
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(answer(&mut again).await, Some(b'x'));
    }
}
