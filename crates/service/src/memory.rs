//! How much memory this process holds.

/// Resident memory of this process in bytes, as the kernel counts it; 0 where it cannot be told.
///
/// `/proc` is read rather than the container's figures: Raspberry Pi OS ships with the memory cgroup
/// off, and `docker stats` shows 0 there.
#[must_use]
pub fn resident_bytes() -> u64 {
    let page = rustix::param::page_size() as u64;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |pages| pages * page)
}
