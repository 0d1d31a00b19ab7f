//! What a user need not give because the host knows it: the parent, the subnet, the gateway, a range.

use std::net::IpAddr;

use ipnet::IpNet;

use super::check::could_be_parent;
use super::error::NetworkError;
use super::spec::{NetworkSpec, PoolQuestion};
use crate::model::lease::Addressing;
use crate::model::network::Subnet;
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::kind::{IpvlanMode, LinkKind};
use crate::net::name::IfName;
use crate::net::observed::{Link, ObservedKind, View};
use crate::net::range::Range;
use crate::net::text::list;
use crate::net::vlan::VlanId;

impl NetworkSpec {
    /// Returns the request with the parent, kind, subnet and gateway filled in from the host where they were
    /// not given. The range is not chosen here, because only the LAN shows whether a range is free.
    ///
    /// For a VLAN that Ashore makes or has made, the parent in the result is the interface below it. A VLAN
    /// interface of the user's is a parent like any other.
    pub fn completed(&self, host: &View) -> Result<NetworkSpec, NetworkError> {
        let mut spec = self.clone();
        let named = match (&self.parent, self.vlan) {
            (Some(parent), _) => host.resolved(parent),
            (None, None) => host.lan_parent(&self.subnets).map_err(|error| match error {
                NetworkError::NobodyInSubnet { subnets, present, .. } if self.internal => {
                    NetworkError::InternalOffLan { subnets, present }
                }
                other => other,
            })?,
            // No interface has the VLAN's subnet yet.
            (None, Some(_)) => host.lan_parent(&[])?,
        };
        let (parent, vlan) = if self.kind == Some(LinkKind::Bridge) {
            host.meant_on_bridge(&named, self.vlan)?
        } else {
            host.meant(&named, self.vlan)?
        };
        if spec.subnets.is_empty() {
            let net = host.lan_subnet(&named, self.vlan)?;
            spec.subnets.push(net);
            if spec.gateways.is_empty() {
                spec.gateways.extend(host.default_gateway(&net));
            }
        }
        if spec.engine.as_ref().is_some_and(|engine| engine.kind == EngineKind::Podman) {
            spec.gateways.extend(spec.podmans_gateways(host));
        }
        spec.kind = spec.kind.or_else(|| host.link(&parent).map(|link| self.kind_by(link)));
        spec.vlan = vlan.as_ref().map(|vlan| vlan.id);
        spec.parent = Some(vlan.map_or(parent, |vlan| vlan.lower));
        Ok(spec)
    }

    /// The routers of subnets for which none was given: the host's own, or else the subnet's first address, which
    /// Podman shows then.
    fn podmans_gateways(&self, host: &View) -> Vec<IpAddr> {
        if self.internal || self.addressing == Addressing::Dhcp {
            return Vec::new();
        }
        let given = |net: &IpNet| self.gateways.iter().any(|ip| net.contains(ip));
        let without = self.subnets.iter().filter(|net| !given(net));
        without.filter_map(|net| host.default_gateway(net).or_else(|| net.hosts().next())).collect()
    }

    /// The link kind for a parent if the user gives none. Wi-Fi allows only ipvlan: an access point drops
    /// frames from any MAC but its client's, and ipvlan endpoints use that MAC. On a bridge the endpoints are
    /// ports, which the host reaches without a shim. A user who gives an option that only macvlan has gets
    /// macvlan.
    fn kind_by(&self, parent: &Link) -> LinkKind {
        match parent.kind {
            _ if parent.wireless => LinkKind::Ipvlan(IpvlanMode::L2),
            ObservedKind::Bridge if self.bc_queue_len.is_none() && self.bc_limit.is_none() => {
                LinkKind::Bridge
            }
            _ => LinkKind::default(),
        }
    }
}

impl PoolQuestion {
    /// Fills in a question that names no network: the interface, the range, and the subnet that contains the
    /// range. The subnet is `None` if the host has no address in it.
    pub fn completed(&self, host: &View) -> Result<(IfName, Range, Option<Subnet>), NetworkError> {
        let named =
            self.parent.as_ref().map_or_else(|| host.lan_parent(&[]), |parent| Ok(host.resolved(parent)))?;
        let net = host.lan_subnet(&named, self.vlan);
        let range = match (self.range, &net) {
            (Some(range), _) => range,
            (None, Ok(net)) => Range::of_net(net),
            (None, Err(error)) => return Err(error.clone()),
        };
        let (parent, _) = host.meant(&named, self.vlan)?;
        let net = net.ok().filter(|net| range.lies_in(net));
        Ok((parent, range, net.map(|net| Subnet::whole(net, host.default_gateway(&net)))))
    }
}

