//! Whether a namespace can be attached to a network: the reasons to refuse an attach, and the endpoint that
//! results. These functions are pure. The daemon writes the endpoint to disk and changes the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::{ByUser, Chosen, Container, Endpoint, Placement, Source, Stage};
use crate::model::identity::Identity;
use crate::model::learned::Learned;
use crate::model::lease::{Addressing, LeaseWishes};
use crate::model::network::{Network, Subnet};
use crate::model::own_routes::OwnRoutes;
use crate::model::ownership::{EngineKind, Ownership};
use crate::model::state::{Change, State};
use crate::model::users::User;
use crate::net::family::Family;
use crate::net::kind::{LinkKind, MacvlanMode};
use crate::net::link::Netns;
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::net::observed::{Link, View};
use crate::rules::addresses_in_use::AddressesInUse;
use crate::rules::allocate::AddressError;
use crate::rules::leases::LeaseOutcome;
use crate::rules::users;

mod again;
mod error;

pub use error::AttachError;

/// The endpoint that needs addresses and a MAC, and what was requested for it.
#[derive(Debug, Clone)]
pub struct Requested<'a> {
    /// The name on the network.
    pub name: &'a EndpointName,
    /// The requested addresses.
    pub ips: &'a [IpAddr],
    /// Whether these are all that it gets.
    pub only: bool,
    /// The requested MAC.
    pub mac: Option<Mac>,
    /// Its lease, if the network's addresses are leased.
    pub lease: LeaseOutcome<'a>,
}

/// What the LAN has assigned or advertised for an endpoint.
#[derive(Debug, Clone)]
pub struct FromLan<'a> {
    /// The lease from a DHCP server.
    pub leased: LeaseOutcome<'a>,
    /// The addresses and routes from router advertisements.
    pub learned: Option<Box<Learned>>,
}

impl State {
    /// Returns the endpoint that an attach would make.
    pub fn draft(
        &self,
        spec: &AttachSpec,
        netns: &Netns,
        inside: &View,
        known: &AddressesInUse<'_>,
        from_lan: FromLan<'_>,
        now: u64,
    ) -> Result<Endpoint, AttachError> {
        if let Some(user) = spec.user()
            && let Some(network) = self.networks.get(&spec.network)
        {
            let client_id = spec.wishes.client_id.as_ref();
            let asked = users::Asked { name: &spec.name, ips: &spec.ips, mac: spec.mac, client_id };
            self.check_user(user, network, &asked, known.host)?;
        }
        let network = self.usable_network(&spec.network, known.host)?;
        self.check_name_is_free(network, &spec.name)?;
        self.check_room(network, known.host)?;
        let wishes = self.lease_wishes(network, &spec.name, &spec.wishes)?;
        let FromLan { leased: lease, learned } = from_lan;
        let requested = spec.requested(spec.mac, lease);
        let source = match (network.addressing, lease) {
            _ if spec.unaddressed => Source::None,
            (Addressing::Dhcp, LeaseOutcome::NotYet | LeaseOutcome::Got(_)) => Source::Lease,
            _ if spec.ips.is_empty() => Source::Range,
            _ => Source::Fixed,
        };
        let record = match lease {
            LeaseOutcome::Got(record) => Some(Box::new(record.clone())),
            LeaseOutcome::NotYet | LeaseOutcome::Instead => None,
        };
        let addresses = match source {
            Source::None => Vec::new(),
            _ => self.choose_addresses(network, &requested, known)?,
        };
        let endpoint = Endpoint {
            network: network.name.clone(),
            name: spec.name.clone(),
            stand_ins: self.stand_ins(network, &requested, &addresses, known),
            addresses,
            mac: self.choose_mac(network, &requested, known.host)?,
            source,
            chosen: Chosen::ForName,
            by_user: ByUser { mac: spec.mac.is_some(), addresses: spec.ips.clone(), ..ByUser::default() },
            lease: record,
            lease6: None,
            wishes,
            learned: None,
            lost: Vec::new(),
            default_route: spec.default_route,
            own_routes: spec.own_routes.clone(),
            ownership: spec.caller.as_ref().map_or(Ownership::Cli, |caller| caller.engine.into()),
            placement: Placement::Netns { netns: netns.clone(), ifname: spec.ifname.clone() },
            stage: Stage::Attaching,
            since: now,
            tagged_as: None,
            seen: None,
            container: spec
                .caller
                .as_ref()
                .map(|caller| Container { id: caller.container.clone(), leaves: false, netns: None })
                .map(Box::new),
        };
        let endpoint = Endpoint { chosen: self.chosen_beside(network, &endpoint, known.held), ..endpoint };
        let endpoint = endpoint.with_learned(learned.filter(|_| !spec.unaddressed));
        // A link that is left from an endpoint missing in the state does not count: it will be removed.
        let is_left = |link: &Link| endpoint.has_left(network, link, (netns, inside), known.host);
        if inside.link(&spec.ifname).is_some_and(|link| !is_left(link)) {
            return Err(AttachError::IfnameTaken { netns: netns.path.clone(), ifname: spec.ifname.clone() });
        }
        let mut endpoint = endpoint;
        if network.internal {
            endpoint.own_routes.routes.retain(|route| route.to.prefix_len() > 0);
        }
        let rival = self.rival_for_default_route(network, &endpoint);
        if spec.caller.is_some() {
            // Whoever puts a container on several networks does not choose one of them for the default route.
            let yields = rival.is_some() || network.foreign_default_route(&endpoint, inside).is_some();
            return Ok(if yields { endpoint.without_default_routes() } else { endpoint });
        }
        match rival {
            Some((other, its_network)) => Err(AttachError::DefaultRouteTaken {
                netns: netns.path.clone(),
                name: other.name.clone(),
                network: its_network.label().to_owned(),
            }),
            None => Ok(endpoint),
        }
    }

