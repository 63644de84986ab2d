//! Waiting for something that happens in another task or process.

use std::{
    fmt::Debug,
    future::Future,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks until `look` finds something. The last thing seen is shown when nothing was found in time.
///
/// # Panics
/// After `within`.
pub async fn eventually<T, E, F>(within: Duration, mut look: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > within => panic!("not within {within:?}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Below the ports that the kernel gives to outgoing connections (32768 and up on Linux).
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// A port of the loopback interface that was free a moment ago. No two calls of a process give the
/// same one: asking the kernel for any free port and closing it again did, and of two services one
/// then could not start.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let room = PORTS.end - PORTS.start;
    // Processes that run at the same time start in different places.
    let start = std::process::id().wrapping_mul(97);
    (0..room)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % room + PORTS.start)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
