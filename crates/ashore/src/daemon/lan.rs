//! What the daemon hears on the LAN and says there: conflict detection before an address is used, announcements when it
//! is, defence while it is.
//!
//! One thread owns all sockets and clocks. It opens a packet socket on each parent in use, and one on its shim, because a
//! sibling on the same parent is heard by the shim alone. Everything else asks it through one lock, and waits on one
//! condition.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ashore_core::endpoint::Endpoint;
use ashore_core::link::Tag;
use ashore_core::name::IfName;
use ashore_core::network::{HOST_AUX, Network};
use ashore_core::observed::{Link, ObservedKind, View};
use ashore_core::state::State;
use ashore_kernel::{Namespace, PacketSocket, Waker, wait_readable};
use ashore_wire::conflict::{
    ANNOUNCE_INTERVAL, ANNOUNCE_NUM, Action, Defence, Probe, Profile, Response, announcement, probe_frame,
};
use ashore_wire::{Mac, filter, heard};
use ipnet::IpNet;

/// For how long a look at the LAN, with listening ever since, is good enough to use an address without another.
const CLEAR_FOR: Duration = Duration::from_secs(120);
/// An address looked at ahead is looked at again when its clearance is this old.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// For how long a machine that was heard is taken to have its address still.
const HEARD_FOR: Duration = Duration::from_secs(300);
/// For how long a machine that looked for an address is given to take it.
const WANTED_FOR: Duration = Duration::from_secs(30);
/// How many of the LAN's addresses are kept in mind: more than a home has, and little memory when somebody makes them up.
const MOST_HEARD: usize = 4096;
/// How many machines that claim one address are kept in mind.
const MOST_CLAIMS: usize = 8;
/// For how long a claim on an endpoint's address is shown as a conflict, in seconds.
const CONFLICT_SHOWN: u64 = 600;

/// The handle by which everybody else asks.
#[derive(Clone)]
pub(crate) struct Lan {
    shared: Arc<Shared>,
}

/// Addresses that will be wanted next on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) parent: IfName,
    pub(crate) profile: Profile,
    pub(crate) ips: Vec<IpAddr>,
}

struct Shared {
    table: Mutex<Table>,
    /// Rung whenever a probe has ended.
    ended: Condvar,
    waker: Waker,
}

/// All that is known and wanted.
#[derive(Default)]
struct Table {
    /// Parents to listen on.
    parents: BTreeMap<IfName, Ear>,
    /// MACs that are Ashore's or the host's own.
    own: BTreeSet<Mac>,
    probes: BTreeMap<(IfName, IpAddr), Probe>,
    /// Addresses that nobody was heard to have, and since when.
    clear: BTreeMap<(IfName, IpAddr), Clearance>,
    /// Addresses that another machine has or is about to take, and until when that is believed without hearing it again.
    heard: BTreeMap<IpAddr, (Mac, Instant)>,
    defended: BTreeMap<IpAddr, (IfName, Defence)>,
    /// Whose addresses are of interest.
    subnets: Vec<IpNet>,
    conflicts: BTreeMap<IpAddr, BTreeMap<Mac, u64>>,
    announcements: Vec<Announcement>,
    ahead: Vec<Ahead>,
}

/// Why an address is taken to be nobody's.
#[derive(Debug, Clone, Copy)]
struct Clearance {
    since: Instant,
    /// How thoroughly it was looked for; nothing if it was an endpoint's until then.
    by: Option<Profile>,
}

/// Where to listen on a parent, by the kernel's numbers, and from which MAC to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ear {
    parent: u32,
    mac: Mac,
    shim: Option<u32>,
}

struct Announcement {
    parent: IfName,
    ip: IpAddr,
    mac: Mac,
    due: Instant,
    left: u32,
}

