//! Three servers that stand in for each other: one of them may be lost.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{self, stream::ClusterInfo};
use bus::{Bus, Keeping, Options, Queue, Storage, Stream, provision};
use futures_util::TryStreamExt;
use testkit::{Nats, eventually, free_port};
use tokio::time::timeout;

use crate::message;

/// Longer than three servers need to agree, on a slow machine under load.
const SOON: Duration = Duration::from_secs(60);
const THREE: Keeping = Keeping { storage: Storage::File, replicas: 3 };

/// Servers that know each other.
async fn cluster() -> [Nats; 3] {
    let ports: [u16; 3] = std::array::from_fn(|_| free_port());
    let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
    let start = async |number: usize| {
        let listen = format!("127.0.0.1:{}", ports[number]);
        let more = format!(
            "server_name: n{number}\ncluster {{ name: test, listen: \"{listen}\", routes: [{routes}] }}\n"
        );
        Nats::start_with(BTreeMap::new(), more).await
    };
    [start(0).await, start(1).await, start(2).await]
}

async fn connect(urls: &[String]) -> Bus {
    let options = Options { url: urls.join(","), name: "test".to_owned() };
    Bus::connect(options).await.expect("one of them answers")
}

/// How many servers hold all of each stream and of what its consumers know.
async fn copies(nats: &Nats) -> Vec<usize> {
    let context = jetstream::new(async_nats::connect(nats.url()).await.expect("it answers"));
    let of = |cluster: Option<&ClusterInfo>| {
        let others = cluster.map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
        1 + others.iter().filter(|other| other.current).count()
    };
    let mut found = Vec::new();
    for name in ["EVENTS", "CHATTER", "ACTIONS_DISCORD", "DEAD", "AUDIT", "ONCE", "KV_session", "KV_lease"] {
        let stream = context.get_stream(name).await.expect("it is there");
        let consumers: Vec<_> = stream.consumers().try_collect().await.expect("they are told");
        let consumers = consumers.iter().map(|info| of(info.cluster.as_ref()));
        found.push(consumers.chain([of(stream.cached_info().cluster.as_ref())]).min().unwrap_or_default());
    }
    found
}

#[tokio::test]
async fn a_lost_server_costs_no_message() {
    let mut servers = cluster().await;
    let urls: Vec<String> = servers.iter().map(Nats::url).collect();
    let first = connect(&urls[..1]).await;
    // They take nothing before they have found each other.
    eventually(SOON, || provision(&first, Storage::File)).await;
    assert_eq!(copies(&servers[0]).await, [1; 8]);
    eventually(SOON, || provision(&first, THREE)).await;
    eventually(SOON, || async {
        let copies = copies(&servers[0]).await;
        if copies == [3; 8] { Ok(()) } else { Err(copies) }
    })
    .await;
    first.drain().await;

    let bus = connect(&urls).await;
    let mut commands = bus.take_over(Queue::Commands, 3, 8, || true).await.expect("a consumer");
    bus.store(&message("event.discord.1.command.3", "before")).await.expect("it is stored");
    servers[0].kill();
    eventually(SOON, || async { bus.store(&message("event.discord.2.command.3", "after")).await }).await;
    for wanted in ["event.discord.1.command.3", "event.discord.2.command.3"] {
        let delivery = timeout(SOON, commands.next()).await.expect("two of three go on");
        assert_eq!(delivery.subject, wanted);
        delivery.ack_sync().await.expect("it is acknowledged");
    }
    // Whoever led it may be the one that is gone.
    let mut community = eventually(SOON, || bus.consume(Stream::Events, "community", 1)).await;
    bus.store(&message("event.discord.1.raid", "raid")).await.expect("it is stored");
    timeout(SOON, community.next())
        .await
        .expect("it is given out")
        .ack_sync()
        .await
        .expect("it is acknowledged");
}