impl View {
    /// The interface that faces the LAN: the one with an address in `subnets`, or the one of the default
    /// route.
    pub fn lan_parent(&self, subnets: &[IpNet]) -> Result<IfName, NetworkError> {
        let default = self.default_link().map(|link| link.name.clone());
        if subnets.is_empty() {
            return default.ok_or_else(|| NetworkError::NoDefaultRoute { present: self.facing_links() });
        }
        let in_subnet = |link: &&Link| {
            link.tag().is_none()
                && self
                    .addresses_of(link)
                    .any(|there| subnets.iter().any(|net| net.contains(&there.net.addr())))
        };
        let fitting: Vec<&IfName> = self.links.iter().filter(in_subnet).map(|link| &link.name).collect();
        match fitting.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(NetworkError::NobodyInSubnet {
                subnets: list(subnets.iter()),
                present: self.facing_links(),
                lan: default.filter(|_| subnets.iter().all(|net| net.addr().is_ipv4())).and_then(|default| {
                    let net = self.lan_subnet(&default, None).ok()?;
                    Some((net, self.default_gateway(&net)?))
                }),
            }),
            several => match default.filter(|default| several.contains(&default)) {
                Some(default) => Ok(default),
                None => Err(NetworkError::SeveralParents {
                    subnets: list(subnets.iter()),
                    parents: list(several.iter()),
                }),
            },
        }
    }

    /// The IPv4 subnet of a parent, or of a VLAN on it.
    pub fn lan_subnet(&self, parent: &IfName, id: Option<VlanId>) -> Result<IpNet, NetworkError> {
        let (parent, vlan) = self.meant(parent, id)?;
        let Some(link) = self.link(&parent) else {
            let present = self.links.iter().filter(|link| could_be_parent(link)).map(|link| &link.name);
            return Err(match vlan {
                Some(_) => NetworkError::NoAddress { parent, ipv6: None },
                None => NetworkError::NoParent { parent, present: list(present) },
            });
        };
        let (ipv4, ipv6): (Vec<IpNet>, Vec<IpNet>) = self
            .addresses_of(link)
            .filter(|there| !there.link_scope)
            .map(|there| there.net.trunc())
            .partition(|net| net.addr().is_ipv4());
        // A prefix longer than 64 bits (a DHCPv6 address) holds no addresses for endpoints.
        let ipv6 = ipv6.into_iter().find(|net| net.prefix_len() <= 64);
        let none = || NetworkError::NoAddress { parent, ipv6 };
        ipv4.first().copied().ok_or_else(none)
    }

    /// The link of the IPv4 default route with the lowest metric.
    fn default_link(&self) -> Option<&Link> {
        let defaults = self.routes.iter().filter(|there| {
            there.route.to.prefix_len() == 0 && there.route.to.addr().is_ipv4() && there.route.via.is_some()
        });
        self.link(&defaults.min_by_key(|there| there.metric)?.route.dev)
    }

    /// The interfaces that are up and can be a parent, with their addresses, for an error message.
    fn facing_links(&self) -> String {
        let facing = self.links.iter().filter(|link| could_be_parent(link) && link.up);
        list(facing.map(|link| {
            let addresses = self.addresses_of(link).filter(|there| !there.link_scope).map(|there| there.net);
            format!("{} ({})", link.name, list(addresses))
        }))
    }
}

impl State {
    /// The ranges that can be chosen in a subnet, best first. They are blocks counted from the end of the
    /// subnet, where routers' pools seldom reach, and hold no address of the host, no gateway, and nothing of
    /// another network.
    pub fn ranges_to_try(&self, net: IpNet, gateway: Option<IpAddr>, host: &View) -> Vec<Range> {
        /// In a /24 a block is an eighth of the subnet. A larger subnet gets no larger blocks, which no home
        /// needs.
        const LONGEST: u8 = 5;
        let bits = net.max_prefix_len() - net.prefix_len();
        let block = bits.saturating_sub(3).clamp(1, LONGEST);
        let whole = Range::of_net(&net);
        let free = |range: &Range| {
            let own = host.addresses.iter().any(|there| range.contains(there.net.addr()));
            let theirs = self.networks.values().flat_map(|network| &network.subnets).any(|subnet| {
                let given = subnet.gateway.iter().chain(subnet.aux.values()).any(|ip| range.contains(*ip));
                given || subnet.range.is_some_and(|taken| taken.overlaps(range))
            });
            let open = self.pools.keys().filter_map(|key| key.range).any(|open| open.overlaps(range));
            let mut held = self.endpoints.values().flat_map(|endpoint| &endpoint.addresses);
            let held = held.any(|there| range.contains(there.addr()));
            !own && !theirs && !open && !held && !gateway.is_some_and(|gateway| range.contains(gateway))
        };
        let size = 1_u128 << block;
        let count = (whole.len() / size).min(256);
        (1..=count)
            .filter_map(|back| {
                let first = whole.nth_around(whole.len() - back * size);
                let prefix = Family::of(first).full_prefix() - block;
                Some(Range::of_net(&IpNet::new(first, prefix).ok()?))
            })
            .filter(free)
            .collect()
    }
}
