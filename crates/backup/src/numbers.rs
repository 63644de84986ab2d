//! What is counted. The names are in `docs/metrics.md`; what was never is 0, as a time of long ago.

use protocol::control::JobEnd;
use service::{CounterVec, Gauge, Metrics};

use crate::kept::Kept;

/// The numbers of this service.
#[derive(Clone, Debug)]
pub struct Numbers {
    jobs: CounterVec,
    good_at: Gauge,
    good: Gauge,
    seconds: Gauge,
    bytes: Gauge,
    count: Gauge,
    drill_at: Gauge,
    drill_good: Gauge,
    drilled_at: Gauge,
    restore_seconds: Gauge,
}

impl Numbers {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            jobs: metrics.counter_vec("backup_jobs", "Jobs that are over", "end").known(&["good", "failed"]),
            good_at: metrics.gauge("backup_last_good_timestamp_seconds", "When the newest backup was made"),
            good: metrics.gauge("backup_last_good", "1 when the last try to make a backup was good"),
            seconds: metrics.gauge("backup_last_seconds", "How long the last good backup took"),
            bytes: metrics.gauge("backup_last_bytes", "How much the newest backup holds"),
            count: metrics.gauge("backup_backups", "Backups there are"),
            drill_at: metrics
                .gauge("backup_proved_timestamp_seconds", "When a backup was last restored and whole"),
            drill_good: metrics.gauge("backup_drill_good", "1 when the last drill was good"),
            drilled_at: metrics.gauge("backup_drill_timestamp_seconds", "When the last drill was over"),
            restore_seconds: metrics
                .gauge("backup_restore_seconds", "How long the last good drill took to restore"),
        }
    }

    /// A job is over.
    pub fn ended(&self, good: bool) {
        self.jobs.with(if good { "good" } else { "failed" }).inc();
    }

    /// Tells what is kept.
    pub fn show(&self, kept: &Kept) {
        let seconds = |ms: Option<u64>| ms.unwrap_or(0) as f64 / 1000.0;
        let good = |end: &Option<JobEnd>| f64::from(end.as_ref().is_some_and(|end| end.good));
        let newest = kept.backups.last();
        self.good_at.set(seconds(newest.map(|one| one.at_ms)));
        self.good.set(good(&kept.create));
        self.seconds.set(seconds(kept.create_ms));
        self.bytes.set(newest.and_then(|one| one.bytes).unwrap_or(0) as f64);
        self.count.set(kept.backups.len() as f64);
        self.drill_at.set(seconds(kept.backups.iter().filter_map(|one| one.proved_ms).max()));
        self.drill_good.set(good(&kept.drill));
        self.drilled_at.set(seconds(kept.drill.as_ref().map(|end| end.at_ms)));
        self.restore_seconds.set(seconds(kept.restore_ms));
    }
}
