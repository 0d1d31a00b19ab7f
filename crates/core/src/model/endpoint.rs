//! An endpoint: one container's attachment to one network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ashore_wire::Mac;
use ashore_wire::dhcp4::ClientId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::indexed::Marked;
use crate::model::learned::Learned;
use crate::model::lease::{LeaseRecord, LeaseRecord6, LeaseWishes};
use crate::model::own_routes::OwnRoutes;
use crate::model::ownership::Ownership;
use crate::net::link::{Netns, Place, Tag};
use crate::net::name::{EndpointKey, EndpointName, IfName, NetworkName};
use crate::net::observed::{Link, Observed, Set, View};
use crate::net::published::Ports;

/// One container's attachment to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkName,
    /// The container's name on it.
    pub name: EndpointName,
    /// Its MAC. `None` if the link shares the parent's MAC (ipvlan).
    pub mac: Option<Mac>,
    /// Its addresses, each with its subnet's prefix length: at most one of each family that was chosen or
    /// leased, and the learned IPv6 addresses. [`Endpoint::assigned`] tells where each comes from.
    pub addresses: Vec<IpNet>,
    /// Its stand-in addresses: it has them only because a machine on the LAN uses the name's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stand_ins: Vec<IpAddr>,
    /// The source of the addresses.
    pub source: Source,
    /// For whom its addresses and MAC were chosen.
    #[serde(default, skip_serializing_if = "Chosen::is_for_name")]
    pub chosen: Chosen,
    /// Which of its addresses and MAC the user chose.
    #[serde(default, skip_serializing_if = "ByUser::is_nothing")]
    pub by_user: ByUser,
    /// The lease of its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseRecord>>,
    /// Its DHCPv6 lease. The leased address is among the learned addresses, because its lifetimes are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Box<LeaseRecord6>>,
    /// What its user wants DHCP servers to be told of it.
    #[serde(default, skip_serializing_if = "LeaseWishes::is_nothing")]
    pub wishes: LeaseWishes,
    /// What it uses of the LAN's router advertisements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Box<Learned>>,
    /// Addresses that it lost, both leased addresses and those from advertised prefixes. They must not stay
    /// on its link, whoever added them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<IpNet>,
    /// Whether it gets default routes.
    pub default_route: bool,
    /// The routes that its user chose.
    #[serde(default, skip_serializing_if = "OwnRoutes::is_nothing")]
    pub own_routes: OwnRoutes,
    /// Whom its container belongs to.
    #[serde(default, skip_serializing_if = "Ownership::is_docker")]
    pub ownership: Ownership,
    /// Where its link is, under which name, and who moves it.
    #[serde(rename = "home")]
    pub placement: Placement,
    /// Its stage.
    pub stage: Stage,
    /// When it was attached, in seconds since 1970.
    pub since: u64,
    /// The name in its link's tag, if that is not the endpoint's own: its own name was in use or not known
    /// when the link was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged_as: Option<EndpointName>,
    /// What was last observed of its link in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// The container, as the engine knows it that had Ashore make the link in its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<Container>>,
}

/// A container in whose namespace an engine had Ashore make a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id of it, which stays the same when its name changes.
    pub id: String,
    /// Whether the engine has taken the endpoint off. Its link goes a moment later, unless the engine sets it up again
    /// in the same namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// Its namespace, if its link there is another program's. A path may lead to another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
}

/// What was last observed of a link in its container. The container can change the link's MAC, name and tag.
/// The kernel's index for the link stays the same as long as the link stays in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The kernel's index for it in that namespace.
    pub index: u32,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// Its name, if an engine chose it. The engine looks for the link by this name when it removes the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<IfName>,
    /// Settings of the engine that Ashore does not ask for. They are needed if the link has to be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
}

/// The source of an endpoint's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Ashore chose them from the network's ranges.
    Range,
    /// The user specified them.
    Fixed,
    /// The engine's own IPAM chose them.
    Engine,
    /// The LAN's DHCP server assigned the IPv4 address. An IPv6 address is from a range.
    Lease,
    /// Nobody: its user wants a link without an address.
    None,
}

/// For whom an endpoint's addresses and MAC were chosen. An engine that does not say for which container it
/// asks gets an endpoint immediately. Ashore learns the container's name later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// For the endpoint's name, which remembers them.
    #[default]
    ForName,
    /// Without the endpoint's name, which was not known at that time, or for its name while another stand-in
    /// held what the name remembers. The name keeps what it remembers, and the container is reconnected to
    /// get it.
    StandIn,
    /// For a container whose name is not known yet. No name remembers anything of this endpoint.
    Unnamed,
}

impl Chosen {
    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_for_name(&self) -> bool {
        *self == Chosen::ForName
    }
}

