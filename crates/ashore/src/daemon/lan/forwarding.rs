//! Switch ports that may not forward yet.
//!
//! A switch with spanning tree blocks a port that has come up for twice its forward delay, which is 15 s by
//! default and can be set to 4 to 30 s (IEEE 802.1D-2004, table 17-1). The NIC has carrier in that time, and
//! its frames are lost. So everything that was asked and announced since the carrier rose is sent again when
//! the first frame of another machine is heard. The near switch may forward before the switches behind it do,
//! so everything is sent once more later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::conflict::{ANNOUNCE_NUM, Probe};
use ashore_wire::ndp::{Neighbour, RouterAdvertisement};
use ashore_wire::{Boottime, Mac, heard};

use super::{Announcement, Table};
use crate::daemon::random;

/// The time after which a port of a switch with the default delay forwards.
const USUAL: Duration = Duration::from_secs(35);
/// The time after which every port forwards, so that a machine that has not answered was in fact asked.
const LATEST: Duration = Duration::from_secs(65);
/// The last repetition comes at least this long after the first frame.
const ONCE_MORE: Duration = Duration::from_secs(5);
/// The time after which a host that boots has its carrier.
const BOOTING: Duration = Duration::from_secs(15);

/// The switch ports that parents are connected to.
#[derive(Default)]
pub(super) struct Forwarding(BTreeMap<IfName, Port>);

struct Port {
    carriers: Carriers,
    risen: Option<Risen>,
}

/// The links through which a parent reaches the wire and that have carrier, each with the number of times
/// that its carrier rose. The number reveals a loss of carrier that was not observed.
type Carriers = BTreeSet<(u32, u32)>;

/// A carrier that rose a while ago.
struct Risen {
    at: Boottime,
    /// When another machine was first heard since then.
    heard: Option<Boottime>,
    /// When to send everything again, whatever is heard until then.
    again: Option<Boottime>,
}

impl Forwarding {
    /// Updates which links have carrier.
    pub(super) fn follow(&mut self, state: &State, host: &View, now: Boottime) {
        let mut carriers: BTreeMap<IfName, Carriers> = BTreeMap::new();
        for network in state.networks.values() {
            let links =
                host.link(network.lower_device(host)).map(|link| host.facing(link)).unwrap_or_default();
            let passing = links.into_iter().filter(|link| link.up && link.carrier).map(|link| link.index);
            let counted = passing.map(|index| (index, host.rises.get(&index).copied().unwrap_or_default()));
            carriers.insert(network.parent.clone(), counted.collect());
        }
        // No link had carrier before the host booted.
        let earliest = || now.checked_sub(uptime()?.saturating_sub(BOOTING));
        self.see(carriers, earliest, now);
    }

    /// Does the same, from the links with carrier. For a parent that was not seen before, only the earliest
    /// time at which its carrier can have risen is known.
    fn see(
        &mut self,
        carriers: BTreeMap<IfName, Carriers>,
        earliest: impl Fn() -> Option<Boottime>,
        now: Boottime,
    ) {
        self.0.retain(|parent, _| carriers.contains_key(parent));
        for (parent, carriers) in carriers {
            let since = match self.0.get(&parent) {
                Some(before) => Some(now).filter(|_| !carriers.is_subset(&before.carriers)),
                None => earliest().filter(|at| !carriers.is_empty() && *at + LATEST > now),
            };
            let before = self.0.remove(&parent).and_then(|port| port.risen);
            let risen = since.map(|at| Risen { at, heard: None, again: Some(at + USUAL) }).or(before);
            self.0.insert(parent, Port { carriers, risen });
        }
    }

    /// The host was asleep, after which it is as if each carrier had just risen.
    pub(super) fn wakes(&mut self, now: Boottime) {
        for port in self.0.values_mut().filter(|port| !port.carriers.is_empty()) {
            port.risen = Some(Risen { at: now, heard: None, again: Some(now + USUAL) });
        }
    }

    /// Records a frame of another machine on a parent. Returns whether it is the first one since the carrier
    /// rose.
    fn hears(&mut self, parent: &IfName, now: Boottime) -> bool {
        let risen = self.0.get_mut(parent).and_then(|port| port.risen.as_mut());
        let Some(risen) = risen.filter(|risen| risen.heard.is_none()) else { return false };
        risen.heard = Some(now);
        risen.again = Some((risen.at + USUAL).max(now + ONCE_MORE));
        true
    }

