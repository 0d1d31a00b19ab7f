//! What the daemon hears and sends on the LAN: conflict detection before an address is used, announcements
//! and defence while it is in use, leases of the LAN's DHCP servers, surveys of their pools, and router
//! advertisements.
//!
//! One thread owns all sockets and timers. It opens a packet socket on each parent in use and one on its
//! shim, because only the shim receives what a sibling on the same parent sends. All other threads use its
//! state through one lock, and wait on one condition variable.
//!
//! A frame that a parent receives counts only for the networks on that parent. Another parent may be on
//! another LAN, where the same address belongs to another machine. If both are on one LAN, both receive the
//! frame.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ashore_core::api::map::{Claimed, Machine};
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::rules::addresses_in_use;
use ashore_kernel::{Namespace, Waker};
use ashore_wire::conflict::{ANNOUNCE_INTERVAL, ANNOUNCE_NUM, Defence, Probe, announcement, probe_frame};
use ashore_wire::{Mac, heard};
use ipnet::IpNet;

use super::chronicle::Chronicle;
use super::follower::Published;
use crate::engines::turns::Lists;
use crate::supervise::spawn_needed;

/// How many frames are read from one socket before the other sockets and the timers get their turn.
const MOST_AT_ONCE: usize = 256;
/// How many machines that claim one address are remembered.
const MOST_CLAIMS: usize = 8;
/// How long until a parent that could not send is tried again.
const UNREACHABLE_FOR: Duration = Duration::from_secs(10);
/// How long until an address is probed again while a link that had it is being removed.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// For how long a claim on an endpoint's address is shown as a conflict, in seconds.
const CONFLICT_SHOWN: u64 = 600;

mod claims;
mod clients;
mod doubts;
mod following;
mod forwarding;
mod gateways;
mod hearsay;
mod inquiries;
mod leases;
mod leases6;
mod listener;
mod mouths;
mod names;
mod own;
mod pool;
mod probes;
mod routers;
mod send_queue;
mod unreachable;

pub(crate) use claims::Claim;
use claims::Claims;
use doubts::Doubts;
use following::reserved_for_host;
use forwarding::Forwarding;
use gateways::Gateways;
use hearsay::Hearsay;
use inquiries::Inquiries;
pub(crate) use leases::{Acquired, Changed, NoLease, Standing, Wanted};
use leases::{Changes, Leases};
use leases6::Leases6;
pub(crate) use leases6::Standing6;
use listener::Listener;
use names::Names;
use own::Own;
pub(crate) use pool::Patience;
use pool::Surveys;
use probes::{CLEAR_FOR, Clearance, Coming};
pub(crate) use probes::{Prefetch, Sought};
use routers::Routers;
pub(crate) use routers::moment;
use send_queue::{SendQueue, Unsent};
pub(crate) use unreachable::Unreachable;
use unreachable::{said, said_or_waits};

/// An address on the LAN of a parent.
type OnLan = (IfName, IpAddr);

/// The handle by which other threads use the LAN.
#[derive(Clone)]
pub(crate) struct Lan {
    shared: Arc<Shared>,
    chronicle: Chronicle,
}

struct Shared {
    table: Mutex<Table>,
    /// Notified whenever something that a thread may wait for has happened, such as the end of a probe.
    ended: Condvar,
    waker: Waker,
}

/// The state of the LAN thread.
#[derive(Default)]
struct Table {
    /// The parents to listen on.
    parents: BTreeMap<IfName, Tap>,
    /// The parents of networks that are being created, each with the number of these networks.
    temporary_taps: BTreeMap<IfName, (Tap, usize)>,
    /// The parents through which nothing can be sent, and since when.
    unreachable: BTreeMap<IfName, (Unreachable, Instant)>,
    /// Which of this host's MACs may speak for which addresses.
    own: Own,
    probes: BTreeMap<OnLan, Probe>,
    /// The parents whose sockets have more frames than were read so far. An answer may be among them.
    behind: BTreeSet<IfName>,
    /// Probes that ended without a result because frames were lost, and when they ended.
    unheard: BTreeMap<OnLan, Instant>,
    /// The addresses that no machine was heard to have, and since when.
    clear: BTreeMap<OnLan, Clearance>,
    /// The addresses for which a brief look began ahead of a request, and until when the request may rely on
    /// it.
    glanced: BTreeMap<OnLan, Instant>,
    /// The addresses that were taken for an endpoint a moment ago.
    coming: BTreeMap<OnLan, Coming>,
    /// What each parent heard about addresses that no endpoint has there.
    hearsay: BTreeMap<IfName, Hearsay>,
    defended: BTreeMap<OnLan, Defended>,
    doubts: Doubts,
    forwarding: Forwarding,
    gateways: Gateways,
    names: Names,
    /// The subnets whose addresses are of interest.
    subnets: BTreeSet<(IfName, IpNet)>,
    conflicts: BTreeMap<OnLan, BTreeMap<Mac, u64>>,
    claims: Claims,
    /// Is told of conflicts.
    chronicle: Option<Chronicle>,
    announcements: Vec<Announcement>,
    send_queue: RefCell<SendQueue>,
    prefetch: Vec<Prefetch>,
    leases: Leases,
    /// The receiver of changes to IPv4 leases.
    changes: Changes,
    leases6: Leases6,
    inquiries: Inquiries,
    surveys: Surveys,
    routers: Routers,
    /// What was published last.
    followed: Option<Published>,
}

