//! An endpoint: one container's attachment to one network.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::learned::{Learned, LearnedAddress};
use crate::model::lease::{LeaseRecord, LeaseRecord6};
use crate::net::family::Family;
use crate::net::link::{Netns, Place, Tag};
use crate::net::name::{EndpointKey, EndpointName, IfName, NetworkName};
use crate::net::observed::{Link, Observed, Set, View};

/// How many addresses that an endpoint has lost are kept off its link.
const MOST_LOST: usize = 16;

/// One container's attachment to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkName,
    /// The container's name on it.
    pub name: EndpointName,
    /// Its MAC; none where the link shares the parent's (ipvlan).
    pub mac: Option<Mac>,
    /// Its addresses, each with its subnet's prefix: at most one of each family that somebody gave it, and those that were
    /// made of advertised prefixes.
    pub addresses: Vec<IpNet>,
    /// Those of its addresses that it has only because a machine on the LAN had the name's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stand_ins: Vec<IpAddr>,
    /// Where the addresses came from.
    pub source: Source,
    /// Whether its addresses and MAC were chosen for its container's name.
    #[serde(default, skip_serializing_if = "Chosen::is_for_name")]
    pub chosen: Chosen,
    /// Which of them its user chose.
    #[serde(default, skip_serializing_if = "ByUser::is_nothing")]
    pub by_user: ByUser,
    /// The lease of its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseRecord>>,
    /// What it has of a DHCPv6 server's. Its address is among those learned, as it is known for how long that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Box<LeaseRecord6>>,
    /// What it has of what the LAN's routers advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Box<Learned>>,
    /// Addresses that it has lost, of leases and of prefixes: they must not stay on its link, whoever put them there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<IpNet>,
    /// Whether it gets a default route by the subnet's gateway.
    pub default_route: bool,
    /// Where its link is, and under which name.
    #[serde(rename = "home")]
    pub placement: Placement,
    /// How far it is.
    pub stage: Stage,
    /// When it was attached, in seconds since 1970.
    pub since: u64,
    /// The name in its link's tag, where it got its own only after the link was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged_as: Option<EndpointName>,
    /// What was last seen of its link in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What was last seen of a link in its container. The container may change its MAC, its name and its tag; the kernel's number
/// for it stays for as long as it stays in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The kernel's number for it in that namespace.
    pub index: u32,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// Its name, where an engine chose that: by it the engine looks for the link when it takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<IfName>,
    /// What an engine has set of it that Ashore does not ask for, for when the link has to be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
}

/// Where an endpoint's addresses came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Ashore chose them from the network's ranges.
    Range,
    /// The user named them.
    Fixed,
    /// The engine's own IPAM chose them.
    Engine,
    /// The LAN's DHCP server handed out the IPv4 one; an IPv6 one is from a range.
    Lease,
}

/// For whom an endpoint's addresses and MAC were chosen. An engine that does not say for which container it asks gets an endpoint at
/// once, and Ashore learns the container's name later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// For its name, which remembers them.
    #[default]
    ForName,
    /// Without its name, which was not known then; or for its name, while an endpoint like this one held what the name remembers. The
    /// name keeps what it remembers, and the container is connected anew to get it.
    StandIn,
    /// For a container whose name is not known yet. No name remembers anything of it.
    Unnamed,
}

impl Chosen {
    /// Whether it is the default, which is not written down.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_for_name(&self) -> bool {
        *self == Chosen::ForName
    }
}

/// What the user chose for an endpoint. All else follows from its container's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByUser {
    /// Whether the user chose the MAC.
    pub mac: bool,
    /// The addresses that the user chose.
    pub addresses: Vec<IpAddr>,
}

impl ByUser {
    /// Whether it is the default, which is not written down.
    fn is_nothing(&self) -> bool {
        *self == ByUser::default()
    }
}

/// Who puts the link in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Ashore does: the link is made in the namespace, under its final name.
    Netns {
        /// The namespace.
        netns: Netns,
        /// The link's name in it.
        ifname: IfName,
    },
    /// An engine does: Ashore makes the link on the host, the engine moves, renames and configures it.
    Engine {
        /// The engine's id of the endpoint; none while there is only an address.
        id: Option<String>,
        /// The link's name on the host.
        ifname: IfName,
        /// Where the container's namespace will be. When the engine says so, it need not be there yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox: Option<PathBuf>,
        /// The link's name in the container, where the user chose one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inside: Option<IfName>,
    },
}

