//! A TCP connection on which everything arrives late, as over a link that is bad.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What is read before it is passed on, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;
/// So many of these are on their way at most; then nothing more is read.
const CHUNKS_MAX: usize = 1024;

/// Passes on what comes, after a while. Ends when it is dropped.
#[derive(Debug)]
pub struct Late {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Late {
    /// In front of `target`, at first at once.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(target: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let delay_ms = Arc::<AtomicU64>::default();
        let delay = delay_ms.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let ((from, back), (answers, to)) = (client.into_split(), server.into_split());
                passing.spawn(pass(from, to, delay.clone()));
                // What is said is late, what is heard is not: only the sum is seen.
                passing.spawn(pass(answers, back, Arc::default()));
            }
        });
        Ok(Self { address, delay_ms, _task: task })
    }

    /// Where to connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How late what the client says arrives from now on.
    pub fn delay(&self, by: Duration) {
        self.delay_ms.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Until one side goes away.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay_ms: Arc<AtomicU64>) {
    let (send, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if send.send((due, chunk[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = waiting.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_arrives_late_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let late = Late::start(listener.local_addr().unwrap().to_string()).await.unwrap();
        let mut client = TcpStream::connect(late.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let delay = Duration::from_millis(300);
        late.delay(delay);
        let began = Instant::now();
        client.write_all(b"one ").await.unwrap();
        client.write_all(b"two").await.unwrap();
        let mut said = [0; 7];
        server.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"one two");
        assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
        server.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
    }
}