/// A parent to listen on, by interface index, with its shim and its own MAC, and the MAC to send probes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tap {
    parent: u32,
    mac: Mac,
    shim: Option<u32>,
    own: Mac,
}

/// An address in use.
struct Defended {
    defence: Defence,
    /// Whether an engine creates the link itself, so that its MAC is known only from the engine's list.
    by_list: bool,
}

struct Announcement {
    parent: IfName,
    ip: IpAddr,
    mac: Mac,
    due: Instant,
    left: u32,
}

impl Lan {
    /// Starts the LAN thread, which listens in a namespace.
    pub(crate) fn start(namespace: Namespace, lists: Lists, chronicle: Chronicle) -> io::Result<Self> {
        let table =
            Table { doubts: Doubts::of(lists), chronicle: Some(chronicle.clone()), ..Table::default() };
        let shared = Shared { table: Mutex::new(table), ended: Condvar::new(), waker: Waker::new()? };
        let lan = Lan { shared: Arc::new(shared), chronicle };
        let listener = Listener::new(namespace, lan.clone());
        spawn_needed("lan", move || listener.run())?;
        Ok(lan)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of conflicts, and of all else that happens.
    pub(crate) fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    /// Listens on a parent that has no network yet, until the returned value is dropped.
    pub(crate) fn listen(&self, parent: &IfName, host: &View) -> Listening<'_> {
        let listening = Listening { lan: self, parent: parent.clone() };
        let Some(link) = host.link(parent) else { return listening };
        let Some(mac) = link.mac else { return listening };
        let tap = Tap { parent: link.index, mac, shim: None, own: mac };
        let mut table = self.table();
        table.temporary_taps.entry(parent.clone()).or_insert((tap.clone(), 0)).1 += 1;
        table.parents.entry(parent.clone()).or_insert(tap);
        drop(table);
        self.shared.waker.wake();
        listening
    }

    /// The parents through which nothing can be sent at present.
    pub(crate) fn unreachable(&self) -> Vec<Unreachable> {
        self.table().unreachable.values().map(|(unreachable, _)| unreachable.clone()).collect()
    }

    /// The host was asleep. What was said and asked is said and asked again, as after a carrier has risen.
    pub(crate) fn wakes(&self) {
        let mut table = self.table();
        table.forwarding.wakes(ashore_kernel::boottime());
        table.names.wake();
        drop(table);
        self.shared.waker.wake();
    }

    /// Announces an endpoint's addresses, so that other machines update stale caches.
    pub(crate) fn announce(&self, state: &State, endpoint: &Endpoint) {
        let Some(network) = state.network_of(endpoint) else { return };
        let mut table = self.table();
        let parents = table.parents.get(&network.parent).map(|tap| tap.mac);
        let Some(mac) = endpoint.mac_on_lan().or(parents) else { return };
        for net in &endpoint.addresses {
            let (parent, ip, due) = (network.parent.clone(), net.addr(), Instant::now());
            table.announcements.push(Announcement { parent, ip, mac, due, left: ANNOUNCE_NUM });
        }
        drop(table);
        self.shared.waker.wake();
    }

    /// Addresses that other machines on a parent's LAN were heard to have, or to be about to take.
    pub(crate) fn hearsay(&self, parent: &IfName) -> BTreeMap<IpAddr, addresses_in_use::Hearsay> {
        self.table().hearsay.get(parent).map_or_else(BTreeMap::new, |there| there.all(Instant::now()))
    }

    /// The machine that last claimed an address or probed for it.
    pub(crate) fn said_of(&self, parent: &IfName, ip: IpAddr) -> Option<Mac> {
        self.table().hearsay.get(parent)?.said_of(ip)
    }