/// How far an endpoint is. It is written before the kernel is touched: what is found `Attaching` or `Detaching` at a
/// start was cut short, and is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It holds its addresses and has no link yet.
    Reserved,
    /// Its link is being made.
    Attaching,
    /// It is on the LAN.
    Attached,
    /// It is being taken away.
    Detaching,
}

impl EndpointName {
    /// The name under which a container of unknown name has its address.
    pub fn of_unnamed(ip: IpAddr) -> Self {
        format!("at-{}", ip.to_string().replace(':', "-").trim_end_matches('-'))
            .parse()
            .expect("an address is made of digits, letters, dots and dashes")
    }
}

impl Endpoint {
    /// The MAC by which the LAN knows it, where that is not the parent's: the one that its link was last seen with. It was made
    /// with [`Endpoint::mac`], and its container may change it.
    pub fn mac_on_lan(&self) -> Option<Mac> {
        let mac = self.mac?;
        Some(self.seen.as_ref().and_then(|seen| seen.mac).unwrap_or(mac))
    }

    /// The MACs that its link may have. The one that was seen last its container has chosen, and may have taken from anybody:
    /// outside of its namespace [`State::macs_of`](crate::model::state::State::macs_of) tells.
    pub fn macs(&self) -> impl Iterator<Item = Mac> {
        let other = self.mac_on_lan().filter(|mac| self.mac != Some(*mac));
        self.mac.into_iter().chain(other)
    }

    /// Its key in the state.
    pub fn key(&self) -> EndpointKey {
        (self.network.clone(), self.name.clone())
    }

    /// Whether a link in a namespace that need not be its container's has its tag or one of its MACs.
    fn is_on(&self, link: &Link) -> bool {
        self.macs().any(|mac| link.mac == Some(mac)) || link.tag().as_ref() == Some(&self.tag())
    }

    /// Whether a namespace that need not be its container's has a link with its tag or one of its MACs.
    pub fn is_in(&self, view: &View) -> bool {
        view.links.iter().any(|link| self.is_on(link))
    }

    /// Whether its link is in the namespace that Ashore put it in, where that was observed.
    pub fn is_at_home(&self, observed: &Observed) -> bool {
        let home = self.netns().and_then(|netns| observed.netns.get(netns));
        home.is_some_and(|view| self.is_in(view))
    }

    /// The tag of its link.
    pub fn tag(&self) -> Tag {
        Tag::Endpoint(self.network.clone(), self.tag_name().clone())
    }

    /// The tag of the far end of its veth.
    pub fn port_tag(&self) -> Tag {
        Tag::Port(self.network.clone(), self.tag_name().clone())
    }