/// What the user chose for an endpoint. Everything else is derived from the container's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByUser {
    /// Whether the user chose the MAC.
    pub mac: bool,
    /// The addresses that the user chose.
    pub addresses: Vec<IpAddr>,
    /// The ports that the user has the engine publish on the host, which nobody does on a flat network.
    #[serde(flatten)]
    pub ports: Ports,
}

impl ByUser {
    /// Whether it is the default, which is not serialised.
    fn is_nothing(&self) -> bool {
        *self == ByUser::default()
    }
}

/// The placement of an endpoint: where its link lives and who moves it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Ashore makes the link directly in the namespace, under its final name.
    Netns {
        /// The namespace.
        netns: Netns,
        /// The link's name in it.
        ifname: IfName,
    },
    /// Ashore makes the link on the host. The engine moves, renames and configures it.
    Engine {
        /// The engine's id of the endpoint. `None` while only an address is reserved.
        id: Option<String>,
        /// The link's name on the host.
        ifname: IfName,
        /// The path at which the container's namespace will be. The engine may report it before the namespace
        /// exists.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox: Option<PathBuf>,
        /// The link's name in the container, if the user chose one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inside: Option<IfName>,
    },
}

/// The stage of an endpoint. It is written to disk before the kernel is changed, so an endpoint found
/// `Attaching` or `Detaching` at start-up was interrupted and is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It holds its addresses but has no link yet.
    Reserved,
    /// Its link is being made.
    Attaching,
    /// It is on the LAN.
    Attached,
    /// It is being removed.
    Detaching,
}

/// What an endpoint can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// An address that it holds.
    Ip(IpAddr),
    /// Its own MAC.
    Mac(Mac),
    /// The MAC with which its link was last seen, if that is another one.
    SeenMac(Mac),
    /// The numbers of the file of its namespace, if Ashore itself makes its link there.
    Netns(u64, u64),
    /// The path at which its engine has its namespace.
    Sandbox(PathBuf),
    /// The name of its link on the host, if an engine moves it.
    OnHost(IfName),
    /// The engine's id of it.
    EngineId(String),
    /// The client identifier of its DHCPv4 lease.
    Lease(ClientId),
    /// The client identifier of its DHCPv6 lease.
    Lease6(ClientId),
    /// The client identifier that its user chose.
    ClientId(ClientId),
    /// It is being attached or detached.
    Unfinished,
}

impl Marked for Endpoint {
    type Mark = Mark;

    fn marks(&self) -> BTreeSet<Mark> {
        let mut marks: BTreeSet<Mark> = self.addresses.iter().map(|net| Mark::Ip(net.addr())).collect();
        marks.extend(self.mac.map(Mark::Mac));
        marks.extend(self.macs().filter(|mac| self.mac != Some(*mac)).map(Mark::SeenMac));
        match &self.placement {
            Placement::Netns { netns, .. } => _ = marks.insert(Mark::Netns(netns.dev, netns.ino)),
            Placement::Engine { id, ifname, sandbox, .. } => {
                marks.insert(Mark::OnHost(ifname.clone()));
                marks.extend(sandbox.clone().map(Mark::Sandbox));
                marks.extend(id.clone().map(Mark::EngineId));
            }
        }
        marks.extend(self.lease.iter().map(|record| Mark::Lease(record.id.clone())));
        marks.extend(self.lease6.iter().map(|record| Mark::Lease6(record.id.clone())));
        marks.extend(self.wishes.client_id.clone().map(Mark::ClientId));
        if self.is_cut_short() {
            marks.insert(Mark::Unfinished);
        }
        marks
    }
}

impl EndpointName {
    /// Returns the placeholder name under which a container of unknown name holds an address.
    pub fn of_unnamed(ip: IpAddr) -> Self {
        format!("at-{}", ip.to_string().replace(':', "-").trim_end_matches('-'))
            .parse()
            .expect("an address consists of digits, letters, dots and dashes")
    }
}

impl Endpoint {
    /// The MAC by which the LAN knows the endpoint: the MAC with which its link was last seen. The link was
    /// made with [`Endpoint::mac`], but the container can change it. Returns `None` if the link shares the
    /// parent's MAC.
    pub fn mac_on_lan(&self) -> Option<Mac> {
        let mac = self.mac?;
        Some(self.seen.as_ref().and_then(|seen| seen.mac).unwrap_or(mac))
    }

    /// The MACs that its link may have: its own, and the one that was last seen. The container chose the
    /// latter and may have copied it from any machine. Outside the container's namespace, use
    /// [`State::macs_of`](crate::model::state::State::macs_of).
    pub fn macs(&self) -> impl Iterator<Item = Mac> {
        let other = self.mac_on_lan().filter(|mac| self.mac != Some(*mac));
        self.mac.into_iter().chain(other)
    }

