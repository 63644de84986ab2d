//! Leases on a real server: start, take-over, hand-over, restart of NATS, being cut off.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bus::{Bus, Handover, Holding, Lease, LeaseError, Options};
use testkit::{Nats, Proxy, eventually};
use tokio::{sync::watch, time::timeout};

type Wants = BTreeMap<String, Handover>;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(15);
/// Longer than a lease.
const OUTAGE: Duration = Duration::from_secs(6);
/// Longer than the time that is given to all to come back after an outage.
const AFTER_GRACE: Duration = Duration::from_secs(4);

struct Member {
    lease: Lease,
    held: watch::Receiver<Holding>,
    wants: watch::Sender<Wants>,
}

impl Member {
    async fn join(bus: &Bus, instance: &str, resources: Wants) -> Self {
        let (wants, wanted) = watch::channel(resources);
        let lease = bus.join("group", instance, wanted).await.unwrap();
        Self { held: lease.held(), lease, wants }
    }

    async fn until(&mut self, what: &str, ask: impl Fn(&Holding) -> bool) -> Holding {
        let found = timeout(LONG, self.held.wait_for(ask)).await;
        let found = found.map(|held| held.unwrap().clone());
        found.unwrap_or_else(|_| panic!("not {what} in time: {:?}", self.held.borrow()))
    }

    async fn owning(&mut self, resources: &BTreeSet<String>) -> Holding {
        self.until("owning", |held| held.owned == *resources && !held.fenced).await
    }

    /// Prepares and lets go of whatever it is asked to, for ever.
    async fn oblige(&self) {
        let mut held = self.lease.held();
        loop {
            let now = held.borrow_and_update().clone();
            now.preparing.iter().for_each(|resource| self.lease.ready(resource));
            now.asked.iter().for_each(|resource| self.lease.release(resource));
            held.changed().await.unwrap();
        }
    }
}

fn resources(count: u32, handover: Handover) -> Wants {
    (0..count).map(|n| (format!("partition.{n}"), handover)).collect()
}

fn names(wants: &Wants) -> BTreeSet<String> {
    wants.keys().cloned().collect()
}

/// While all oblige: until each resource is owned by exactly one, and none by two on the way.
async fn shared_out(members: &[&Member], all: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
    let look = || async {
        for resource in all {
            let holders = members.iter().filter(|member| member.lease.holds(resource)).count();
            assert!(holders <= 1, "{resource} is held by {holders}");
        }
        let owned: Vec<_> = members.iter().map(|member| member.held.borrow().owned.clone()).collect();
        let settled = members.iter().all(|member| {
            let held = member.held.borrow();
            let idle = held.asked.is_empty() && held.preparing.is_empty();
            // Who came just now owns nothing until the others have heard that it asks.
            idle && held.living == members.len() && !held.owned.is_empty()
        });
        let count: usize = owned.iter().map(BTreeSet::len).sum();
        if settled && count == all.len() { Ok(owned) } else { Err(owned) }
    };
    tokio::select! {
        owned = eventually(LONG, look) => owned,
        _ = futures_util::future::join_all(members.iter().map(|member| member.oblige())) => unreachable!(),
    }
}

#[tokio::test]
async fn one_alone_owns_everything_at_once_and_again_after_a_crash() {
    let nats = Nats::start().await;
    let bus = nats.bus("one").await;
    let wants = resources(16, Handover::DrainFirst);
    let started = Instant::now();
    let mut first = Member::join(&bus, "gateway", wants.clone()).await;
    assert_eq!(first.owning(&names(&wants)).await.living, 1);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(first.lease.holds("partition.3") && !first.lease.holds("partition.99"));

    let mut fewer = wants.clone();
    fewer.remove("partition.3");
    first.wants.send_replace(fewer.clone());
    first.until("asked", |held| held.asked.contains("partition.3")).await;
    first.lease.release("partition.3");
    first.owning(&names(&fewer)).await;

    drop(first);
    let started = Instant::now();
    let mut again = Member::join(&bus, "gateway", wants.clone()).await;
    again.owning(&names(&wants)).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    again.lease.leave(LONG).await;
    assert!(again.held.borrow().fenced && !again.lease.holds("partition.3"));
}

