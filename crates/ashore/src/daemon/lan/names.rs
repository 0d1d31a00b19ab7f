//! The names of containers on the LAN: a responder of multicast DNS for each parent with a network that has them told.
//!
//! Whom it answers, and as whom: `mouths.rs` hears all that is said on the parent, and speaks to the wire, to the containers
//! and to the host's own programs apart. It speaks as a container, with its MAC and one of its addresses: no machine gets to
//! know the host's address at another MAC, a host without an address on a VLAN can speak too, and `systemd-resolved` ignores
//! what comes from an address of its own host.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::read_to_string;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ashore_core::api::reply::{LanName, LanNameState};
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::Tag;
use ashore_core::net::name::{EndpointKey, IfName};
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::mdns::{self, Action, Channel, Datagram, Frame, Label, PORT, Packet, Responder, Wanted};
use ashore_wire::{Boottime, Mac};
use ipnet::IpNet;

use super::Lan;
use super::own::mac_on_lan;
use crate::daemon::random;

/// To how many containers of a parent a message is sent one by one. To more it is sent as one frame, which the wire then
/// hears twice.
const MOST_ALONE: usize = 64;
/// How many of those who have asked are remembered, with their MACs.
const MOST_PEERS: usize = 64;
/// How many of the own messages are remembered, to know them when they are heard.
const MOST_SAID: usize = 32;

/// A container as whom the responder speaks.
type Speaker = (Mac, IpAddr);

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mouth {
    /// To the wire, as a frame. On a bridge that is to its ports too.
    Wire,
    /// To containers on the same parent, as a frame.
    Siblings,
    /// To the host's own programs, as an IP packet.
    Host(Channel),
}

/// All names, by the parent.
#[derive(Default)]
pub(super) struct Names {
    on: BTreeMap<IfName, OnParent>,
}

struct OnParent {
    responder: Responder,
    /// The interface by which the host itself is on this LAN.
    host: Option<(IfName, u32)>,
    /// The host's MACs there.
    own: BTreeSet<Mac>,
    up: bool,
    prefixes: Vec<IpNet>,
    /// Two of the containers, where there are: a container does not accept what comes from its own address, so what is sent
    /// to the first is said by the second.
    speakers: BTreeMap<Channel, Vec<Speaker>>,
    /// The containers that are reached by the shim.
    siblings: BTreeSet<Mac>,
    /// The containers at ports of a bridge, which hear what is said to the wire.
    ports: BTreeSet<Mac>,
    peers: VecDeque<(SocketAddr, Mac)>,
    said: VecDeque<Vec<u8>>,
}

impl Lan {
    /// The name by which the LAN knows an endpoint, or is about to.
    pub(crate) fn name_of(&self, network: &Network, endpoint: &Endpoint) -> Option<LanName> {
        let table = self.table();
        let key = key_of(&endpoint.key());
        let listed =
            table.names.on.get(&network.parent)?.responder.names().find(|listed| listed.key == key)?;
        let state = match listed.state {
            mdns::State::Waiting => LanNameState::Waiting,
            mdns::State::Probing => LanNameState::Probing,
            mdns::State::Conflict => LanNameState::Conflict,
            mdns::State::Announced => LanNameState::Announced,
        };
        let taken = listed.conflict.filter(|conflict| conflict.label == *listed.wanted);
        Some(LanName {
            wanted: in_local(listed.wanted),
            name: in_local(listed.label),
            state,
            taken_by: taken.and_then(|conflict| conflict.by),
        })
    }
}

impl Names {
    /// Takes over which endpoints are to be told to the LAN.
    pub(super) fn follow(&mut self, state: &State, host: &View) {
        let told = state.networks.values().filter(|network| network.mdns);
        let parents: BTreeSet<&IfName> = told.map(|network| &network.parent).collect();
        self.on.retain(|parent, _| parents.contains(parent));
        let now = boottime();
        for parent in parents {
            let there = self.on.entry(parent.clone()).or_insert_with(|| OnParent::new(now));
            there.follow(parent, state, host, now);
        }
    }

    /// The host was asleep, and may be on another LAN.
    pub(super) fn wake(&mut self) {
        let now = boottime();
        self.on.values_mut().for_each(|there| there.responder.link_up(now));
    }

    /// From now on a parent is heard, or its switch forwards: what was said before may not have been heard, nor answers to it.
    pub(super) fn link_up(&mut self, parent: &IfName) {
        if let Some(there) = self.on.get_mut(parent) {
            there.responder.link_up(boottime());
        }
    }

    /// The parents, each with the interface by which the host itself is on its LAN.
    pub(super) fn parents(&self) -> impl Iterator<Item = (&IfName, Option<&(IfName, u32)>)> {
        self.on.iter().map(|(parent, there)| (parent, there.host.as_ref()))
    }

