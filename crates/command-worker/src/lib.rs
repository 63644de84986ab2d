//! command-worker
