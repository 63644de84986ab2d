//! What is seen of the machine, through files.

use crate::world::World;

#[tokio::test]
async fn a_hot_pi_with_a_weak_supply_is_told_of() {
    let world = World::start().await;
    let _services = world.services().await;
    let watching = world.watch(world.config());
    watching.is("healthy").await;
    watching.counts("vigie_host_temperature_celsius 48.312").await;
    watching.counts("vigie_host_under_voltage 0").await;
    watching.counts("vigie_host_disk_written_bytes_total 1024000").await;
    watching.counts("vigie_host_memory_available_bytes 1536000000").await;
    watching.counts("vigie_host_uptime_seconds 90061.5").await;
    world.put("sys/devices/platform/soc/soc:firmware/get_throttled", "50001\n");
    assert_eq!(watching.is("degraded").await, "degraded: too little power\n");
    watching.counts("vigie_host_under_voltage 1").await;
    world.put("sys/class/thermal/thermal_zone0/temp", "85500\n");
    assert_eq!(watching.is("unhealthy").await, "unhealthy: too hot; too little power\n");
    let text = watching.page("/health/detailed").body;
    assert!(text.contains("✗ too hot") && text.contains("86 °C") && text.contains("power"), "{text}");
    // Below the bound is not enough: it must be well below.
    world.put("sys/class/thermal/thermal_zone0/temp", "76000\n");
    watching.counts("vigie_host_temperature_celsius 76").await;
    watching.is("unhealthy").await;
    world.put("sys/class/thermal/thermal_zone0/temp", "50000\n");
    watching.is("degraded").await;
    watching.stop().await;
}

#[tokio::test]
async fn a_machine_that_says_nothing_is_no_reason_to_worry() {
    let world = World::start().await;
    let _services = world.services().await;
    let mut config = world.config();
    config.root = world.folder.path().join("empty");
    let watching = world.watch(config);
    watching.is("healthy").await;
    let text = watching.context.metrics.text();
    assert!(!text.contains("host_temperature") && !text.contains("host_under_voltage"), "{text}");
    assert!(text.contains("vigie_host_disk_bytes "), "{text}");
    watching.stop().await;
}