    /// Handles a frame that was heard on a parent.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        if let Some((there, frame)) = self.on.get_mut(parent).zip(Frame::parse(frame)) {
            there.hear(&frame);
        }
    }

    /// Says what is due, on the parents that are heard. Returns the time until the next action.
    pub(super) fn turn(
        &mut self,
        is_heard: &dyn Fn(&IfName) -> bool,
        say: &dyn Fn(&IfName, Mouth, &[u8]),
    ) -> Option<Duration> {
        let (now, mut wait) = (boottime(), None);
        for (parent, there) in self.on.iter_mut().filter(|(parent, _)| is_heard(parent)) {
            let until = loop {
                match there.responder.poll(now) {
                    Action::Wait(until) => break until,
                    Action::Send(packet) => there.say(&packet, &|mouth, bytes| say(parent, mouth, bytes)),
                    Action::Renamed { from, to, by, .. } => {
                        let by = by.map(|ip| format!(", because {ip} has that name")).unwrap_or_default();
                        tracing::info!(%parent, "`{from}.local` is `{to}.local` on the LAN{by}");
                    }
                }
            };
            wait = wait.into_iter().chain(until.map(|until| until.saturating_duration_since(now))).min();
        }
        wait
    }
}

/// Returns whether an endpoint is on the LAN and stays there.
fn is_here(endpoint: &Endpoint) -> bool {
    endpoint.stage == Stage::Attached && !endpoint.leaves()
}

impl OnParent {
    fn new(now: Boottime) -> Self {
        let mut responder = Responder::new(mdns::Channels::NONE, random());
        // The kernel's is the name at the daemon's start, where the unit protects the host's name. A name that the host
        // gets later is found by probing, as any other machine's.
        let own = ["/proc/sys/kernel/hostname", "/etc/hostname"].map(read_to_string);
        responder.forbid(own.iter().flatten().map(|name| name.trim()), now);
        OnParent {
            responder,
            host: None,
            own: BTreeSet::new(),
            up: true,
            prefixes: Vec::new(),
            speakers: BTreeMap::new(),
            siblings: BTreeSet::new(),
            ports: BTreeSet::new(),
            peers: VecDeque::new(),
            said: VecDeque::new(),
        }
    }

    fn follow(&mut self, parent: &IfName, state: &State, host: &View, now: Boottime) {
        let here = || state.networks.values().filter(move |network| network.parent == *parent);
        let hosts_own = here().find_map(|network| network.hosts_own(host));
        let shim = host.tagged(&Tag::Shim(parent.clone()));
        let link = host.link(parent);
        self.host = hosts_own.map(|link| (link.name.clone(), link.index));
        self.own = [hosts_own, shim, link].into_iter().flatten().filter_map(|link| link.mac).collect();
        let of_host =
            host.addresses.iter().filter(|there| hosts_own.is_some_and(|own| own.index == there.index));
        let of_networks = here().flat_map(|network| network.subnets.iter().map(|subnet| subnet.net));
        let learned = here().flat_map(|network| state.endpoints_on(&network.name));
        let learned = learned.flat_map(|endpoint| endpoint.addresses.iter().map(IpNet::trunc));
        let prefixes: BTreeSet<IpNet> =
            of_host.map(|there| there.net.trunc()).chain(of_networks).chain(learned).collect();
        self.prefixes = prefixes.into_iter().collect();

        let (mut wanted, mut speakers) = (BTreeMap::new(), BTreeMap::<Channel, Vec<Speaker>>::new());
        self.siblings.clear();
        self.ports.clear();
        for network in here() {
            for endpoint in state.endpoints_on(&network.name).filter(|one| is_here(one)) {
                let Some(mac) = mac_on_lan(state, endpoint, host) else { continue };
                let shared = network.kind.shares_parents_mac();
                if network.kind == LinkKind::Bridge {
                    self.ports.insert(mac);
                } else if network.uses_shim() && !shared {
                    self.siblings.insert(mac);
                }
                let Some(label) = label_of(endpoint).filter(|_| network.mdns) else { continue };
                let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(IpNet::addr).collect();
                let has_link_local = network.ipv6 != Ipv6Mode::Off && !shared;
                let given = endpoint.mac.unwrap_or(mac);
                let also: Vec<IpAddr> =
                    has_link_local.then(|| given.link_local().into()).into_iter().collect();
                // With IPv6, hosts speak from their link-local address.
                for channel in Channel::ALL {
                    let mut all = also.iter().chain(&addresses);
                    let speaker = all.find(|ip| Channel::of(**ip) == channel).map(|ip| (mac, *ip));
                    let there = speakers.entry(channel).or_default();
                    // A MAC that the container chose may be another machine's, for which nobody is to speak.
                    if there.len() < 2 && given == mac {
                        there.extend(speaker);
                    }
                }
                let (last, services) = (None, Vec::new());
                wanted.insert(key_of(&endpoint.key()), Wanted { label, last, addresses, also, services });
            }
        }
        let known: Vec<String> = self.responder.names().map(|listed| listed.key.to_owned()).collect();
        for key in known.iter().filter(|key| !wanted.contains_key(*key)) {
            self.responder.remove(key, now);
        }
        // Without any container, the last one's goodbye is still to be said.
        if !wanted.is_empty() {
            speakers.retain(|_, there| !there.is_empty());
            self.speakers = speakers;
            self.responder.set_channels(self.speakers.keys().copied().collect(), now);
        }
        for (key, wanted) in wanted {
            self.responder.publish(&key, wanted, now);
        }
        let up = link.is_some_and(|link| link.up && link.carrier);
        if up && !self.up {
            self.responder.link_up(now);
        }
        self.up = up;
    }