#[tokio::test]
async fn who_comes_gets_its_share_and_who_dies_loses_it_within_five_seconds() {
    let nats = Nats::start().await;
    let wants = resources(16, Handover::DrainFirst);
    let all = names(&wants);
    let (bus_a, bus_b, bus_c) = (nats.bus("a").await, nats.bus("b").await, nats.bus("c").await);
    let mut a = Member::join(&bus_a, "a", wants.clone()).await;
    a.owning(&all).await;
    let b = Member::join(&bus_b, "b", wants.clone()).await;
    let before = shared_out(&[&a, &b], &all).await;
    let c = Member::join(&bus_c, "c", wants.clone()).await;
    let after = shared_out(&[&a, &b, &c], &all).await;
    assert!(after.iter().all(|owned| !owned.is_empty()), "{after:?}");
    assert!(after[0].is_subset(&before[0]) && after[1].is_subset(&before[1]), "only what must move");

    let Member { lease, held, .. } = c;
    drop(lease);
    let died = Instant::now();
    let taken = shared_out(&[&a, &b], &all).await;
    println!("taken over {:?} after the death", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    assert_eq!(taken, before, "who was second gets it");
    drop(held);
}

#[tokio::test]
async fn a_channel_is_joined_before_it_is_parted_and_comes_back_when_its_owner_leaves() {
    let nats = Nats::start().await;
    let (bus_a, bus_b) = (nats.bus("a").await, nats.bus("b").await);
    let wants = resources(8, Handover::PrepareFirst);
    let all = names(&wants);
    let mut a = Member::join(&bus_a, "a", wants.clone()).await;
    a.owning(&all).await;
    let mut b = Member::join(&bus_b, "b", wants.clone()).await;
    let coming = b.until("preparing", |held| !held.preparing.is_empty()).await.preparing;
    assert_eq!(a.held.borrow().owned, all);
    assert!(a.held.borrow().asked.is_empty(), "nothing is asked for before the other is ready");
    coming.iter().for_each(|resource| b.lease.ready(resource));
    a.until("asked", |held| held.asked == coming).await;
    assert!(coming.iter().all(|resource| a.lease.holds(resource) && !b.lease.holds(resource)));
    coming.iter().for_each(|resource| a.lease.release(resource));
    b.owning(&coming).await;
    a.owning(&all.difference(&coming).cloned().collect()).await;

    // On the way back the one that leaves acts until the other is ready.
    let leaving = b.lease.leave(LONG);
    let handed_over = async {
        a.until("preparing", |held| held.preparing == coming).await;
        assert!(coming.iter().all(|resource| b.lease.holds(resource)));
        coming.iter().for_each(|resource| a.lease.ready(resource));
        let mut held = b.lease.held();
        held.wait_for(|held| held.asked == coming).await.unwrap();
        coming.iter().for_each(|resource| b.lease.release(resource));
        a.owning(&all).await;
    };
    let left = Instant::now();
    tokio::join!(leaving, handed_over);
    a.until("alone", |held| held.living == 1).await;
    assert!(left.elapsed() < Duration::from_secs(3), "nobody waited for a key to run out");
}

#[tokio::test]
async fn a_restart_of_the_server_changes_nothing_short_or_long() {
    let mut nats = Nats::start().await;
    let bus = nats.bus("a").await;
    let wants = resources(4, Handover::DrainFirst);
    let all = names(&wants);
    let mut a = Member::join(&bus, "a", wants.clone()).await;
    let mut b = Member::join(&bus, "b", wants.clone()).await;
    let before = shared_out(&[&a, &b], &all).await;
    nats.kill();
    nats.resume().await;
    a.owning(&before[0]).await;
    b.owning(&before[1]).await;

    nats.kill();
    a.until("fenced", |held| held.fenced && held.owned.is_empty()).await;
    b.until("fenced", |held| held.fenced && held.owned.is_empty()).await;
    assert!(all.iter().all(|resource| !a.lease.holds(resource) && !b.lease.holds(resource)));
    nats.resume().await;
    let after = shared_out(&[&a, &b], &all).await;
    assert_eq!(after, before);
}

async fn nothing_moves<T>(within: Duration, moved: impl Future<Output = (String, usize, T)>) {
    if let Ok((moved, ..)) = timeout(within, moved).await {
        panic!("{moved}");
    }
}

/// Longer than a key lives, and one of the three is back first.
#[tokio::test]
async fn after_a_long_outage_each_takes_back_its_own_and_nothing_moves() {
    let mut nats = Nats::start().await;
    nats.bus("provision").await;
    let wants = resources(16, Handover::DrainFirst);
    let all = names(&wants);
    let (mut members, mut proxies) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let proxy = Proxy::start(nats.url().trim_start_matches("nats://").to_owned()).await;
        let options = Options { url: format!("nats://{}", proxy.address()), name: name.to_owned() };
        members.push(Member::join(&Bus::connect(options).await.unwrap(), name, wants.clone()).await);
        proxies.push(proxy);
    }
    let before = shared_out(&members.iter().collect::<Vec<_>>(), &all).await;
    nats.kill();
    proxies[1..].iter().for_each(Proxy::cut);
    let mut owned_now = members.iter().map(|member| member.lease.held()).collect::<Vec<_>>();
    let watched = owned_now.iter_mut().zip(&before).map(|(held, before)| async move {
        let other = held.wait_for(|held| !held.owned.is_subset(before) || !held.asked.is_empty()).await;
        format!("{:?}", *other.unwrap())
    });
    let mut moved = futures_util::future::select_all(watched.map(Box::pin));
    nothing_moves(OUTAGE, &mut moved).await;
    assert!(members.iter().all(|member| member.held.borrow().fenced));

    nats.resume().await;
    let came_back = async {
        members[0].owning(&before[0]).await;
        println!("the first is back");
        proxies[1..].iter().for_each(Proxy::resume);
        for (member, before) in members.iter_mut().zip(&before) {
            member.owning(before).await;
        }
    };
    tokio::select! {
        (moved, ..) = &mut moved => panic!("{moved}"),
        () = came_back => {}
    }
    nothing_moves(AFTER_GRACE, &mut moved).await;
    let after: Vec<_> = members.iter().map(|member| member.held.borrow().owned.clone()).collect();
    assert_eq!(after, before);
}

