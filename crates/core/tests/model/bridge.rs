//! The model's bridge, which filters VLANs, and its ports.

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::net::link::Place;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, ObservedKind};
use ashore_core::net::step::Step;
use ashore_core::net::vlan::{Membership, VlanId};
use ashore_wire::Mac;

use super::{Model, link};

impl Model {
    pub fn bridge() -> IfName {
        "br0".parse().unwrap()
    }

    /// VLAN 20 of the bridge, in which the endpoints are.
    pub fn bridge_vlan() -> VlanId {
        20.try_into().unwrap()
    }

    /// Adds a bridge that filters VLANs, with a port that leads to VLAN 20.
    pub fn add_bridge(&mut self) {
        if self.observed.host.link(&Self::bridge()).is_some() {
            return;
        }
        let untagged = |id: u16| (id.try_into().unwrap(), Membership::UNTAGGED);
        let (bridge, uplink) = (self.index(), self.index());
        self.observed.host.links.push(Link {
            up: true,
            vlans: Some([untagged(1)].into()),
            default_pvid: 1.try_into().ok(),
            ..link(bridge, Self::bridge(), ObservedKind::Bridge, Some(Mac([0x52, 0x54, 0, 0, 0, 2])))
        });
        let physical = ObservedKind::Physical;
        self.observed.host.links.retain(|link| link.name.as_str() != "eth1");
        self.observed.host.links.push(Link {
            up: true,
            master: Some(bridge),
            vlans: Some([untagged(1), (Self::bridge_vlan(), Membership::TAGGED)].into()),
            ..link(uplink, "eth1".parse().unwrap(), physical, Some(Mac([0x52, 0x54, 0, 0, 0, 3])))
        });
    }

    /// Deletes the bridge. Its ports stay as links of their own.
    pub fn delete_bridge(&mut self) {
        let Some(bridge) = self.observed.host.link(&Self::bridge()).map(|link| link.index) else { return };
        self.remove(&Place::Host, bridge);
        for port in self.observed.host.links.iter_mut().filter(|link| link.master == Some(bridge)) {
            (port.master, port.vlans, port.port) = (None, None, BTreeSet::new());
        }
        self.hidden.clear();
    }

    /// Switches VLAN filtering on the bridge on or off.
    pub fn set_filtering(&mut self, on: bool) {
        let Some(bridge) = self.observed.host.link(&Self::bridge()).map(|link| link.index) else { return };
        for link in &mut self.observed.host.links {
            if link.index == bridge || link.master == Some(bridge) {
                if on && link.vlans.is_none() {
                    link.vlans = Some(self.hidden.remove(&link.name).unwrap_or_default());
                } else if !on && let Some(vlans) = link.vlans.take() {
                    self.hidden.insert(link.name.clone(), vlans);
                }
            }
        }
    }

    pub fn filters(&self) -> bool {
        self.observed.host.link(&Self::bridge()).is_some_and(|bridge| bridge.vlans.is_some())
    }

    /// Puts the ports of all containers into the bridge's first VLAN.
    pub fn change_memberships(&mut self) {
        for port in self.observed.host.links.iter_mut().filter(|link| link.kind == ObservedKind::Veth) {
            if let Some(vlans) = &mut port.vlans {
                take_pvid(vlans);
                vlans.insert(1.try_into().unwrap(), Membership::UNTAGGED);
            }
        }
    }

    /// Applies one step to a port. The error says why the kernel would refuse it.
    pub(super) fn change_port(&mut self, step: &Step) -> Result<(), &'static str> {
        match step {
            Step::SetMaster { place, link, master, .. } => {
                let master = master.as_ref().and_then(|master| self.observed.host.link(master)).cloned();
                let Some(link) = self.link(place, link) else { return Err("ENODEV") };
                (link.master, link.port) = (master.as_ref().map(|master| master.index), BTreeSet::new());
                let joins = |master: Link| {
                    let id = master.vlans.as_ref().and(master.default_pvid);
                    id.into_iter().map(|id| (id, Membership::UNTAGGED)).collect()
                };
                link.vlans = master.filter(|master| master.vlans.is_some()).map(joins);
            }
            Step::SetPort { place, link, option, on } => {
                let Some(port) = self.link(place, link).filter(|link| link.master.is_some()) else {
                    return Err("EOPNOTSUPP");
                };
                let changed = if *on { port.port.insert(*option) } else { port.port.remove(option) };
                assert!(changed, "{step}: the option is already set so");
            }
            Step::SetPortVlan { place, link, vlan, membership, was } => {
                let Some(vlans) = self.link(place, link).and_then(|link| link.vlans.as_mut()) else {
                    return Err("EOPNOTSUPP");
                };
                if membership.pvid {
                    take_pvid(vlans);
                }
                assert_eq!(
                    vlans.insert(*vlan, *membership).map(|there| there.untagged),
                    was.map(|w| w.untagged)
                );
            }
            Step::DelPortVlan { place, link, vlan, was } => {
                let vlans = self.link(place, link).and_then(|link| link.vlans.as_mut());
                let gone = vlans.and_then(|vlans| vlans.remove(vlan));
                assert_eq!(gone, Some(*was), "{step}");
            }
            _ => unreachable!("not a step for a port"),
        }
        Ok(())
    }
}

/// At most one VLAN of a port is the `pvid`.
fn take_pvid(vlans: &mut BTreeMap<VlanId, Membership>) {
    for other in vlans.values_mut() {
        other.pvid = false;
    }
}