    /// Its addresses that no server gave.
    pub fn chosen_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let leased = self.lease.as_ref().map(|record| IpAddr::V4(record.lease.address.addr()));
        self.addresses.iter().map(IpNet::addr).filter(move |ip| Some(*ip) != leased)
    }

    /// The name under which its links were made.
    pub fn tag_name(&self) -> &EndpointName {
        self.tagged_as.as_ref().unwrap_or(&self.name)
    }

    /// The place and the name of its link when it is made.
    pub fn link(&self) -> (Place, &IfName) {
        match &self.placement {
            Placement::Netns { netns, ifname } => (Place::Netns(netns.clone()), ifname),
            Placement::Engine { ifname, .. } => (Place::Host, ifname),
        }
    }

    /// The link's name in the container, where an engine's user chose one.
    pub fn inside(&self) -> Option<&IfName> {
        match &self.placement {
            Placement::Netns { .. } => None,
            Placement::Engine { inside, .. } => inside.as_ref(),
        }
    }

    /// The same with its namespace known otherwise; none where an engine puts its link there.
    pub fn in_netns(self, netns: Netns) -> Option<Self> {
        match self.placement {
            Placement::Netns { ifname, .. } => {
                Some(Endpoint { placement: Placement::Netns { netns, ifname }, ..self })
            }
            Placement::Engine { .. } => None,
        }
    }

    /// The namespace that Ashore itself put its link in.
    pub fn netns(&self) -> Option<&Netns> {
        match &self.placement {
            Placement::Netns { netns, .. } => Some(netns),
            Placement::Engine { .. } => None,
        }
    }

    /// Whether its container's name is not known yet.
    pub fn is_unnamed(&self) -> bool {
        self.chosen == Chosen::Unnamed
    }

    /// Whether its user chose an address for it.
    pub(crate) fn was_given(&self, ip: IpAddr) -> bool {
        self.by_user.addresses.contains(&ip)
    }

    /// The engine's id of it.
    pub fn engine_id(&self) -> Option<&str> {
        match &self.placement {
            Placement::Engine { id, .. } => id.as_deref(),
            Placement::Netns { .. } => None,
        }
    }

    /// Where its container's namespace is. It is another one at each start of the container, and stays the same when the container is
    /// connected anew.
    pub fn sandbox(&self) -> Option<&Path> {
        match &self.placement {
            Placement::Engine { sandbox, .. } => sandbox.as_deref(),
            Placement::Netns { .. } => None,
        }
    }

    /// Whether it holds an address.
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == ip)
    }

    /// Whether a crash left it on its way up or down, if nobody is at work on it now.
    pub fn is_cut_short(&self) -> bool {
        matches!(self.stage, Stage::Attaching | Stage::Detaching)
    }

    /// Whether the kernel should have its link and routes.
    pub fn is_wanted(&self) -> bool {
        matches!(self.stage, Stage::Attaching | Stage::Attached)
    }

    /// The addresses that somebody gave it: all but those made of advertised prefixes.
    pub fn given(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().filter(|net| self.learned_address(net.addr()).is_none())
    }

    /// What is known of an address that was made of an advertised prefix.
    pub fn learned_address(&self, ip: IpAddr) -> Option<&LearnedAddress> {
        let mut learned = self.learned.iter().flat_map(|learned| &learned.addresses);
        learned.find(|there| IpAddr::V6(there.ip) == ip)
    }

    /// The same endpoint with what routers advertise now. What it had and has no longer must not stay on its link.
    #[must_use]
    pub fn with_learned(self, learned: Option<Box<Learned>>) -> Self {
        let mut addresses: Vec<IpNet> = self.given().copied().collect();
        addresses.extend(learned.iter().flat_map(|learned| &learned.addresses).map(LearnedAddress::net));
        let gone = self.addresses.iter().filter(|net| !addresses.contains(net));
        let mut lost: Vec<IpNet> = gone.chain(&self.lost).copied().collect();
        lost.retain(|net| !addresses.contains(net));
        let mut v6 = 0;
        lost.retain(|net| {
            v6 += usize::from(net.addr().is_ipv6());
            net.addr().is_ipv4() || v6 <= MOST_LOST
        });
        Endpoint { addresses, learned, lost, ..self }
    }

    /// The same endpoint off the link: what routers advertise is learnt anew when it comes back.
    #[must_use]
    pub fn without_learned(self) -> Self {
        let addresses = self.given().copied().collect();
        let lost = self.lost.iter().copied().filter(|net| net.addr().is_ipv4()).collect();
        Endpoint { addresses, learned: None, lost, ..self }
    }

    /// The address of its lease.
    pub fn leased_address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|record| record.lease.address.addr())
    }

    /// Its address of a family that was chosen for it: by Ashore, its user or its engine, and by no server or router.
    pub(crate) fn given_address(&self, family: Family) -> Option<IpAddr> {
        let leased = self.leased_address().map(IpAddr::V4);
        let mut given = self.given().map(IpNet::addr);
        given.find(|ip| Family::of(*ip) == family && Some(*ip) != leased)
    }
}

impl Observed {
    /// Why the namespace of an endpoint cannot be seen, if it can not. Until it can, the endpoint is left as it is.
    pub fn unreadable(&self, endpoint: &Endpoint) -> Option<&str> {
        self.unreadable.get(endpoint.netns()?).map(String::as_str)
    }
}
