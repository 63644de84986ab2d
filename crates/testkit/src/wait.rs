//! Waiting for something that happens in another task or process.

use std::{
    fmt::Debug,
    future::Future,
    net::{Ipv4Addr, TcpListener},
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

/// A port of the loopback interface that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
