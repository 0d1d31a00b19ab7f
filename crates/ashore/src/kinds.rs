//! Which kinds of links this kernel has. One of each is made in a namespace that goes again.

use std::collections::BTreeMap;

use ashore_core::net::kind::{IpvlanMode, MacvlanMode};
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::step::Step;
use ashore_core::net::vlan::VlanId;
use ashore_kernel::{Kernel, Namespace, OnError};

/// The kinds by their names, and whether the kernel has them. `None`: that could not be tried.
pub(crate) type Kinds = BTreeMap<&'static str, Option<bool>>;

pub(crate) const MACVLAN: &str = "macvlan";
pub(crate) const IPVLAN: &str = "ipvlan";
pub(crate) const BRIDGE: &str = "bridge";
pub(crate) const VLAN: &str = "802.1Q";

/// Tries each kind. The error is why none can be tried.
pub(crate) fn tried() -> anyhow::Result<Kinds> {
    let there = Namespace::new()?;
    let kernel = Kernel::of(&there)?;
    let name = |name: &str| name.parse::<IfName>().expect("it is a name");
    let make = |link: &str, kind: LinkType| {
        let link = LinkSpec { name: name(link), kind, mac: None, mtu: None };
        let made = kernel.apply(&[Step::AddLink { place: Place::Host, link }], OnError::GoOn);
        match made.errors.first() {
            None => Some(true),
            Some(error) if error.is_missing() => Some(false),
            Some(_) => None,
        }
    };
    let peer = LinkType::Veth { peer: name("lower1"), peer_place: Place::Host, peer_mac: None };
    anyhow::ensure!(make("lower", peer) == Some(true), "no link can be made to try them on");
    let lower = || name("lower");
    let macvlan =
        LinkType::Macvlan { parent: lower(), mode: MacvlanMode::Bridge, bc_queue_len: None, bc_limit: None };
    let ipvlan = LinkType::Ipvlan { parent: name("lower1"), mode: IpvlanMode::L2 };
    let id = VlanId::try_from(2).expect("it is an id");
    let vlan = LinkType::Vlan { parent: lower(), id, gvrp: false };
    Ok(BTreeMap::from([
        (MACVLAN, make("macvlan", macvlan)),
        (IPVLAN, make("ipvlan", ipvlan)),
        (BRIDGE, make("bridge", LinkType::Bridge)),
        (VLAN, make("vlan", vlan)),
    ]))
}
