//! The environment for tests of steps on a real kernel: a host with a NIC, and a container.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part of this")]

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::net::step::{ROUTE_PROTOCOL, Step};
use ashore_kernel::{Kernel, Namespace, OnError};

pub fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub fn link(text: &str, kind: LinkType) -> LinkSpec {
    LinkSpec { name: name(text), kind, mac: None, mtu: None }
}

/// A host with a NIC, which is one end of a veth, and a container.
pub struct Ground {
    pub kernel: Kernel,
    pub container: Namespace,
}

impl Ground {
    pub fn new() -> Ground {
        let host = Namespace::new().expect("cannot create namespaces (run as root, or under `unshare -Urn`)");
        let ground = Ground { kernel: Kernel::of(&host).unwrap(), container: Namespace::new().unwrap() };
        let wire = LinkType::Veth { peer: name("wire"), peer_place: Place::Host, peer_mac: None };
        ground.make(&[
            Step::AddLink { place: Place::Host, link: link("eth0", wire) },
            Step::SetUp { place: Place::Host, link: name("wire"), up: true },
            Step::SetUp { place: Place::Host, link: name("eth0"), up: true },
        ]);
        ground
    }

    pub fn make(&self, steps: &[Step]) {
        let outcome = self.kernel.apply(steps, OnError::Undo);
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    }

    pub fn inside(&self) -> Place {
        Place::Netns(self.container.identity())
    }

    /// Host and container, without what the kernel changes by itself and at its own pace.
    pub fn seen(&self) -> Vec<View> {
        let netns = self.container.identity();
        let mut observed = self.kernel.observe(std::slice::from_ref(&netns)).unwrap();
        let inside = observed.netns.remove(&netns).unwrap();
        [observed.host, inside]
            .into_iter()
            .map(|mut view| {
                view.addresses.retain(|address| !address.link_scope);
                view.routes.retain(|there| there.protocol == ROUTE_PROTOCOL);
                view.links.iter_mut().for_each(|link| link.carrier = false);
                view
            })
            .collect()
    }
}
