//! Ports of switches that may not forward yet.
//!
//! A switch with spanning tree keeps a port that has come up shut for twice its forward delay, which is 15 s unless somebody set it to
//! something from 4 to 30 s (IEEE 802.1D-2004, table 17-1). The NIC has carrier meanwhile, and what is said goes nowhere. So what was
//! asked and said since the carrier rose is asked and said again when the first frame of another machine is heard. The near switch may
//! forward before the ones behind it do, so it is all said once more later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::conflict::{ANNOUNCE_NUM, Probe};
use ashore_wire::ndp::{Neighbour, RouterAdvertisement};
use ashore_wire::{Mac, heard};

use super::{Announcement, Table};
use crate::daemon::random;

/// By then a port forwards whose switch has the usual times.
const USUAL: Duration = Duration::from_secs(35);
/// By then any port forwards, so a machine that nobody has answered was asked.
const LATEST: Duration = Duration::from_secs(65);
/// The last word comes so long after the first frame, at least.
const ONCE_MORE: Duration = Duration::from_secs(5);
/// By then a host that starts has its carrier.
const BOOTING: Duration = Duration::from_secs(15);

/// The ports that parents are plugged into.
#[derive(Default)]
pub(super) struct Forwarding(BTreeMap<IfName, Port>);

struct Port {
    carriers: Carriers,
    risen: Option<Risen>,
}

/// The links by which a parent is on the wire and that have carrier, and how often each has got it: nobody may have looked while it had none.
type Carriers = BTreeSet<(u32, u32)>;

/// A carrier that rose a while ago.
struct Risen {
    at: Instant,
    /// When another machine was heard for the first time since.
    heard: Option<Instant>,
    /// When everything is said again, whatever is heard until then.
    again: Option<Instant>,
}

impl Forwarding {
    /// Takes in which links have carrier.
    pub(super) fn follow(&mut self, state: &State, host: &View, now: Instant) {
        let mut carriers: BTreeMap<IfName, Carriers> = BTreeMap::new();
        for network in state.networks.values() {
            let links =
                host.link(network.lower_device(host)).map(|link| host.facing(link)).unwrap_or_default();
            let passing = links.into_iter().filter(|link| link.up && link.carrier).map(|link| link.index);
            let counted = passing.map(|index| (index, host.rises.get(&index).copied().unwrap_or_default()));
            carriers.insert(network.parent.clone(), counted.collect());
        }
        // Before the host started there was none.
        let earliest = || now.checked_sub(uptime()?.saturating_sub(BOOTING));
        self.see(carriers, earliest, now);
    }

    /// The same, by links. Of those that were not seen before it is only known when the carrier rose at the earliest.
    fn see(
        &mut self,
        carriers: BTreeMap<IfName, Carriers>,
        earliest: impl Fn() -> Option<Instant>,
        now: Instant,
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

    /// A frame of another machine has come by a parent. Tells whether it is the first one since its carrier rose.
    fn hears(&mut self, parent: &IfName, now: Instant) -> bool {
        let risen = self.0.get_mut(parent).and_then(|port| port.risen.as_mut());
        let Some(risen) = risen.filter(|risen| risen.heard.is_none()) else { return false };
        risen.heard = Some(now);
        risen.again = Some((risen.at + USUAL).max(now + ONCE_MORE));
        true
    }

    /// Whether it is still to be seen that the port of a parent forwards.
    fn is_in_doubt(&self, parent: &IfName) -> bool {
        let risen = self.0.get(parent).and_then(|port| port.risen.as_ref());
        risen.is_some_and(|risen| risen.heard.is_none())
    }

    /// The parents by which everything is to be said again now, and when it will be by others.
    fn due(&mut self, now: Instant) -> (Vec<IfName>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None);
        for (parent, port) in &mut self.0 {
            let Some(risen) = &mut port.risen else { continue };
            if risen.again.take_if(|again| *again <= now).is_some() {
                due.push(parent.clone());
                // While nobody is heard, the first frame is still waited for.
                if risen.heard.is_some() {
                    port.risen = None;
                    continue;
                }
            }
            next = next.into_iter().chain(risen.again).min();
        }
        (due, next)
    }

    /// From when on somebody has been there to answer what was asked by a parent, if its carrier rose lately.
    pub(super) fn answers_since(&self, parent: &IfName) -> Option<Instant> {
        let risen = self.0.get(parent)?.risen.as_ref()?;
        Some(risen.heard.unwrap_or(risen.at + LATEST))
    }
}

impl Table {
    /// Takes in what came by a parent's own wire of ARP and neighbour discovery. Tells whether somebody who waits has to look again.
    pub(super) fn overhear(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        // What a machine that looks for an address of its own says, or for routers, a switch may say by a port that is shut.
        let asks = || matches!(Neighbour::parse(frame), Some(Neighbour::Asker { .. }));
        let claims = || heard(frame).is_some_and(|heard| heard.claims) && !asks();
        let says = || claims() || RouterAdvertisement::parse(frame).is_some();
        self.forwarding.is_in_doubt(parent) && says() && self.overhear_answer(parent, frame)
    }

    /// The same of what a server says to a client.
    pub(super) fn overhear_answer(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        let sender = frame.get(6..12).and_then(|mac| Some(Mac(mac.try_into().ok()?)));
        let first = sender.is_some_and(|sender| !self.own.is_own(sender))
            && self.forwarding.hears(parent, boottime());
        if first {
            tracing::info!(%parent, "other machines are heard since its carrier rose");
            self.ask_and_say_again(parent);
        }
        first
    }

    /// Asks and says again what nobody may have heard. Tells whether something was, and when it will be next.
    pub(super) fn forward(&mut self) -> (bool, Option<Duration>) {
        let now = boottime();
        let (due, next) = self.forwarding.due(now);
        for parent in &due {
            self.ask_and_say_again(parent);
        }
        (!due.is_empty(), next.map(|next| next.saturating_duration_since(now)))
    }

    fn ask_and_say_again(&mut self, parent: &IfName) {
        // What nobody was asked, nobody has answered.
        self.clear.retain(|(on, _), _| on != parent);
        self.probes.retain(|(on, _), probe| on != parent || !probe.is_last());
        for probe in self.probes.iter_mut().filter(|((on, _), _)| on == parent).map(|(_, probe)| probe) {
            *probe = Probe::new(probe.ip(), probe.own(), probe.profile(), Instant::now(), random());
        }
        // An engine may have made a link anew under another MAC, which its list does not show yet.
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
    }
}

/// For how long the host has run.
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
    fn risen(now: Instant) -> Forwarding {
        let mut ports = Forwarding::default();
        ports.see(with(&[]), || None, now);
        ports.see(with(&[(2, 1)]), || None, now);
        ports
    }

    #[test]
    fn a_carrier_rises_once_and_one_of_before_this_daemon_only_if_the_host_has_just_started() {
        /// The carriers one after the other, when the host started, and when the last one rose.
        type Case<'a> = (&'a [&'a [(u32, u32)]], Instant, Option<Instant>);
        let start = Instant::now();
        let (now, long_ago) = (start + LATEST, start);
        let lately = now.checked_sub(BOOTING).unwrap();
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
            // Nothing changes with the next look.
            ports.see(with(seen.last().unwrap()), || Some(booted), now + USUAL);
            assert_eq!(ports.answers_since(&eth0()), rises.map(|at| at + LATEST), "{at}");
        }
    }

    #[test]
    fn all_is_said_again_with_the_first_frame_and_once_more_later() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        // When the first frame is heard, and when everything is said again by the clock.
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