    /// The machines that were heard on a parent's LAN, and those that recently claimed addresses that are in use there.
    pub(crate) fn machines(&self, parent: &IfName) -> (Vec<Machine>, Vec<Claimed>) {
        let table = self.table();
        let heard = table.hearsay.get(parent).map(|there| there.machines(Instant::now(), seconds()));
        let claimed = table.conflicts.iter().filter(|((on, _), _)| on == parent);
        let claimed = claimed.flat_map(|((_, ip), claims)| {
            claims.iter().map(|(mac, at)| Claimed { ip: *ip, mac: *mac, at: *at })
        });
        (heard.unwrap_or_default(), claimed.collect())
    }

    /// Whether another machine was recently heard to have an address.
    pub(crate) fn is_claimed(&self, parent: &IfName, ip: IpAddr) -> bool {
        self.table().hearsay.get(parent).is_some_and(|there| there.is_claimed(ip))
    }

    /// Whether a machine answered the last probe for an address.
    pub(crate) fn has_answered(&self, parent: &IfName, ip: IpAddr) -> bool {
        self.table().answered_since(parent, ip, None).is_some()
    }

    /// Machines that recently claimed one of the host's addresses on a shim.
    pub(crate) fn conflicts_of_host(&self, state: &State) -> Vec<(OnLan, Mac)> {
        let reserved: BTreeSet<OnLan> = state.networks.values().flat_map(reserved_for_host).collect();
        let table = self.table();
        let claimed = table.conflicts.iter().filter(|(key, _)| reserved.contains(key));
        claimed.flat_map(|(key, claims)| claims.keys().map(|mac| (key.clone(), *mac))).collect()
    }

    /// Machines that recently claimed an endpoint's addresses, and when (seconds since 1970).
    pub(crate) fn conflicts_of(&self, state: &State, endpoint: &Endpoint) -> BTreeMap<Mac, u64> {
        let Some(Network { parent, .. }) = state.network_of(endpoint) else { return BTreeMap::new() };
        let table = self.table();
        let of = |net: &IpNet| table.conflicts.get(&(parent.clone(), net.addr()));
        endpoint.addresses.iter().filter_map(of).flatten().map(|(mac, at)| (*mac, *at)).collect()
    }
}

/// Listens on a parent before it has a network. It ends when this is dropped.
pub(crate) struct Listening<'a> {
    lan: &'a Lan,
    parent: IfName,
}

impl Drop for Listening<'_> {
    /// The parent itself is dropped with the next update, if it still has no network then.
    fn drop(&mut self) {
        let mut table = self.lan.table();
        if let Some((_, count)) = table.temporary_taps.get_mut(&self.parent) {
            *count -= 1;
        }
        table.temporary_taps.retain(|_, (_, count)| *count > 0);
    }
}