    /// Only what is sent to the group counts. What is sent to one host is for that host, and no query from here asks for it.
    fn hear(&mut self, frame: &Frame<'_>) {
        let channel = Channel::of(frame.to);
        let is_own = self.said.iter().any(|said| said == frame.payload);
        if frame.to != channel.group() || is_own {
            return;
        }
        self.peers.retain(|(from, _)| *from != frame.from);
        self.peers.push_back((frame.from, frame.source_mac));
        self.peers.drain(..self.peers.len().saturating_sub(MOST_PEERS));
        let (from, prefixes, payload) = (frame.from, &self.prefixes[..], frame.payload);
        self.responder.receive(&Datagram { channel, from, to_group: true, prefixes, payload }, boottime());
    }

    fn say(&mut self, packet: &Packet, say: &dyn Fn(Mouth, &[u8])) {
        let Packet { channels, to, payload } = packet;
        for channel in channels.iter() {
            match to {
                Some(peer) => self.answer(channel, *peer, payload, say),
                None => self.say_to_all(channel, payload, say),
            }
        }
        if to.is_none() {
            self.said.push_back(payload.clone());
            self.said.drain(..self.said.len().saturating_sub(MOST_SAID));
        }
    }

    fn say_to_all(&self, channel: Channel, payload: &[u8], say: &dyn Fn(Mouth, &[u8])) {
        let Some(speaker) = self.speaker(channel, None) else { return };
        let group = SocketAddr::new(channel.group(), PORT);
        let Some(to_all) = mdns::frame(speaker, (channel.group_mac(), group), payload) else { return };
        say(Mouth::Wire, &to_all);
        say(Mouth::Host(channel), &mdns::packet_within_host(speaker.1, payload));
        if self.ports.contains(&speaker.0) {
            self.tell(Mouth::Wire, channel, (speaker.0, group), payload, say);
        }
        if self.siblings.len() > MOST_ALONE {
            say(Mouth::Siblings, &to_all);
        } else {
            for mac in &self.siblings {
                self.tell(Mouth::Siblings, channel, (*mac, group), payload, say);
            }
        }
    }

    /// Answers one machine. The host itself is told as all its programs are, and not what an ordinary resolver asks for at a
    /// port of its own: a frame to the host's MAC does not reach the host by its own link.
    fn answer(&self, channel: Channel, peer: SocketAddr, payload: &[u8], say: &dyn Fn(Mouth, &[u8])) {
        let Some((_, mac)) = self.peers.iter().find(|(from, _)| *from == peer) else { return };
        if !self.own.contains(mac) {
            let by_shim = self.siblings.contains(mac);
            let mouth = if by_shim { Mouth::Siblings } else { Mouth::Wire };
            self.tell(mouth, channel, (*mac, peer), payload, say);
        } else if let Some((_, source)) = self.speaker(channel, None).filter(|_| peer.port() == PORT) {
            say(Mouth::Host(channel), &mdns::packet_within_host(source, payload));
        }
    }

    /// Tells one machine or container, as another one than it is.
    fn tell(
        &self,
        mouth: Mouth,
        channel: Channel,
        to: (Mac, SocketAddr),
        payload: &[u8],
        say: &dyn Fn(Mouth, &[u8]),
    ) {
        let speaker = self.speaker(channel, Some(to.0)).filter(|(own, _)| *own != to.0);
        if let Some(frame) = speaker.and_then(|speaker| mdns::frame(speaker, to, payload)) {
            say(mouth, &frame);
        }
    }

    /// As whom it speaks to this MAC: as another container, if there is one.
    fn speaker(&self, channel: Channel, to: Option<Mac>) -> Option<Speaker> {
        let there = self.speakers.get(&channel)?;
        there.iter().find(|(mac, _)| to != Some(*mac)).or_else(|| there.first()).copied()
    }
}

/// The responder's word for an endpoint. No name has a space in it.
fn key_of((network, name): &EndpointKey) -> String {
    format!("{network} {name}")
}

/// The label by which the LAN is to know an endpoint: the first part of the host name that its user chose, or the one that
/// DHCP servers are told. Returns `None` if it has none, or its container's name is not known yet.
fn label_of(endpoint: &Endpoint) -> Option<Label> {
    let chosen = endpoint.wishes.hostname.as_ref();
    let chosen = chosen.and_then(|own| match endpoint.name.user() {
        Some(uid) => own.of_user(uid),
        None => Some(own.domain().clone()),
    });
    let name = chosen.or_else(|| endpoint.name.host_name()).filter(|_| !endpoint.is_unnamed())?;
    name.as_str().split('.').next()?.parse().ok()
}

fn in_local(label: &Label) -> String {
    format!("{label}.local")
}