impl Lan {
    /// Starts the thread that listens in a namespace.
    pub(crate) fn start(namespace: Namespace) -> std::io::Result<Self> {
        let shared = Shared { table: Mutex::default(), ended: Condvar::new(), waker: Waker::new()? };
        let lan = Lan { shared: Arc::new(shared) };
        let listener = Listener { namespace, lan: lan.clone(), sockets: BTreeMap::new() };
        std::thread::Builder::new().name("lan".into()).spawn(move || listener.run())?;
        Ok(lan)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in which parents, MACs and addresses are ours now.
    pub(crate) fn follow(&self, state: &State, host: &View) {
        let mut table = self.table();
        table.own = host.links.iter().filter_map(|link| link.mac).collect();
        table.own.extend(state.endpoints.values().filter_map(|endpoint| endpoint.mac));
        // A container that is being torn down answers for a moment longer, and is no stranger.
        table.own.extend(state.identities.values().filter_map(|identity| identity.mac));
        let before = std::mem::take(&mut table.parents);
        table.parents = state
            .networks
            .values()
            .filter_map(|network| {
                let parent = host.link(&network.parent)?;
                // An ipvlan parent hears and reaches the wire itself; a shim in l3 mode sends no ARP (Linux 6.1, `ipvlan_core.c`).
                let hears = |shim: &&Link| shim.up && matches!(shim.kind, ObservedKind::Macvlan { .. });
                let shim = host.tagged(&Tag::Shim(network.parent.clone())).filter(hears);
                // Siblings answer to the shim's MAC: an answer to the parent's would leave by the wire.
                let mac = shim.and_then(|shim| shim.mac).or(parent.mac)?;
                let ear = Ear { parent: parent.index, mac, shim: shim.map(|shim| shim.index) };
                Some((network.parent.clone(), ear))
            })
            .collect();
        // Who listens by another link than before has not heard what that one hears.
        let Table { parents, clear, probes, .. } = &mut *table;
        clear.retain(|(parent, _), _| before.get(parent) == parents.get(parent));
        probes.retain(|(parent, _), _| before.get(parent) == parents.get(parent));
        let mut defended = BTreeMap::new();
        for endpoint in state.endpoints.values().filter(|endpoint| endpoint.is_wanted()) {
            let Some(network) = state.network_of(endpoint) else { continue };
            // Where the link shares the parent's MAC, the LAN knows the address by that one.
            let Some(mac) = endpoint.mac.or_else(|| host.link(&network.parent)?.mac) else { continue };
            for net in &endpoint.addresses {
                let ip = net.addr();
                let before = table.defended.remove(&ip).filter(|(_, defence)| defence.owner() == mac);
                let defence = before.map_or_else(|| Defence::new(ip, mac), |(_, defence)| defence);
                defended.insert(ip, (network.parent.clone(), defence));
                table.clear.remove(&(network.parent.clone(), ip));
            }
        }
        for (parent, ip, mac) in numbered_shims(state, host) {
            let before = table.defended.remove(&ip).filter(|(_, defence)| defence.owner() == mac);
            let defence = before.map_or_else(|| Defence::new(ip, mac), |(_, defence)| defence);
            defended.insert(ip, (parent, defence));
        }
        table.subnets =
            state.networks.values().flat_map(|network| &network.subnets).map(|subnet| subnet.net).collect();
        // A second announcement of what has left would take the address from whoever has it now.
        let is_so = |due: &Announcement| defended.get(&due.ip).is_some_and(|(_, own)| own.owner() == due.mac);
        table.announcements.retain(is_so);
        // What was defended until now is as clear as anything that was looked for.
        let now = Instant::now();
        for (ip, (parent, _)) in std::mem::take(&mut table.defended) {
            if !table.conflicts.contains_key(&ip) {
                table.clear.insert((parent, ip), Clearance { since: now, by: None });
            }
        }
        table.conflicts.retain(|ip, _| defended.contains_key(ip));
        table.defended = defended;
        drop(table);
        self.shared.ended.notify_all();
        self.shared.waker.wake();
    }

    /// Listens on a parent before there is a network on it, until the next change.
    pub(crate) fn listen(&self, parent: &IfName, host: &View) {
        let Some(link) = host.link(parent) else { return };
        let Some(mac) = link.mac else { return };
        let ear = Ear { parent: link.index, mac, shim: None };
        self.table().parents.entry(parent.clone()).or_insert(ear);
        self.shared.waker.wake();
    }

    /// Keeps these addresses looked at, so that an attach need not wait.
    pub(crate) fn look_ahead(&self, ahead: Vec<Ahead>) {
        self.table().ahead = ahead;
        self.shared.waker.wake();
    }

    /// Whether an address may be used without looking first.
    pub(crate) fn is_clear(&self, parent: &IfName, ip: IpAddr, profile: Profile) -> bool {
        let table = self.table();
        // Without a link to look on there is nobody to meet either.
        !table.parents.contains_key(parent) || table.is_clear(&(parent.clone(), ip), profile, CLEAR_FOR)
    }

    /// Looks for addresses, and returns when each is either clear or another's.
    pub(crate) fn probe(&self, parent: &IfName, ips: &[IpAddr], profile: Profile) {
        let mut table = self.table();
        for ip in ips {
            table.begin(parent, *ip, profile);
        }
        self.shared.waker.wake();
        while ips.iter().any(|ip| table.probes.contains_key(&(parent.clone(), *ip))) {
            table = self.shared.ended.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells the LAN that an endpoint has its addresses now, so that stale caches change.
    pub(crate) fn announce(&self, state: &State, endpoint: &Endpoint) {
        let Some(network) = state.network_of(endpoint) else { return };
        let mut table = self.table();
        let parents = table.parents.get(&network.parent).map(|ear| ear.mac);
        let Some(mac) = endpoint.mac.or(parents) else { return };
        for net in &endpoint.addresses {
            let (parent, ip, due) = (network.parent.clone(), net.addr(), Instant::now());
            table.announcements.push(Announcement { parent, ip, mac, due, left: ANNOUNCE_NUM });
        }
        drop(table);
        self.shared.waker.wake();
    }

    /// Addresses that other machines have.
    pub(crate) fn on_lan(&self) -> BTreeMap<IpAddr, Mac> {
        let now = Instant::now();
        let table = self.table();
        let fresh = table.heard.iter().filter(|(_, (_, until))| now < *until);
        fresh.map(|(ip, (mac, _))| (*ip, *mac)).collect()
    }

    /// Machines that claimed an address of the host's on a shim lately.
    pub(crate) fn conflicts_of_host(&self, state: &State) -> Vec<(IpAddr, Mac)> {
        let reserved = state.networks.values().flat_map(|network| &network.subnets);
        let reserved: BTreeSet<IpAddr> =
            reserved.filter_map(|subnet| subnet.aux.get(HOST_AUX)).copied().collect();
        let table = self.table();
        let claimed = table.conflicts.iter().filter(|(ip, _)| reserved.contains(ip));
        claimed.flat_map(|(ip, claims)| claims.keys().map(|mac| (*ip, *mac))).collect()
    }

    /// Machines that claimed an endpoint's addresses lately, and when (seconds since 1970).
    pub(crate) fn conflicts_of(&self, endpoint: &Endpoint) -> BTreeMap<Mac, u64> {
        let table = self.table();
        let mine = endpoint.addresses.iter().filter_map(|net| table.conflicts.get(&net.addr())).flatten();
        mine.map(|(mac, at)| (*mac, *at)).collect()
    }
}

/// The addresses that the host has on shims of its own, and the MACs that the LAN knows them by.
fn numbered_shims(state: &State, host: &View) -> Vec<(IfName, IpAddr, Mac)> {
    let of_network = |network: &Network| {
        let shim = host.tagged(&Tag::Shim(network.parent.clone()))?.mac?;
        let reserved = network.subnets.iter().filter_map(|subnet| subnet.aux.get(HOST_AUX));
        Some(reserved.map(|ip| (network.parent.clone(), *ip, shim)).collect::<Vec<_>>())
    };
    state.networks.values().filter(|network| network.wants_shim()).filter_map(of_network).flatten().collect()
}

impl Table {
    fn is_clear(&self, key: &(IfName, IpAddr), profile: Profile, age: Duration) -> bool {
        self.clear.get(key).is_some_and(|clearance| {
            clearance.by.is_none_or(|by| by == profile) && clearance.since.elapsed() < age
        })
    }

    fn begin(&mut self, parent: &IfName, ip: IpAddr, profile: Profile) {
        let Some(ear) = self.parents.get(parent) else { return };
        let mac = ear.mac;
        let random = u64::from(std::process::id())
            ^ u64::from(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.subsec_nanos()));
        let probe = || Probe::new(ip, mac, profile, Instant::now(), random);
        self.probes.entry((parent.clone(), ip)).or_insert_with(probe);
        self.clear.retain(|(_, known), _| *known != ip);
    }

    /// Begins to look at the next candidates whose clearance is missing or old.
    fn begin_ahead(&mut self) {
        let due: Vec<(IfName, IpAddr, Profile)> = self
            .ahead
            .iter()
            .filter(|ahead| ahead.profile != Profile::Off)
            .flat_map(|ahead| ahead.ips.iter().map(|ip| (ahead.parent.clone(), *ip, ahead.profile)))
            .filter(|(parent, ip, profile)| {
                let key = (parent.clone(), *ip);
                !self.is_clear(&key, *profile, LOOK_AGAIN)
                    && !self.probes.contains_key(&key)
                    && !self.heard.contains_key(ip)
            })
            .collect();
        for (parent, ip, profile) in due {
            self.begin(&parent, ip, profile);
        }
    }

    /// Sends what is due. Answers when something will be due next, and whether a probe ended.
    fn turn(&mut self, send: &mut dyn FnMut(&IfName, &[u8])) -> (Instant, bool) {
        let (now, mut next, mut ended) = (Instant::now(), Instant::now() + LOOK_AGAIN, false);
        self.heard.retain(|_, (_, until)| now < *until);
        let today = seconds();
        self.conflicts.retain(|_, claims| {
            claims.retain(|_, at| today.saturating_sub(*at) < CONFLICT_SHOWN);
            !claims.is_empty()
        });
        let mut probes = std::mem::take(&mut self.probes);
        probes.retain(|key, probe| {
            loop {
                match probe.poll(now) {
                    Action::Send(frame) => send(&key.0, &frame),
                    Action::Wait(until) => {
                        next = next.min(until);
                        return true;
                    }
                    Action::Clear => {
                        self.clear
                            .insert(key.clone(), Clearance { since: now, by: Some(probe.profile()) });
                        break;
                    }
                    Action::Conflict(mac) => {
                        tracing::warn!(ip = %key.1, %mac, parent = %key.0, "in use on the LAN, so not handed out");
                        self.heard.insert(key.1, (mac, now + HEARD_FOR));
                        break;
                    }
                }
            }
            ended = true;
            false
        });
        self.probes = probes;
        self.announcements.retain_mut(|announcement_due| {
            if now >= announcement_due.due {
                let Announcement { parent, ip, mac, left, .. } = &*announcement_due;
                // A machine that took the address in silence answers this, and is shown as a conflict.
                if *left == ANNOUNCE_NUM {
                    send(parent, &probe_frame(*mac, *ip));
                }
                send(parent, &announcement(*mac, *ip));
                announcement_due.left -= 1;
                announcement_due.due = now + ANNOUNCE_INTERVAL;
            }
            next = next.min(announcement_due.due);
            announcement_due.left > 0
        });
        (next, ended)
    }

    /// Takes in a frame. What has to be said at once goes out through `send`.
    fn hear(&mut self, frame: &[u8], send: &mut dyn FnMut(&IfName, &[u8])) {
        let Some(heard) = heard(frame) else { return };
        if self.own.contains(&heard.sender) {
            return;
        }
        for probe in self.probes.values_mut().filter(|probe| probe.ip() == heard.ip) {
            probe.observe(&heard);
        }
        let now = Instant::now();
        if let Some((parent, defence)) = self.defended.get_mut(&heard.ip) {
            match defence.observe(&heard, now) {
                Response::None => {}
                Response::Silent => self.note_conflict(heard.ip, heard.sender),
                Response::Defend(frame) => {
                    tracing::warn!(ip = %heard.ip, mac = %heard.sender, "claimed by another machine, and defended");
                    send(&parent.clone(), &frame);
                    self.note_conflict(heard.ip, heard.sender);
                }
            }
        } else {
            // Whoever looks for an address wants it. Where several hosts hand out one range, the one that looked last has
            // it, and the other looks further: both cannot have found it free without one hearing the other.
            let until = now + if heard.claims { HEARD_FOR } else { WANTED_FOR };
            self.clear.retain(|(_, ip), _| *ip != heard.ip);
            let of_interest = self.subnets.iter().any(|net| net.contains(&heard.ip))
                || self.probes.keys().any(|(_, ip)| *ip == heard.ip);
            if !of_interest || (self.heard.len() >= MOST_HEARD && !self.heard.contains_key(&heard.ip)) {
                return;
            }
            let entry = self.heard.entry(heard.ip).or_insert((heard.sender, until));
            if heard.claims || entry.1 < until {
                *entry = (heard.sender, until);
            }
        }
    }

    fn note_conflict(&mut self, ip: IpAddr, mac: Mac) {
        let claims = self.conflicts.entry(ip).or_default();
        claims.insert(mac, seconds());
        if claims.len() > MOST_CLAIMS
            && let Some(oldest) = claims.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac)
        {
            claims.remove(&oldest);
        }
    }
}

/// The thread.
struct Listener {
    namespace: Namespace,
    lan: Lan,
    sockets: BTreeMap<IfName, (Ear, Vec<PacketSocket>)>,
}

impl Listener {
    fn run(mut self) {
        loop {
            let next = self.turn();
            let sockets: Vec<&PacketSocket> =
                self.sockets.values().flat_map(|(_, sockets)| sockets).collect();
            let mut fds = vec![std::os::fd::AsFd::as_fd(&self.lan.shared.waker)];
            fds.extend(sockets.iter().map(|socket| std::os::fd::AsFd::as_fd(*socket)));
            let wait = next.saturating_duration_since(Instant::now());
            if let Err(error) = wait_readable(&fds, Some(wait)) {
                tracing::error!("waiting for the LAN: {error}");
                std::thread::sleep(Duration::from_secs(1));
            }
            self.lan.shared.waker.clear();
            self.listen();
        }
    }

