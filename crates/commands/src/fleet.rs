//! All services, those of one name taken together.

use std::time::Duration;

use protocol::ServiceStats;

/// The services of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Such as `discord-gateway`.
    pub service: String,
    /// How many run.
    pub count: usize,
    /// How many of them do their work.
    pub ready: usize,
    /// How long the youngest of them runs.
    pub uptime: Duration,
    /// The resident memory of all of them, in bytes.
    pub resident_bytes: u64,
}

impl Group {
    /// The name, and how many there are when it is not one: `command-worker ×2`.
    #[must_use]
    pub fn label(&self) -> String {
        if self.count == 1 { self.service.clone() } else { format!("{} ×{}", self.service, self.count) }
    }
}

/// The services by name.
#[must_use]
pub fn groups(services: &[ServiceStats]) -> Vec<Group> {
    let mut sorted: Vec<&ServiceStats> = services.iter().collect();
    sorted.sort_by(|a, b| a.service.cmp(&b.service));
    let group = |members: &[&ServiceStats]| {
        let first = members.first()?;
        Some(Group {
            service: first.service.clone(),
            count: members.len(),
            ready: members.iter().filter(|member| member.ready).count(),
            uptime: Duration::from_secs(members.iter().map(|member| member.uptime_s).min()?),
            resident_bytes: members.iter().map(|member| member.resident_bytes).sum(),
        })
    };
    sorted.chunk_by(|a, b| a.service == b.service).filter_map(group).collect()
}

/// The sum of one figure over all services that have it.
#[must_use]
pub fn sum(services: &[ServiceStats], metric: &str) -> f64 {
    services.iter().filter_map(|service| service.metrics.get(metric)).sum()
}
