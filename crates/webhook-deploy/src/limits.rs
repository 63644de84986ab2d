//! How much of everything: who comes how often, and how many of theirs are inside.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Requests of a source: this many at once, then one more each second.
const REQUESTS: Rate = Rate { burst: 60, every: Duration::from_secs(1) };
/// How many connections, or requests by a proxy, of one source are served at once.
const INSIDE_MAX: u32 = 8;
/// Sources that are remembered.
const SOURCES_MAX: usize = 4096;

/// How often something may happen.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So often in a row.
    pub burst: u32,
    /// Then once more each time this has passed.
    pub every: Duration,
}

/// How often it may still happen.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: f64::from(rate.burst), at: now }
    }

    /// Whether it may happen once more, now.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / self.rate.every.as_secs_f64();
        self.left = (self.left + passed).min(f64::from(self.rate.burst));
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

/// Who comes how often.
#[derive(Debug, Default)]
pub struct Sources(Mutex<HashMap<IpAddr, Source>>);

#[derive(Debug)]
struct Source {
    requests: Bucket,
    inside: u32,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub struct Inside {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    /// Takes a place for a connection or a request; `None` while the source has too many.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Inside> {
        let may = self.with(address, now, |source| {
            let may = source.inside < INSIDE_MAX;
            source.inside += u32::from(may);
            may
        });
        may.then(|| Inside { sources: Arc::clone(self), source: whole(address) })
    }

    /// Counts a request; whether it is not one too many.
    pub fn may_ask(&self, address: IpAddr, now: Instant) -> bool {
        self.with(address, now, |source| source.requests.take(now))
    }

    fn with<T>(&self, address: IpAddr, now: Instant, work: impl FnOnce(&mut Source) -> T) -> T {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = whole(address);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&address) {
            make_room(&mut sources);
        }
        work(
            sources
                .entry(address)
                .or_insert_with(|| Source { requests: Bucket::new(REQUESTS, now), inside: 0 }),
        )
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut sources = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get_mut(&self.source) {
            source.inside -= 1;
        }
    }
}

/// Forgets who came least recently. Connections are far fewer than sources that are remembered, so that there is
/// always one that is not inside.
fn make_room(sources: &mut HashMap<IpAddr, Source>) {
    let idle = sources.iter().filter(|(_, source)| source.inside == 0);
    if let Some(address) = idle.min_by_key(|(_, source)| source.requests.at).map(|(address, _)| *address) {
        sources.remove(&address);
    }
}

/// Whoever has one address of IPv6 has at least 2^64 of them.
fn whole(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_each_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { burst: 3, every: SECOND }, start);
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + SECOND / 2), 0);
        assert_eq!(taken(&mut bucket, start + SECOND), 1);
        assert_eq!(taken(&mut bucket, start + SECOND * 100), 3);
    }

    #[test]
    fn one_source_does_not_use_up_what_another_has() {
        let (sources, now) = (Sources::default(), Instant::now());
        let count = |address| (0..100).filter(|_| sources.may_ask(ip(address), now)).count();
        assert_eq!(count("192.0.2.1"), 60);
        assert_eq!(count("192.0.2.2"), 60);
        assert_eq!(count("2001:db8::1"), 60);
        assert_eq!(count("2001:db8::ffff:1"), 0, "the same network of one customer");
        assert_eq!(count("2001:db8:0:1::1"), 60);
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let (sources, now) = (Arc::new(Sources::default()), Instant::now());
        let mut inside: Vec<Inside> =
            std::iter::from_fn(|| sources.enter(ip("192.0.2.1"), now)).take(100).collect();
        assert_eq!(inside.len(), INSIDE_MAX as usize);
        inside.pop();
        assert!(sources.enter(ip("192.0.2.1"), now).is_some());
        assert!(sources.enter(ip("192.0.2.2"), now).is_some());
    }

    #[test]
    fn many_sources_do_not_fill_the_memory_and_who_is_inside_is_not_forgotten() {
        let (sources, now) = (Arc::new(Sources::default()), Instant::now());
        let _inside = sources.enter(ip("192.0.2.1"), now).unwrap();
        for number in 0..2 * u32::try_from(SOURCES_MAX).unwrap() {
            let address = IpAddr::V4((0x0a00_0000 + number).into());
            assert!(sources.may_ask(address, now + SECOND));
        }
        let known = sources.0.lock().unwrap();
        assert_eq!(known.len(), SOURCES_MAX);
        assert_eq!(known[&ip("192.0.2.1")].inside, 1);
    }
}