impl Table {
    /// Sends what is due. Returns the time of the next action, and whether something that a thread waits for
    /// has ended.
    fn turn(&mut self, send: &Send) -> (Instant, bool) {
        let now = Instant::now();
        self.hearsay.retain(|_, there| there.forget(|_, _| false, now));
        self.coming.retain(|_, coming| now < coming.until);
        self.glanced.retain(|_, until| now < *until);
        self.unheard.retain(|_, ended| now.saturating_duration_since(*ended) < CLEAR_FOR);
        self.clear.retain(|_, clearance| now.saturating_duration_since(clearance.since) < CLEAR_FOR);
        let today = seconds();
        self.conflicts.retain(|_, claims| {
            claims.retain(|_, at| today.saturating_sub(*at) < CONFLICT_SHOWN);
            !claims.is_empty()
        });
        for (parent, error) in self.send_queue.get_mut().turn(now, send) {
            said(&mut self.unreachable, &parent, Err(error));
        }
        let (again, forwards) = self.forward();
        let (mut next, mut ended) = self.look(now, send);
        ended |= again;
        next = forwards.map(|wait| now + wait).into_iter().chain([next]).min().unwrap_or(next);
        next = self.settle_doubts(now, send).into_iter().chain([next]).min().unwrap_or(next);
        let (asks, answered) = self.gateways.turn(&self.parents, &self.behind, now, send);
        next = asks.into_iter().chain([next]).min().unwrap_or(next);
        ended |= answered;
        let (unreachable, send_queue) = (&mut self.unreachable, &self.send_queue);
        let send_soon =
            &|parent: &IfName, frame: &[u8]| send_queue.borrow_mut().send(parent, frame, now, send);
        self.announcements.retain_mut(|announcement_due| {
            if now >= announcement_due.due {
                let Announcement { parent, ip, mac, left, .. } = &*announcement_due;
                // A machine that took the address silently answers this probe, and is shown as a conflict.
                let probe = (*left == ANNOUNCE_NUM).then(|| probe_frame(*mac, *ip));
                let mut frames = probe.into_iter().chain([announcement(*mac, *ip)]);
                let outcome =
                    frames.try_for_each(|frame| send_queue.borrow_mut().send_now(parent, &frame, now, send));
                match outcome {
                    // There may be hundreds at once. Each is sent when there is room for it.
                    Err(Unsent::Full(again)) => announcement_due.due = again,
                    Ok(()) | Err(Unsent::Failed(_)) => {
                        said(unreachable, parent, outcome.map_err(Unsent::into_error));
                        announcement_due.left -= 1;
                        announcement_due.due = now + ANNOUNCE_INTERVAL;
                    }
                }
            }
            next = next.min(announcement_due.due);
            announcement_due.left > 0
        });
        let send = &|parent: &IfName, frame: &[u8]| send_soon(parent, frame).map(drop);
        let (wait, heard, changed) = self.leases.turn_by_turn(send);
        next = wait.map(|wait| now + wait).into_iter().chain([next]).min().unwrap_or(next);
        ended |= heard;
        for key in changed {
            self.changes.say(key);
        }
        let (wait, changed) = self.leases6.turn(send, |_, _| true);
        next = wait.map(|wait| now + wait).into_iter().chain([next]).min().unwrap_or(next);
        let (wait, told) = self.inquiries.turn(send);
        next = wait.map(|wait| now + wait).into_iter().chain([next]).min().unwrap_or(next);
        // DHCPv6 addresses and DNS servers are applied together with the routers' offer.
        let of_leases = changed.iter().filter_map(|key| self.leases6.parent_of(key));
        let parents: BTreeSet<_> = of_leases.chain(&told).collect();
        for parent in parents {
            self.routers.say_changed(parent);
        }
        let (wait, failed) = self.surveys.turn(&self.parents, send, unreachable);
        next = wait.into_iter().chain([next]).min().unwrap_or(next);
        ended |= failed;
        let wait = self.routers.turn(&self.parents, send);
        next = wait.map(|wait| now + wait).into_iter().chain([next]).min().unwrap_or(next);
        let again =
            unreachable.values().map(|(_, since)| *since + UNREACHABLE_FOR).filter(|again| *again > now);
        next = again.chain([next]).min().unwrap_or(next);
        next = send_queue.borrow().next().into_iter().chain([next]).min().unwrap_or(next);
        (next, ended)
    }

    /// Handles a frame that a parent received. Sends urgent replies through `send`.
    fn hear(&mut self, parent: &IfName, frame: &[u8], send: &Send) {
        let Some(heard) = heard(frame) else { return };
        let now = Instant::now();
        let key = (parent.clone(), heard.ip);
        // A MAC that has left an address has no say in it once another endpoint has the address.
        let is_had = self.defended.contains_key(&key);
        if !is_had && self.own.is_leaving(heard.ip, heard.sender, now) {
            match self.probes.get_mut(&key) {
                // A brief look is not repeated, because an attach waits for it. The address is probed in full
                // instead.
                Some(probe) if probe.is_brief() => drop(self.clear.remove(&key)),
                Some(probe) => probe.ask_again(now + ON_ITS_WAY),
                None => {}
            }
            return;
        }
        let is_of_interest = is_had || self.probes.contains_key(&key);
        let counts = is_of_interest && self.own.has_left(heard.ip, heard.sender, now);
        if self.own.may_say(&heard, now) && !counts {
            return;
        }
        if let Some(probe) = self.probes.get_mut(&key) {
            probe.observe(&heard);
        }
        if !heard.claims {
            self.tell_who_looks(&key, now, send);
        }
        if let Some(there) = self.defended.get(&key) {
            if !there.by_list {
                self.defend(parent, &heard, now, send);
            } else if there.defence.is_claimed_by(&heard) {
                self.doubts.take(parent, heard, there.defence.owner(), now);
            }
        } else {
            // A machine that probes for an address wants it. If several hosts assign from one range, the host
            // that probed last gets the address, and the other host chooses another. They cannot both find it
            // free without one hearing the other.
            let cleared = self.clear.remove(&key);
            let asked = cleared.map(|clearance| clearance.asked.unwrap_or(clearance.since));
            let of_interest = self.subnets.iter().any(|(on, net)| on == parent && net.contains(&heard.ip))
                || self.probes.contains_key(&key);
            if of_interest {
                self.hearsay.entry(key.0).or_default().overhear(&heard, asked, now);
            }
        }
    }