    /// That ports are not published, if its user has wanted that: the LAN reaches them where the container is.
    pub fn note_of_ports(&self, network: &str) -> Option<String> {
        let who = if self.is_unnamed() { "the container".to_owned() } else { format!("`{}`", self.name) };
        self.by_user.ports.note(&who, network, self.addresses.iter().map(IpNet::addr))
    }

    /// Its key in the state.
    pub fn key(&self) -> EndpointKey {
        (self.network.clone(), self.name.clone())
    }

    /// Whether a link has its tag or one of its MACs. The link may be in a namespace other than its
    /// container's.
    fn is_on(&self, link: &Link) -> bool {
        self.macs().any(|mac| link.mac == Some(mac)) || link.tag().as_ref() == Some(&self.tag())
    }

    /// Whether a namespace has a link with its tag or one of its MACs. The namespace may be another one than
    /// its container's.
    pub fn is_in(&self, view: &View) -> bool {
        view.links.iter().any(|link| self.is_on(link))
    }

    /// Whether its link is in the namespace where Ashore put it. `false` if that namespace was not observed.
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

    /// The name in the tags of its links.
    pub fn tag_name(&self) -> &EndpointName {
        self.tagged_as.as_ref().unwrap_or(&self.name)
    }

    /// The place and the name with which its link is made.
    pub fn link(&self) -> (Place, &IfName) {
        match &self.placement {
            Placement::Netns { netns, ifname } => (Place::Netns(netns.clone()), ifname),
            Placement::Engine { ifname, .. } => (Place::Host, ifname),
        }
    }

    /// The name by which its engine knows its link in the container.
    pub fn known_inside(&self) -> Option<&IfName> {
        match &self.placement {
            Placement::Netns { ifname, .. } => Some(ifname),
            Placement::Engine { inside, .. } => inside.as_ref(),
        }
    }

    /// Whether it only has its addresses: another program makes the link, and said in whose namespace.
    pub fn is_lent(&self) -> bool {
        self.stage == Stage::Reserved && self.container.is_some()
    }

    /// The namespace in which another program's link has its addresses, if that is known.
    pub fn lent_in(&self) -> Option<&Netns> {
        self.container.as_ref()?.netns.as_ref()
    }

    /// The link's name in the container, if the engine's user chose one.
    pub fn inside(&self) -> Option<&IfName> {
        match &self.placement {
            Placement::Netns { .. } => None,
            Placement::Engine { inside, .. } => inside.as_ref(),
        }
    }

    /// Returns the same endpoint with another description of its namespace. Returns `None` if an engine moves
    /// its link.
    pub fn in_netns(self, netns: Netns) -> Option<Self> {
        match self.placement {
            Placement::Netns { ifname, .. } => {
                Some(Endpoint { placement: Placement::Netns { netns, ifname }, ..self })
            }
            Placement::Engine { .. } => None,
        }
    }

    /// The namespace in which Ashore itself made its link. `None` if an engine moves the link.
    pub fn netns(&self) -> Option<&Netns> {
        match &self.placement {
            Placement::Netns { netns, .. } => Some(netns),
            Placement::Engine { .. } => None,
        }
    }

    /// Whether the name of its container is not known yet.
    pub fn is_unnamed(&self) -> bool {
        self.chosen == Chosen::Unnamed
    }

    /// Whether its engine has taken it off, and its link is still there.
    pub fn leaves(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.leaves)
    }

    /// Whether it is of a container with this id of its engine.
    pub fn is_of(&self, ownership: Ownership, container: &str) -> bool {
        self.ownership == ownership && self.container.as_ref().is_some_and(|there| there.id == container)
    }

    /// The engine's id of the endpoint.
    pub fn engine_id(&self) -> Option<&str> {
        match &self.placement {
            Placement::Engine { id, .. } => id.as_deref(),
            Placement::Netns { .. } => None,
        }
    }

    /// The path of its container's namespace. It changes at each start of the container, and stays the same
    /// when the container is reconnected.
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

    /// Whether a crash interrupted its attach or detach, provided that neither is in progress now.
    pub fn is_cut_short(&self) -> bool {
        matches!(self.stage, Stage::Attaching | Stage::Detaching)
    }

    /// Whether the kernel should have its link and routes.
    pub fn is_wanted(&self) -> bool {
        matches!(self.stage, Stage::Attaching | Stage::Attached)
    }
}

impl Observed {
    /// The reason why the namespace of an endpoint could not be read. Returns `None` if there is none. While
    /// there is one, the endpoint is left as it is.
    pub fn unreadable(&self, endpoint: &Endpoint) -> Option<&str> {
        self.unreadable.get(endpoint.netns()?).map(String::as_str)
    }
}
