//! What VLANs need on the host besides their networks' endpoints: a VLAN interface, which is the endpoints'
//! parent; or, if the endpoints are ports of a bridge, a port of Ashore's own, through which Ashore listens
//! and sends on the LAN in the VLAN.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::shim::{host_side, quiet};
use super::{PortVlan, WantedLink, least_mtu_of_ports, veth_into_bridge};
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::kind::PortOption;
use crate::net::link::{LinkSpec, LinkType, Place, Tag, own_port_name};
use crate::net::name::IfName;
use crate::net::observed::{Link, Lower, Observed, ObservedKind, Seat, View};
use crate::net::vlan::{Membership, Vlan};

/// The links for all networks whose parent Ashore makes, each once. There is none if the interface below is
/// gone. A network that was made on a user's VLAN interface keeps one of Ashore's that has since taken its
/// place.
pub(super) fn vlans(state: &State, observed: &Observed) -> Vec<WantedLink> {
    let host = &observed.host;
    let mut wanted: BTreeMap<&IfName, (Vlan, Vec<&Network>)> = BTreeMap::new();
    for network in state.networks.values() {
        let there = || host.own_vlan(host.link(&network.parent)?);
        if let Some(vlan) = network.vlan.clone().or_else(there) {
            let (all, networks) = wanted.entry(&network.parent).or_insert_with(|| (vlan.clone(), Vec::new()));
            all.gvrp |= vlan.gvrp;
            networks.push(network);
        }
    }
    let of_parent = |(parent, (vlan, networks)): (&IfName, (Vlan, Vec<&Network>))| {
        if networks.iter().any(|network| network.bridge_vlan().is_some()) {
            own_port(state, observed, parent, &vlan, &networks)
        } else {
            vlan_link(host, parent, vlan).into_iter().collect()
        }
    };
    wanted.into_iter().flat_map(of_parent).collect()
}

/// The VLAN interface of a network. It does not make the host a member of the VLAN's LAN: the host gets no
/// address there by itself and answers for none.
fn vlan_link(host: &View, name: &IfName, vlan: Vlan) -> Option<WantedLink> {
    let lower = host.link(&vlan.lower)?;
    let tag = Tag::Vlan(name.clone());
    if host.link(name).is_some_and(|link| link.tag().as_ref() != Some(&tag) && vlan.is(link, host)) {
        return None;
    }
    let kind = LinkType::Vlan { parent: vlan.lower, id: vlan.id, gvrp: vlan.gvrp };
    // The interface begins with the MTU of the link below. The kernel lowers it with that MTU, but does not
    // raise it again (Linux 6.18, `vlan_device_event`).
    let mtu = host.link(name).map(|_| lower.mtu);
    Some(WantedLink {
        no_link_local: lower.accept_ra.is_some(),
        sysctls: quiet(name, lower),
        ..WantedLink::bare(LinkSpec { name: name.clone(), kind, mac: None, mtu }, tag)
    })
}

/// Both ends of Ashore's own port in a VLAN of a bridge. The host has an address on it only if one is
/// reserved for the host.
///
/// What Ashore sends through the port has the endpoints' MACs as well as its own. A bridge that learnt those
/// would send the endpoints' frames here until the endpoints send something themselves.
fn own_port(
    state: &State,
    observed: &Observed,
    name: &IfName,
    vlan: &Vlan,
    networks: &[&Network],
) -> Vec<WantedLink> {
    let (host, about) = (&observed.host, observed.about.as_ref());
    let Some(bridge) = host.link(&vlan.lower) else { return Vec::new() };
    let far = own_port_name(name);
    let mtu = Some(least_mtu_of_ports(host, bridge));
    let near = LinkSpec { name: name.clone(), kind: veth_into_bridge(far.clone()), mac: None, mtu };
    let mut near = WantedLink {
        no_link_local: bridge.accept_ra.is_some(),
        sysctls: quiet(name, bridge),
        no_other_addresses: true,
        ..WantedLink::bare(near, Tag::Vlan(name.clone()))
    };
    for network in networks.iter().filter(|network| network.host_access) {
        host_side(&mut near, state, about, |_| None, |_| false, None, network);
    }
    let kind = LinkType::Veth { peer: name.clone(), peer_place: Place::Host, peer_mac: None };
    let spec = LinkSpec { name: far, kind, mac: None, mtu };
    let far = WantedLink {
        master: Some(vlan.lower.clone()),
        port: BTreeSet::from([PortOption::Unlearning]),
        vlan: Some(PortVlan { id: vlan.id, membership: Membership::UNTAGGED }),
        no_link_local: bridge.accept_ra.is_some(),
        ..WantedLink::bare(spec, Tag::VlanPort(name.clone()))
    };
    vec![near, far]
}