    /// Whether it is not known yet that the port of a parent forwards.
    fn is_in_doubt(&self, parent: &IfName) -> bool {
        let risen = self.0.get(parent).and_then(|port| port.risen.as_ref());
        risen.is_some_and(|risen| risen.heard.is_none())
    }

    /// The parents on which everything is to be sent again now, and when the next one is due.
    fn due(&mut self, now: Boottime) -> (Vec<IfName>, Option<Boottime>) {
        let (mut due, mut next) = (Vec::new(), None);
        for (parent, port) in &mut self.0 {
            let Some(risen) = &mut port.risen else { continue };
            if risen.again.take_if(|again| *again <= now).is_some() {
                due.push(parent.clone());
                // While no machine is heard, the first frame is still waited for.
                if risen.heard.is_some() {
                    port.risen = None;
                    continue;
                }
            }
            next = next.into_iter().chain(risen.again).min();
        }
        (due, next)
    }

    /// Since when a machine could answer what was asked on a parent. Returns `None` unless the carrier rose
    /// recently.
    pub(super) fn answers_since(&self, parent: &IfName) -> Option<Boottime> {
        let risen = self.0.get(parent)?.risen.as_ref()?;
        Some(risen.heard.unwrap_or(risen.at + LATEST))
    }
}

impl Table {
    /// Handles an ARP or neighbour discovery frame from the wire of a parent. Returns whether waiting threads
    /// must look again.
    pub(super) fn overhear(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        // A switch may itself probe for an address or solicit routers through a port that is blocked, so such
        // frames prove nothing.
        let asks = || matches!(Neighbour::parse(frame), Some(Neighbour::Asker { .. }));
        let claims = || heard(frame).is_some_and(|heard| heard.claims) && !asks();
        let says = || claims() || RouterAdvertisement::parse(frame).is_some();
        self.forwarding.is_in_doubt(parent) && says() && self.overhear_answer(parent, frame)
    }

    /// Does the same for a DHCP server's message to a client.
    pub(super) fn overhear_answer(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        let sender = frame.get(6..12).and_then(|mac| Some(Mac(mac.try_into().ok()?)));
        let first = sender.is_some_and(|sender| !self.own.is_own(sender))
            && self.forwarding.hears(parent, boottime());
        if first {
            tracing::info!(%parent, "other machines are heard again after its carrier rose");
            self.ask_and_say_again(parent);
        }
        first
    }

    /// Repeats what may not have been heard. Returns whether anything was repeated, and the time until the
    /// next repetition.
    pub(super) fn forward(&mut self) -> (bool, Option<Duration>) {
        let now = boottime();
        let (due, next) = self.forwarding.due(now);
        for parent in &due {
            self.ask_and_say_again(parent);
        }
        (!due.is_empty(), next.map(|next| next.saturating_duration_since(now)))
    }

    fn ask_and_say_again(&mut self, parent: &IfName) {
        // A probe that was not heard has no result.
        self.clear.retain(|(on, _), _| on != parent);
        self.probes.retain(|(on, _), probe| on != parent || !probe.is_last());
        for probe in self.probes.iter_mut().filter(|((on, _), _)| on == parent).map(|(_, probe)| probe) {
            *probe = Probe::new(probe.ip(), probe.own(), probe.profile(), Instant::now(), random());
        }
        // An engine may have recreated a link with another MAC that its list does not show yet.
        let known = self.defended.iter().filter(|((on, _), there)| on == parent && !there.by_list);
        let due = Instant::now();
        let again = known.map(|((parent, ip), there)| Announcement {
            parent: parent.clone(),
            ip: *ip,
            mac: there.defence.owner(),
            due,
            left: ANNOUNCE_NUM,
        });
        let again: Vec<Announcement> = again.collect();
        let is_anew =
            |due: &Announcement| again.iter().any(|new| (&new.parent, new.ip) == (&due.parent, due.ip));
        self.announcements.retain(|due| due.parent != *parent || !is_anew(due));
        self.announcements.extend(again);
        self.leases.ask_again(parent);
        self.leases6.ask_again(parent);
        self.routers.ask_again(parent);
        self.gateways.ask_again(parent, Instant::now());
        self.names.link_up(parent);
    }
}