    /// Checks that no endpoint on a network has a name.
    pub(super) fn check_name_is_free(
        &self,
        network: &Network,
        name: &EndpointName,
    ) -> Result<(), AttachError> {
        let Some(there) = self.endpoints.get(&(network.name.clone(), name.clone())) else { return Ok(()) };
        let lent_in = there.sandbox().filter(|_| there.is_lent());
        let place = match (there.netns(), lent_in) {
            (Some(netns), _) => netns.path.display().to_string(),
            (None, Some(path)) => format!("{}, as an address for another plugin's link", path.display()),
            (None, None) => "an engine".to_owned(),
        };
        Err(AttachError::NameTaken {
            network: network.label().to_owned(),
            name: name.clone(),
            engine: there.ownership.engine(),
            place,
        })
    }

    /// Returns the network of a name, if an endpoint can be attached to it now.
    pub fn usable_network(&self, name: &NetworkName, host: &View) -> Result<&Network, AttachError> {
        let network = self.networks.get(name).ok_or_else(|| AttachError::NoNetwork(name.clone()))?;
        let lower = network.lower_device(host);
        match host.link(lower) {
            None => Err(AttachError::ParentGone {
                parent: lower.clone(),
                network: network.label().to_owned(),
                remedy: network.remedy_without_parent(host),
            }),
            // A parent without a VLAN may be down, for example until the cable is in, if the network needs
            // nothing from the LAN.
            Some(parent) if !parent.up && (network.listens() || network.vlan.is_some()) => {
                Err(AttachError::ParentDown(lower.clone()))
            }
            Some(parent) => match network.took_parent(parent, host) {
                Some(master) => Err(AttachError::ParentIsPort {
                    parent: lower.clone(),
                    network: network.label().to_owned(),
                    master: master.name.clone(),
                }),
                None => Ok(network),
            },
        }
    }

    /// Checks that a macvlan passthru parent has room: it carries one endpoint only, and none while the host
    /// has addresses on it. An endpoint whose address is only reserved takes no room.
    pub fn check_room(&self, network: &Network, host: &View) -> Result<(), AttachError> {
        if network.kind != LinkKind::Macvlan(MacvlanMode::Passthru) {
            return Ok(());
        }
        network.check_host_is_not_cut(host)?;
        let on_parent = |endpoint: &&Endpoint| {
            let parent = self.network_of(endpoint).map(|other| &other.parent);
            endpoint.stage != Stage::Reserved && parent == Some(&network.parent)
        };
        match self.endpoints.values().find(on_parent) {
            None => Ok(()),
            Some(holder) => Err(AttachError::PassthruTaken {
                parent: network.parent.clone(),
                holder: holder.name.clone(),
            }),
        }
    }

    /// Chooses one address for a name in one subnet: the requested one, or the best candidate.
    pub fn choose_address(
        &self,
        network: &Network,
        subnet: &Subnet,
        name: &EndpointName,
        ip: Option<IpAddr>,
        known: &AddressesInUse<'_>,
    ) -> Result<IpNet, AttachError> {
        let chosen = match ip {
            Some(ip) => self.check_address(network, Some(name), ip, known).map(|_| ip)?,
            None => self
                .candidates(network, subnet, Some(name), known)
                .next()
                .filter(|_| !known.is_given_up())
                .ok_or_else(|| self.exhausted(network, subnet, known))?,
        };
        Ok(with_prefix(chosen, &subnet.net))
    }

