//! A proxy between one process and NATS that understands what passes, so that the process can die at an
//! exact point of the conversation: between a publish and its acknowledgement, and not about then.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    frame::{Frame, Frames, Sender},
    nats::Nats,
    point::{Death, Point},
};

/// How many frames are remembered.
const LOG: usize = 4096;
/// How long the server may take to read what was the last of a process.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// A proxy in front of a NATS server, for the connections of one process; ends when dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// `None` while the process lives.
    death: watch::Sender<Option<Death>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    point: Option<Point>,
    /// What passed.
    log: VecDeque<String>,
}

/// What becomes of a frame.
enum Fate {
    Passes,
    /// It is the last one, and whether it arrives.
    Last(Death, bool),
}

impl Wire {
    /// Starts one in front of a server. Everything passes until a point is [set](Self::die).
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(nats: &Nats) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { death: watch::Sender::new(None), state: Mutex::default() });
        let task = tokio::spawn(accept(listener, nats.address(), shared.clone()));
        Self { address, shared, task }
    }

    /// What the process takes for the address of NATS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The process will die there. Frames are counted, and [remembered](Self::passed), from now on.
    pub fn die(&self, point: Point) {
        let mut state = self.shared.state();
        state.log.clear();
        state.point = Some(point);
    }

    /// The process will not die after all.
    pub fn spare(&self) {
        self.shared.state().point = None;
    }

    /// The process dies now, wherever it is.
    pub fn kill(&self) {
        self.shared.death.send_replace(Some(Death::Killed));
    }

    /// The process stands still from now on.
    pub fn freeze(&self) {
        self.shared.death.send_replace(Some(Death::Frozen));
    }

    /// Waits until the process has died. When it died after a frame, the server has read that frame.
    ///
    /// # Panics
    /// After `within`, with what has passed.
    pub async fn died(&self, within: Duration) {
        let mut death = self.shared.death.subscribe();
        let died = timeout(within, death.wait_for(Option::is_some)).await;
        assert!(died.is_ok(), "the point was not reached within {within:?}; passed: {:#?}", self.passed());
    }

    /// Waits while the process stands still, and for ever once it is killed. Who does something in its name
    /// that does not go through here asks this first.
    pub async fn alive(&self) {
        let mut death = self.shared.death.subscribe();
        // It lives as long as this does.
        let _ = death.wait_for(Option::is_none).await;
    }

    /// Lets a process that stood still go on: what was on its way arrives, late.
    pub fn thaw(&self) {
        self.shared.death.send_replace(None);
    }

    /// The frames that have passed, in their order: `> PUB action.twitch.1.2 (123 B)`, `<` for those of the
    /// server.
    #[must_use]
    pub fn passed(&self) -> Vec<String> {
        self.shared.state().log.iter().cloned().collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn judge(&self, frame: &Frame) -> Fate {
        let mut state = self.state();
        let reached = state.point.take_if(|point| point.count(frame));
        let fate = reached.map_or(Fate::Passes, |point| Fate::Last(point.death, point.delivered));
        if !matches!(fate, Fate::Last(_, false)) {
            state.log.truncate(LOG - 1);
            state.log.push_back(frame.to_string());
        }
        fate
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if *shared.death.borrow() != Some(Death::Killed)
                    && let Ok(server) = TcpStream::connect(target).await
                {
                    connections.spawn(Connection::new(client, server).pass(shared.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Connection {
    from_client: Frames<tcp::OwnedReadHalf>,
    to_server: tcp::OwnedWriteHalf,
    from_server: Frames<tcp::OwnedReadHalf>,
    to_client: tcp::OwnedWriteHalf,
}

impl Connection {
    fn new(client: TcpStream, server: TcpStream) -> Self {
        // Small writes must not wait for each other: that would be a fault of its own.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let from_client = Frames::new(from_client, Sender::Client);
        let from_server = Frames::new(from_server, Sender::Server);
        Self { from_client, to_server, from_server, to_client }
    }

    /// Passes one frame after the other, so that there is a first and a last, until a side is gone.
    async fn pass(mut self, shared: Arc<Shared>) {
        let mut death = shared.death.subscribe();
        loop {
            // A copy, so that the lock is not held.
            let dead = *death.borrow_and_update();
            let frame = match dead {
                Some(Death::Killed) => return,
                Some(Death::Frozen) => {
                    if death.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                None => tokio::select! {
                    biased;
                    _ = death.changed() => continue,
                    frame = self.from_client.next() => frame,
                    frame = self.from_server.next() => frame,
                },
            };
            let Some(frame) = frame else { return };
            let passed = match shared.judge(&frame) {
                Fate::Passes => self.deliver(&frame).await,
                Fate::Last(Death::Killed, delivered) => {
                    if delivered && self.deliver(&frame).await && frame.sender == Sender::Client {
                        self.until_read().await;
                    }
                    shared.death.send_replace(Some(Death::Killed));
                    return;
                }
                Fate::Last(Death::Frozen, delivered) => {
                    // What must not arrive now arrives when the process goes on.
                    let arrived = delivered && self.deliver(&frame).await;
                    shared.death.send_replace(Some(Death::Frozen));
                    arrived || death.wait_for(Option::is_none).await.is_ok() && self.deliver(&frame).await
                }
            };
            if !passed {
                return;
            }
        }
    }

    async fn deliver(&mut self, frame: &Frame) -> bool {
        let to = match frame.sender {
            Sender::Client => &mut self.to_server,
            Sender::Server => &mut self.to_client,
        };
        to.write_all(&frame.bytes).await.is_ok()
    }

    /// The server answers in order, and what it says before that is for nobody: a socket that is closed
    /// with something unread in it could take with it what was written last.
    async fn until_read(&mut self) {
        if self.to_server.write_all(b"PING\r\n").await.is_err() {
            return;
        }
        let pong = async { while self.from_server.next().await.is_some_and(|frame| frame.verb != "PONG") {} };
        timeout(READ_LIMIT, pong).await.expect("the server answers a ping");
    }
}
