//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970. A clock before that is a clock not set yet: zero is older than all.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