    /// The same, but avoids the addresses in `others` while other addresses are free. Users have chosen those
    /// for their own containers, which have yet to ask for them. An address that the name had before is not
    /// avoided.
    pub fn choose_address_beside(
        &self,
        network: &Network,
        subnet: &Subnet,
        name: &EndpointName,
        known: &AddressesInUse<'_>,
        others: &[IpAddr],
    ) -> Result<IpNet, AttachError> {
        let own = self.identities.get(&(State::scope(network), name.clone()));
        let own: BTreeSet<IpAddr> = own.into_iter().flat_map(Identity::own_first).collect();
        let others = others.iter().filter(|ip| !own.contains(ip));
        let held: BTreeSet<IpAddr> = known.held.iter().chain(others).copied().collect();
        let chosen =
            self.choose_address(network, subnet, name, None, &AddressesInUse { held: &held, ..*known });
        chosen.or_else(|_| self.choose_address(network, subnet, name, None, known))
    }

    /// Chooses the addresses of an endpoint: one of each family of which the network has a subnet.
    pub(crate) fn choose_addresses(
        &self,
        network: &Network,
        requested: &Requested<'_>,
        known: &AddressesInUse<'_>,
    ) -> Result<Vec<IpNet>, AttachError> {
        let mut chosen: BTreeMap<Family, IpNet> = BTreeMap::new();
        let instead = matches!(requested.lease, LeaseOutcome::Instead);
        let leased = |family: Family| network.leases(family) && !instead;
        if let LeaseOutcome::Got(record) = requested.lease {
            chosen.insert(Family::Ipv4, record.lease.address.into());
        }
        for ip in requested.ips.iter().filter(|ip| !leased(Family::of(**ip))) {
            let subnet = self.check_address(network, Some(requested.name), *ip, known)?;
            if let Some(other) = chosen.insert(Family::of(*ip), with_prefix(*ip, &subnet.net)) {
                return Err(AddressError::TwoOfFamily(other.addr(), *ip).into());
            }
        }
        for (family, subnets) in State::subnets_by_family(network) {
            if requested.only || chosen.contains_key(&family) || leased(family) {
                continue;
            }
            let (last, others) = subnets.split_last().expect("a family is listed because it has a subnet");
            let best = others
                .iter()
                .find_map(|subnet| self.choose_address(network, subnet, requested.name, None, known).ok())
                .map_or_else(|| self.choose_address(network, last, requested.name, None, known), Ok)?;
            chosen.insert(family, best);
        }
        Ok(chosen.into_values().collect())
    }

    /// Those of the chosen addresses that the user did not request, and that the name has only because a
    /// machine on the LAN answered for the name's own address.
    pub(crate) fn stand_ins(
        &self,
        network: &Network,
        requested: &Requested<'_>,
        addresses: &[IpNet],
        known: &AddressesInUse<'_>,
    ) -> Vec<IpAddr> {
        let chosen = addresses.iter().map(IpNet::addr).filter(|ip| !requested.ips.contains(ip));
        chosen.filter(|ip| self.stands_in(network, requested.name, *ip, known)).collect()
    }

    /// Whether an address was chosen for a name because a machine on the LAN answered for the name's own.
    pub fn stands_in(
        &self,
        network: &Network,
        name: &EndpointName,
        ip: IpAddr,
        known: &AddressesInUse<'_>,
    ) -> bool {
        let identity = self.identities.get(&(State::scope(network), name.clone()));
        let own = identity.into_iter().flat_map(|identity| &identity.addresses);
        let mut others = own.filter(|own| own.is_ipv4() == ip.is_ipv4() && **own != ip);
        others.any(|own| known.answered.contains_key(own))
    }

    /// Chooses the MAC: the requested one, the one that the name had last, or the one derived from the name.
    pub fn choose_mac(
        &self,
        network: &Network,
        requested: &Requested<'_>,
        host: &View,
    ) -> Result<Option<Mac>, AttachError> {
        let holder = |mac: Mac| self.known_as(mac, host);
        if network.kind.shares_parents_mac() {
            return if requested.mac.is_some() {
                Err(AttachError::MacOnIpvlan(network.kind))
            } else {
                Ok(None)
            };
        }
        if let Some(mac) = requested.mac {
            return match holder(mac) {
                _ if !mac.is_station() => Err(AttachError::MacUnfit(mac)),
                Some(holder) => Err(AttachError::MacTaken { mac, holder }),
                None => Ok(Some(mac)),
            };
        }
        let scope = State::scope(network);
        let before = self.identity_of(network, requested.name).and_then(|own| own.mac).into_iter();
        let derived = (0..=u8::MAX).map(|attempt| self.seed.mac(&scope, requested.name, attempt));
        let derived = derived.filter(|mac| !self.is_another_names_mac(network, requested.name, *mac));
        Ok(before.chain(derived).find(|mac| holder(*mac).is_none()))
    }

