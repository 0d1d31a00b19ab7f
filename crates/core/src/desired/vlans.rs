//! What VLANs need on the host beside their networks' endpoints.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{WantedLink, quiet};
use crate::link::{LinkSpec, LinkType, Tag};
use crate::name::IfName;
use crate::observed::{Link, Lower, Observed, ObservedKind, View};
use crate::state::State;
use crate::vlan::Vlan;

/// The VLAN interfaces of all networks that are not on one of the user's, each once. Where the interface below is gone,
/// so are they. A network that was made on a user's own keeps one of Ashore's that has taken its place meanwhile.
pub(super) fn vlans(state: &State, host: &View) -> Vec<WantedLink> {
    let mut wanted: BTreeMap<&IfName, Vlan> = BTreeMap::new();
    for network in state.networks.values() {
        let there = || host.own_vlan(host.link(&network.parent)?);
        if let Some(vlan) = network.vlan.clone().or_else(there) {
            wanted.entry(&network.parent).or_insert_with(|| vlan.clone()).gvrp |= vlan.gvrp;
        }
    }
    wanted.into_iter().filter_map(|(name, vlan)| vlan_link(host, name, vlan)).collect()
}

/// The host has no part in a VLAN for having its interface: it gets no address there by itself, and answers for none.
fn vlan_link(host: &View, name: &IfName, vlan: Vlan) -> Option<WantedLink> {
    let lower = host.link(&vlan.lower)?;
    let tag = Tag::Vlan(name.clone());
    if host.link(name).is_some_and(|link| link.tag().as_ref() != Some(&tag) && vlan.is(link, host)) {
        return None;
    }
    let kind = LinkType::Vlan { parent: vlan.lower, id: vlan.id, gvrp: vlan.gvrp };
    Some(WantedLink {
        no_link_local: lower.accept_ra.is_some(),
        sysctls: quiet(name, lower),
        ..WantedLink::bare(LinkSpec { name: name.clone(), kind, mac: None, mtu: None }, tag)
    })
}

/// The host as it will be with the VLAN interfaces that are still to be made: what stands on them is planned with them.
/// One that somebody else's link keeps from being made is no parent.
pub(super) fn with_vlans<'a>(observed: &'a Observed, wanted: &[WantedLink]) -> Cow<'a, Observed> {
    let mut expected = Cow::Borrowed(observed);
    for WantedLink { spec, tag, .. } in wanted {
        let LinkType::Vlan { parent, id, .. } = &spec.kind else { continue };
        let there = observed.host.link(&spec.name);
        if there.is_some_and(|link| link.tag().as_ref() == Some(tag)) {
            continue;
        }
        let host = &mut expected.to_mut().host;
        host.links.retain(|link| link.name != spec.name);
        let vlan = Vlan { lower: parent.clone(), id: *id, gvrp: false };
        if there.is_some() || observed.host.links.iter().any(|link| vlan.is(link, &observed.host)) {
            continue;
        }
        let lower = observed.host.link(parent).expect("a VLAN is wanted where the link below it is").clone();
        let below = Some(Lower { index: lower.index, elsewhere: false });
        let kind = ObservedKind::Vlan { id: id.get(), gvrp: false };
        // The kernel gives it the MAC and MTU of the link below, and keeps it down as long as that is.
        let name = spec.name.clone();
        host.links.push(Link { index: 0, name, kind, lower: below, master: None, alias: None, ..lower });
    }
    expected
}
