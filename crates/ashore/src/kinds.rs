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
pub(crate) const VETH: &str = "veth";
pub(crate) const VLAN: &str = "802.1Q";

/// All kinds.
pub(crate) const ALL: [&str; 4] = [MACVLAN, IPVLAN, VETH, VLAN];

/// Tries these kinds. The kernel may load a module for each. The error is why none can be tried.
pub(crate) fn tried(wanted: &[&'static str]) -> anyhow::Result<Kinds> {
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
    // The others are tried on its two ends.
    let peer = LinkType::Veth { peer: name("lower1"), peer_place: Place::Host, peer_mac: None };
    let veth = make("lower", peer);
    let try_one = |kind: &'static str| {
        let parent = name(if kind == IPVLAN { "lower1" } else { "lower" });
        let of_kind = match kind {
            MACVLAN => {
                let mode = MacvlanMode::Bridge;
                LinkType::Macvlan { parent, mode, bc_queue_len: None, bc_limit: None }
            }
            IPVLAN => LinkType::Ipvlan { parent, mode: IpvlanMode::L2 },
            VLAN => LinkType::Vlan { parent, id: VlanId::try_from(2).expect("it is an id"), gvrp: false },
            _ => return veth,
        };
        if veth == Some(true) { make(&kind.to_ascii_lowercase().replace('.', "-"), of_kind) } else { None }
    };
    Ok(wanted.iter().map(|kind| (*kind, try_one(kind))).collect())
}