/// The host as it will be with the links that VLANs still need, so that what is on these links is planned
/// with them. A link that cannot be made because a foreign link is in the way is left out. So is a port of
/// Ashore's own that goes because its bridge is gone.
pub(super) fn with_vlans<'a>(observed: &'a Observed, wanted: &[WantedLink]) -> Cow<'a, Observed> {
    let mut expected = Cow::Borrowed(observed);
    let goes = |link: &Link| {
        let tag = link.tag().filter(|tag| matches!(tag, Tag::Vlan(_)) && link.kind == ObservedKind::Veth);
        tag.is_some_and(|tag| !wanted.iter().any(|wanted| wanted.tag == tag))
    };
    if observed.host.links.iter().any(goes) {
        expected.to_mut().host.links.retain(|link| !goes(link));
    }
    for WantedLink { spec, tag, .. } in wanted.iter().filter(|link| matches!(link.tag, Tag::Vlan(_))) {
        let there = observed.host.link(&spec.name);
        if let Some(link) = there.filter(|link| link.tag().as_ref() == Some(tag)) {
            let mtu = spec.mtu.unwrap_or(link.mtu);
            let other = |link: &&mut Link| link.name == spec.name;
            if let Some(link) =
                (mtu != link.mtu).then(|| expected.to_mut().host.links.iter_mut().find(other)).flatten()
            {
                link.mtu = mtu;
            }
            continue;
        }
        let host = &mut expected.to_mut().host;
        host.links.retain(|link| link.name != spec.name);
        if there.is_none() {
            host.links.extend(coming(&observed.host, spec, wanted));
        }
    }
    expected
}

/// A link that is still to be made. `None` if it cannot be made.
fn coming(host: &View, spec: &LinkSpec, wanted: &[WantedLink]) -> Option<Link> {
    let LinkType::Vlan { parent, id, .. } = &spec.kind else {
        let far = Tag::VlanPort(spec.name.clone());
        let bridge = wanted.iter().find(|link| link.tag == far)?.master.as_ref()?;
        let port = like(host.link(bridge)?, spec);
        let mtu = spec.mtu.unwrap_or(port.mtu);
        return Some(Link { kind: ObservedKind::Veth, lower: None, mac: None, mtu, ..port });
    };
    let vlan = Vlan { lower: parent.clone(), id: *id, gvrp: false };
    if host.links.iter().any(|link| vlan.is(link, host)) {
        return None;
    }
    let below = host.link(parent)?;
    let lower = Some(Lower { index: below.index, seat: Seat::Here });
    // The kernel gives the interface the MAC and MTU of the link below, and keeps it down while that link is
    // down.
    Some(Link { kind: ObservedKind::Vlan { id: id.get(), gvrp: false }, lower, ..like(below, spec) })
}

/// A new link with the properties of the link below, but not those of a bridge or a port.
fn like(lower: &Link, spec: &LinkSpec) -> Link {
    let name = spec.name.clone();
    Link { index: 0, name, master: None, alias: None, vlans: None, default_pvid: None, ..lower.clone() }
}
