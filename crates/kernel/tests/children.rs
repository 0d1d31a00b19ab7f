//! What can be observed of a parent's children: in which namespace a link's parent is, and the MACs of the
//! children that are up, wherever they are.

mod ground;

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Netns, Place};
use ashore_core::net::observed::{Lower, Seat};
use ashore_core::net::step::Step;
use ashore_kernel::{Kernel, Namespace, OnError};
use ashore_wire::Mac;
use ground::{Ground, link, name};

const WEB: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn child(parent: &str, called: &str, mac: Mac) -> LinkSpec {
    let mode = MacvlanMode::Bridge;
    let kind = LinkType::Macvlan { parent: name(parent), mode, bc_queue_len: None, bc_limit: None };
    LinkSpec { mac: Some(mac), ..link(called, kind) }
}

fn below(ground: &Ground, netns: &Netns, called: &str) -> Lower {
    let observed = ground.kernel.observe(std::slice::from_ref(netns)).unwrap();
    observed.netns[netns].link(&name(called)).unwrap().lower.unwrap()
}

#[test]
fn a_link_of_a_third_namespace_is_not_taken_for_the_hosts_whatever_its_number() {
    let ground = Ground::new();
    let container = ground.container.identity();
    ground.make(&[Step::AddLink { place: ground.inside(), link: child("eth0", "eth0", WEB) }]);
    let nic = ground.kernel.observe(&[]).unwrap().host.link(&name("eth0")).unwrap().index;
    assert_eq!(below(&ground, &container, "eth0"), Lower { index: nic, seat: Seat::Host });

    // Its links were created in the same order, so they have the same indices.
    let third = Ground::new();
    let place = Place::Netns(container.clone());
    let forged = Step::AddLink { place: place.clone(), link: child("eth0", "forged", WEB) };
    assert!(third.kernel.apply(&[forged], OnError::Undo).errors.is_empty());
    assert_eq!(below(&ground, &container, "forged"), Lower { index: nic, seat: Seat::Elsewhere });

    let inside = Kernel::of(&ground.container).unwrap();
    let veth = LinkType::Veth { peer: name("far"), peer_place: Place::Host, peer_mac: None };
    let own = Step::AddLink { place: Place::Host, link: link("near", veth) };
    assert!(inside.apply(&[own], OnError::Undo).errors.is_empty());
    assert_eq!(below(&ground, &container, "near").seat, Seat::Here);
}

#[test]
fn a_parent_tells_the_macs_of_children_that_are_up_wherever_they_are() {
    let ground = Ground::new();
    let other = Namespace::new().unwrap();
    let place = Place::Netns(other.identity());
    let up = |up| Step::SetUp { place: place.clone(), link: name("eth0"), up };
    let add = Step::AddLink { place: place.clone(), link: child("eth0", "eth0", WEB) };
    let macs = || ground.kernel.macs_on(&name("eth0")).unwrap().expect("a veth reports its MACs");
    assert!(macs().is_empty());
    ground.make(&[add]);
    assert!(macs().is_empty(), "a child that is down receives nothing");
    ground.make(&[up(true)]);
    assert_eq!(macs(), [WEB].into());
    let is_up = || ground.kernel.has_child_with(&name("eth0"), WEB).unwrap();
    assert!(is_up());
    ground.make(&[up(false)]);
    assert!(macs().is_empty());
    ground.make(&[up(true), Step::DelLink { place: place.clone(), link: name("eth0") }]);
    assert!(macs().is_empty(), "{:?}", macs());
    assert!(!is_up());
    assert!(macs().is_empty(), "the link that was made for the check is gone: {:?}", macs());
}