    /// The defence of an address by a MAC. Continues the previous one if the owner is the same.
    fn defence(&mut self, key: &OnLan, mac: Mac) -> Defence {
        let before = self.defended.remove(key).map(|there| there.defence);
        before.filter(|defence| defence.owner() == mac).unwrap_or_else(|| Defence::new(key.1, mac))
    }

    /// The machine that answered a probe for an address, if one did since the given time.
    fn answered_since(&self, parent: &IfName, ip: IpAddr, since: Option<Instant>) -> Option<Mac> {
        self.hearsay.get(parent)?.answered_since(ip, since)
    }
}

/// Sends a frame through a parent.
type Send<'a> = dyn Fn(&IfName, &[u8]) -> io::Result<()> + 'a;

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_makes_up_macs_and_addresses_costs_little_memory() {
        let ours: IpAddr = "192.168.88.192".parse().expect("an address");
        let mac = |n: u32| {
            Mac([2, 0, n.to_be_bytes()[0], n.to_be_bytes()[1], n.to_be_bytes()[2], n.to_be_bytes()[3]])
        };
        let (eth0, net): (IfName, _) = ("eth0".parse().expect("a name"), "192.168.88.0/24".parse());
        let subnets = BTreeSet::from([(eth0.clone(), net.expect("a subnet"))]);
        let mut table = Table { subnets, ..Table::default() };
        let (key, defence) = ((eth0.clone(), ours), Defence::new(ours, mac(0)));
        table.defended.insert(key.clone(), Defended { defence, by_list: false });
        for n in 1..10_000_u32 {
            let other = IpAddr::from((10 << 24 | n).to_be_bytes());
            table.hear(&eth0, &announcement(mac(n), ours), &|_, _| Ok(()));
            table.hear(&eth0, &announcement(mac(n), other), &|_, _| Ok(()));
        }
        assert_eq!(table.conflicts[&key].len(), MOST_CLAIMS);
        assert!(table.hearsay.is_empty(), "no network has these");
    }

    #[test]
    fn what_was_clear_is_forgotten_once_it_is_of_no_use() {
        let key = |n: u16| ("eth0".parse().expect("a name"), IpAddr::from([0xfd88, 0, 0, n, 0, 0, 0, 7]));
        let mut table = Table::default();
        let now = Instant::now();
        let long_ago = now.checked_sub(CLEAR_FOR).expect("the machine runs for longer");
        for n in 0..1000 {
            table.clear.insert(key(n), Clearance { since: long_ago, by: None, asked: None });
        }
        table.clear.insert(key(1000), Clearance { since: now, by: None, asked: None });
        table.turn(&|_, _| Ok(()));
        assert_eq!(table.clear.keys().collect::<Vec<_>>(), [&key(1000)]);
    }

    #[test]
    fn who_looks_for_what_was_taken_a_moment_ago_is_told_so_a_few_times() {
        let (ip, other) = (IpAddr::from([192, 168, 88, 192]), Mac([2, 0, 0, 0, 0, 2]));
        let eth0: IfName = "eth0".parse().expect("a name");
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let tap = Tap { parent: 2, mac, shim: None, own: mac };
        let mut table = Table { parents: BTreeMap::from([(eth0.clone(), tap.clone())]), ..Table::default() };
        let (until, said) = (Instant::now() + Duration::from_secs(30), RefCell::new(Vec::new()));
        let send = |_: &IfName, frame: &[u8]| {
            said.borrow_mut().push(frame.to_vec());
            Ok(())
        };
        table.hear(&eth0, &probe_frame(other, ip), &send);
        assert!(said.borrow().is_empty(), "no endpoint takes it");
        table.coming.insert((eth0.clone(), ip), Coming::new(until));
        table.hear(&eth0, &announcement(other, ip), &send);
        assert!(said.borrow().is_empty(), "a claim is not a question");
        table.hear(&"eth1".parse().expect("a name"), &probe_frame(other, ip), &send);
        assert!(said.borrow().is_empty(), "another parent is another LAN");
        for _ in 0..100 {
            table.hear(&eth0, &probe_frame(other, ip), &send);
        }
        assert_eq!(said.borrow().len(), probes::MOST_TOLD as usize);
        assert!(said.borrow().iter().all(|frame| *frame == probe_frame(tap.mac, ip)));
    }
}