/// Who dies while NATS is away is missed once the others have had the time to come back.
#[tokio::test]
async fn who_dies_in_an_outage_is_taken_over_from_soon_after_it() {
    let mut nats = Nats::start().await;
    let (bus_a, bus_b) = (nats.bus("a").await, nats.bus("b").await);
    let wants = resources(8, Handover::DrainFirst);
    let all = names(&wants);
    let mut a = Member::join(&bus_a, "a", wants.clone()).await;
    let b = Member::join(&bus_b, "b", wants.clone()).await;
    shared_out(&[&a, &b], &all).await;
    nats.kill();
    drop(b);
    a.until("fenced", |held| held.fenced).await;
    nats.resume().await;
    let back = Instant::now();
    a.owning(&all).await;
    println!("taken over {:?} after the outage", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(8), "{:?}", back.elapsed());
}

#[tokio::test]
async fn who_retires_gives_each_thing_away_as_it_is_released_and_who_cannot_work_gives_all() {
    let nats = Nats::start().await;
    let (bus_a, bus_b) = (nats.bus("a").await, nats.bus("b").await);
    let wants = resources(8, Handover::DrainFirst);
    let all = names(&wants);
    let mut a = Member::join(&bus_a, "a", wants.clone()).await;
    let mut b = Member::join(&bus_b, "b", wants.clone()).await;
    let before = shared_out(&[&a, &b], &all).await;
    a.lease.set_able(false);
    tokio::select! {
        _ = b.owning(&all) => {}
        () = a.oblige() => {}
    }
    a.until("relieved", |held| held.relieved && held.owned.is_empty()).await;
    a.lease.set_able(true);
    assert_eq!(shared_out(&[&a, &b], &all).await, before);

    a.lease.retire();
    let first = before[0].first().unwrap();
    let left: BTreeSet<_> = before[0].iter().filter(|resource| *resource != first).cloned().collect();
    a.lease.release(first);
    b.until("owning the first", |held| held.owned.contains(first)).await;
    assert!(left.iter().all(|resource| a.lease.holds(resource) && !b.lease.holds(resource)));
    a.lease.leave(Duration::ZERO).await;
    b.owning(&all).await;
}

#[tokio::test]
async fn who_is_cut_off_stops_before_another_begins() {
    let nats = Nats::start().await;
    let proxy = Proxy::start(nats.url().trim_start_matches("nats://").to_owned()).await;
    let bus_b = nats.bus("b").await;
    let options = Options { url: format!("nats://{}", proxy.address()), name: "a".to_owned() };
    let bus_a = Bus::connect(options).await.unwrap();
    let wants = resources(4, Handover::DrainFirst);
    let all = names(&wants);
    let mut a = Member::join(&bus_a, "a", wants.clone()).await;
    let mut b = Member::join(&bus_b, "b", wants.clone()).await;
    let before = shared_out(&[&a, &b], &all).await;
    for stalled in [true, false] {
        if stalled {
            proxy.stall();
        } else {
            proxy.cut();
        }
        let cut = Instant::now();
        b.owning(&all).await;
        println!("taken over {:?} after {}", cut.elapsed(), if stalled { "a stall" } else { "a cut" });
        assert!(cut.elapsed() < Duration::from_secs(5), "{:?}", cut.elapsed());
        assert!(all.iter().all(|resource| !a.lease.holds(resource)), "{:?}", a.held.borrow());
        a.until("fenced", |held| held.fenced).await;
        proxy.resume();
        let after = shared_out(&[&a, &b], &all).await;
        assert_eq!(after, before);
    }
}

#[tokio::test]
async fn a_second_of_the_same_name_puts_the_first_out() {
    let nats = Nats::start().await;
    let bus = nats.bus("a").await;
    let wants = resources(4, Handover::DrainFirst);
    let mut first = Member::join(&bus, "a", wants.clone()).await;
    first.owning(&names(&wants)).await;
    let mut second = Member::join(&bus, "a", wants.clone()).await;
    second.owning(&names(&wants)).await;
    first.until("replaced", |held| held.replaced && held.fenced && held.owned.is_empty()).await;
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let nats = Nats::start().await;
    let options = Options { url: nats.url(), name: "test".to_owned() };
    let bus = Bus::connect(options).await.unwrap();
    let (_wants, wanted) = watch::channel(Wants::new());
    let error = bus.join("group", "a.b", wanted.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "\"a.b\" is no name for an instance: expected 1 to 64 of A-Z a-z 0-9 - _");
    let error = bus.join("group", "a", wanted).await.unwrap_err();
    assert!(matches!(error, LeaseError::Bucket(_)), "{error}");
}