/// How long the host has been up.
fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0() -> IfName {
        "eth0".parse().unwrap()
    }

    fn with(carriers: &[(u32, u32)]) -> BTreeMap<IfName, Carriers> {
        BTreeMap::from([(eth0(), carriers.iter().copied().collect())])
    }

    /// A parent whose carrier rises now.
    fn risen(now: Boottime) -> Forwarding {
        let mut ports = Forwarding::default();
        ports.see(with(&[]), || None, now);
        ports.see(with(&[(2, 1)]), || None, now);
        ports
    }

    #[test]
    fn a_carrier_rises_once_and_one_of_before_this_daemon_only_if_the_host_has_just_started() {
        /// The carriers one after the other, when the host booted, and when the last carrier rose.
        type Case<'a> = (&'a [&'a [(u32, u32)]], Boottime, Option<Boottime>);
        let start = Boottime::after_boot(Duration::from_secs(1_000_000));
        let (now, long_ago) = (start + LATEST, start);
        let lately = now - BOOTING;
        let cases: [Case<'_>; 9] = [
            (&[&[(2, 1)]], long_ago, None),
            (&[&[(2, 1)]], lately, Some(lately)),
            (&[&[]], lately, None),
            (&[&[], &[(2, 1)]], long_ago, Some(now)),
            (&[&[(2, 1)], &[], &[(2, 2)]], long_ago, Some(now)),
            (&[&[(2, 1)], &[(2, 2)]], long_ago, Some(now)),
            (&[&[(2, 1)], &[(2, 1), (3, 1)]], long_ago, Some(now)),
            (&[&[(2, 1), (3, 1)], &[(3, 1)]], long_ago, None),
            (&[&[(2, 1)], &[(7, 1)]], long_ago, Some(now)),
        ];
        for (at, (seen, booted, rises)) in cases.into_iter().enumerate() {
            let mut ports = Forwarding::default();
            for carriers in seen {
                ports.see(with(carriers), || Some(booted), now);
            }
            assert_eq!(ports.is_in_doubt(&eth0()), rises.is_some(), "{at}");
            // The next look changes nothing.
            ports.see(with(seen.last().unwrap()), || Some(booted), now + USUAL);
            assert_eq!(ports.answers_since(&eth0()), rises.map(|at| at + LATEST), "{at}");
        }
    }

    #[test]
    fn after_a_sleep_it_is_as_if_each_carrier_had_just_risen() {
        let start = Boottime::after_boot(Duration::from_secs(1_000_000));
        let mut ports = Forwarding::default();
        ports.see(with(&[(2, 1)]), || None, start);
        assert!(!ports.is_in_doubt(&eth0()));
        ports.wakes(start + USUAL);
        assert!(ports.is_in_doubt(&eth0()));
        assert_eq!(ports.due(start + USUAL + USUAL).0, [eth0()]);
        // Where nothing passes, nothing is said.
        let mut ports = Forwarding::default();
        ports.see(with(&[]), || None, start);
        ports.wakes(start + USUAL);
        assert!(!ports.is_in_doubt(&eth0()));
    }

    #[test]
    fn all_is_said_again_with_the_first_frame_and_once_more_later() {
        let start = Boottime::after_boot(Duration::from_secs(1_000_000));
        let seconds = Duration::from_secs;
        // When the first frame is heard, and when everything is sent again by the clock.
        for (heard, again) in [(8, vec![35]), (30, vec![35]), (34, vec![39]), (50, vec![35, 55])] {
            let (mut ports, mut said) = (risen(start), Vec::new());
            for second in 0..200 {
                let now = start + seconds(second);
                if second >= heard {
                    assert_eq!(ports.hears(&eth0(), now), second == heard, "{second}");
                }
                said.extend(ports.due(now).0.iter().map(|_| second));
            }
            assert_eq!(said, again, "{heard}");
            assert_eq!(ports.answers_since(&eth0()), None, "it is of the past");
        }
    }
}
