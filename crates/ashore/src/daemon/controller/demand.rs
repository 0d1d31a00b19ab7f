//! How many addresses of a network are probed ahead for new names. Few while nothing happens, since each is probed
//! anew every minute; more while containers start one after the other faster than addresses can be probed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::net::name::NetworkName;

/// How many are probed ahead at rest, of each subnet.
const LEAST: usize = 3;
/// The most. Quick probing takes a fifth of a second, so this many are enough for 160 containers a second.
const MOST: usize = 32;
/// Addresses that are taken this soon after one another are taken in a burst.
const BURST: Duration = Duration::from_secs(10);
/// After this time in which none was taken, half as many are probed ahead.
const QUIET: Duration = Duration::from_secs(60);

/// The demand for addresses, by network.
#[derive(Debug, Default)]
pub(super) struct Demand {
    taken: BTreeMap<NetworkName, Taken>,
    /// The addresses that are probed ahead for new names.
    ahead: BTreeMap<NetworkName, BTreeSet<IpAddr>>,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    /// When the last address was taken.
    last: Instant,
    /// How many were to be probed ahead then.
    ahead: usize,
}

impl Demand {
    /// How many addresses of each subnet are to be probed ahead.
    pub(super) fn of(&self, network: &NetworkName, now: Instant) -> usize {
        let Some(taken) = self.taken.get(network) else { return LEAST };
        let quiet = now.saturating_duration_since(taken.last).as_secs() / QUIET.as_secs();
        let halved = u32::try_from(quiet).ok().and_then(|times| taken.ahead.checked_shr(times)).unwrap_or(0);
        halved.max(LEAST)
    }

    /// Notes which addresses are probed ahead from now on.
    pub(super) fn probes(&mut self, ahead: BTreeMap<NetworkName, BTreeSet<IpAddr>>) {
        self.taken.retain(|network, _| ahead.contains_key(network));
        self.ahead = ahead;
    }

    /// Notes that addresses are taken, and whether their probing has still to end. Returns whether more are to be
    /// probed ahead from now on. Only addresses that are probed ahead for new names count.
    pub(super) fn takes(
        &mut self,
        network: &NetworkName,
        mut ips: impl Iterator<Item = IpAddr>,
        waits: bool,
        now: Instant,
    ) -> bool {
        let Some(ahead) = self.ahead.get(network) else { return false };
        if !ips.any(|ip| ahead.contains(&ip)) {
            return false;
        }
        let before = self.of(network, now);
        let is_burst =
            self.taken.get(network).is_some_and(|taken| now.saturating_duration_since(taken.last) < BURST);
        let ahead = if is_burst || waits { (2 * before).min(MOST) } else { before };
        self.taken.insert(network.clone(), Taken { last: now, ahead });
        ahead > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_in_a_burst_and_shrinks_when_it_is_quiet() {
        let (lan, other): (NetworkName, NetworkName) = ("lan".parse().unwrap(), "other".parse().unwrap());
        let ip = |last: u8| IpAddr::from([192, 168, 88, last]);
        let mut demand = Demand::default();
        let ahead = || {
            BTreeMap::from([(lan.clone(), BTreeSet::from([ip(1), ip(2)])), (other.clone(), BTreeSet::new())])
        };
        demand.probes(ahead());
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        // What is not probed ahead for new names says nothing.
        assert!(!demand.takes(&lan, [ip(9)].into_iter(), true, at(0)));
        assert!(!demand.takes(&other, [ip(1)].into_iter(), true, at(0)));
        // One now and then needs no more.
        for seconds in [0, 20, 40] {
            assert!(!demand.takes(&lan, [ip(9), ip(1)].into_iter(), false, at(seconds)));
            assert_eq!(demand.of(&lan, at(seconds)), LEAST);
        }
        let counts: Vec<usize> = (41..46)
            .map(|seconds| {
                demand.takes(&lan, [ip(2)].into_iter(), false, at(seconds));
                demand.of(&lan, at(seconds))
            })
            .collect();
        assert_eq!(counts, [6, 12, 24, 32, 32]);
        assert_eq!(demand.of(&other, at(45)), LEAST);
        let later = [104, 105, 165, 225, 285, 10_000];
        assert_eq!(later.map(|seconds| demand.of(&lan, at(seconds))), [32, 16, 8, 4, 3, 3]);
        // Whoever has to wait shows at once that too few are probed ahead.
        assert!(demand.takes(&lan, [ip(1)].into_iter(), true, at(20_000)));
        assert_eq!(demand.of(&lan, at(20_000)), 2 * LEAST);
        // A network that is gone is forgotten.
        demand.probes(BTreeMap::new());
        demand.probes(ahead());
        assert_eq!(demand.of(&lan, at(20_000)), LEAST);
    }
}