    /// Opens and closes sockets as parents come and go, and does what is due.
    fn turn(&mut self) -> Instant {
        let lan = self.lan.clone();
        let mut table = lan.table();
        self.open_sockets(&table.parents);
        table.begin_ahead();
        let sockets = &self.sockets;
        let (next, ended) = table.turn(&mut |parent, frame| send(sockets, parent, frame));
        if ended {
            lan.shared.ended.notify_all();
        }
        next
    }

    fn open_sockets(&mut self, parents: &BTreeMap<IfName, Ear>) {
        self.sockets.retain(|name, (ear, _)| parents.get(name) == Some(ear));
        for (name, ear) in parents {
            if self.sockets.contains_key(name) {
                continue;
            }
            // The shim first: what is sent by it reaches siblings and the wire; without one the parent reaches the wire.
            let links = ear.shim.into_iter().chain([ear.parent]);
            let opened: Vec<PacketSocket> = links
                .filter_map(|link| {
                    PacketSocket::open(&self.namespace, link, &filter::arp_and_ndp())
                        .inspect_err(|error| tracing::warn!(parent = %name, "cannot listen: {error}"))
                        .ok()
                })
                .collect();
            self.sockets.insert(name.clone(), (ear.clone(), opened));
        }
    }

    fn listen(&self) {
        let mut buffer = [0; 2048];
        let mut table = self.lan.table();
        for (_, sockets) in self.sockets.values() {
            for socket in sockets {
                // An error is the link going down, which the next reconciliation sees.
                while let Ok(Some(frame)) = socket.receive(&mut buffer) {
                    let all = &self.sockets;
                    table.hear(frame, &mut |parent, frame| send(all, parent, frame));
                }
            }
        }
    }
}

fn send(sockets: &BTreeMap<IfName, (Ear, Vec<PacketSocket>)>, parent: &IfName, frame: &[u8]) {
    let Some(socket) = sockets.get(parent).and_then(|(_, sockets)| sockets.first()) else { return };
    if let Err(error) = socket.send(frame) {
        tracing::debug!(%parent, "could not send: {error}");
    }
}

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
        let mut table =
            Table { subnets: vec!["192.168.88.0/24".parse().expect("a subnet")], ..Table::default() };
        table.defended.insert(ours, ("eth0".parse().expect("a name"), Defence::new(ours, mac(0))));
        for n in 1..10_000_u32 {
            table.hear(&announcement(mac(n), ours), &mut |_, _| {});
            table.hear(&announcement(mac(n), IpAddr::from((10 << 24 | n).to_be_bytes())), &mut |_, _| {});
        }
        assert_eq!(table.conflicts[&ours].len(), MOST_CLAIMS);
        assert!(table.heard.is_empty(), "no network has these");
    }
}