    /// The MAC that the endpoint of a name will have, unless another link has it by then. `None` if the link
    /// kind shares the parent's MAC.
    pub fn likely_mac(&self, network: &Network, name: &EndpointName) -> Option<Mac> {
        let scope = State::scope(network);
        let own = self.identities.get(&(scope.clone(), name.clone())).and_then(|identity| identity.mac);
        let has_one = !network.kind.shares_parents_mac();
        has_one.then(|| own.unwrap_or_else(|| self.seed.mac(&scope, name, 0)))
    }

    /// The changes to the state when an endpoint is on the LAN: the endpoint and its identity are recorded.
    /// Any other name that remembered one of its addresses, MACs or leases forgets it.
    pub fn attached(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        let mut changes = self.remember(endpoint, now);
        changes.push(Change::PutEndpoint(Endpoint { stage: Stage::Attached, ..endpoint.clone() }));
        changes
    }

    /// The changes to the state when nothing of an endpoint is left in the kernel.
    pub fn detached(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        let mut changes = self.remember_gone(endpoint, now);
        changes.push(Change::DelEndpoint((endpoint.network.clone(), endpoint.name.clone())));
        changes
    }
}

fn with_prefix(ip: IpAddr, net: &IpNet) -> IpNet {
    IpNet::new(ip, net.prefix_len()).expect("the address is of the subnet's family")
}

/// A request to attach a namespace to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// The network.
    pub network: NetworkName,
    /// The container's name on the network, from which its identity is derived.
    pub name: EndpointName,
    /// A path that opens the container's namespace.
    #[serde(with = "crate::net::odd_path")]
    pub netns: PathBuf,
    /// The requested addresses, at most one per family.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// The requested MAC.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// The link's name in the namespace.
    pub ifname: IfName,
    /// Whether it gets a default route.
    pub default_route: bool,
    /// The routes that its user chose.
    #[serde(default, skip_serializing_if = "OwnRoutes::is_nothing")]
    pub own_routes: OwnRoutes,
    /// Whether it gets no address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unaddressed: bool,
    /// Whether the requested addresses are all that it gets of the network's subnets: another program has chosen them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_requested: bool,
    /// What DHCP servers are to be told of it.
    #[serde(default, skip_serializing_if = "LeaseWishes::is_nothing")]
    pub wishes: LeaseWishes,
    /// The engine that asks, or `None` for the user of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

impl AttachSpec {
    /// The user who asks, if it is one other than root.
    pub fn user(&self) -> Option<&User> {
        self.caller.as_ref()?.user.as_ref()
    }

    /// What is requested of addresses and MAC.
    pub(super) fn requested<'a>(&'a self, mac: Option<Mac>, lease: LeaseOutcome<'a>) -> Requested<'a> {
        Requested { name: &self.name, ips: &self.ips, only: self.only_requested, mac, lease }
    }

    /// Whether an endpoint of this name is by the link that is asked for.
    pub fn is_of_link(&self, there: &Endpoint, netns: &Netns) -> bool {
        there.netns() == Some(netns) && *there.link().1 == self.ifname
    }

    /// Whether an endpoint has the addresses, the MAC and the routes that are asked for.
    pub fn is_met_by(&self, there: &Endpoint) -> bool {
        self.ips.iter().all(|ip| there.holds(*ip))
            && (self.mac.is_none() || self.mac == there.mac)
            && self.own_routes.are_met_by(&there.own_routes)
            && self.wishes.are_met_by(&there.wishes)
            && self.unaddressed == (there.source == Source::None)
    }
}

/// An engine that asks for a link in the namespace of one of its containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The kind of the engine.
    pub engine: EngineKind,
    /// The engine's id of the container.
    pub container: String,
    /// How long the engine waits, in seconds. `None` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// The user who asks, if it is one other than root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The device and inode numbers of the namespace that the engine has opened. The path has to lead there whenever it
    /// is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<(u64, u64)>,
}
