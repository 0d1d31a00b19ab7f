//! Link kinds that the usual kernel may lack: created, observed, undone. Runs on Debian's kernel, in the
//! virtual machine.

mod ground;

use ashore_core::net::kind::{IpvlanMode, MacvlanMode};
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::observed::{Lower, ObservedKind, Seat};
use ashore_core::net::step::Step;
use ashore_kernel::OnError;
use ground::{Ground, link, name};

fn vlan() -> LinkSpec {
    link("eth0.200", LinkType::Vlan { parent: name("eth0"), id: 200.try_into().unwrap(), gvrp: false })
}

fn set_gvrp(on: bool) -> Step {
    Step::SetGvrp { place: Place::Host, link: name("eth0.200"), on }
}

#[test]
fn a_vlan_is_made_seen_and_undone() {
    let ground = Ground::new();
    let before = ground.seen();
    let add = Step::AddLink { place: Place::Host, link: vlan() };
    let up = Step::SetUp { place: Place::Host, link: name("eth0.200"), up: true };
    ground.make(&[add.clone(), up.clone()]);
    let host = &ground.seen()[0];
    let (made, nic) = (host.link(&name("eth0.200")).unwrap(), host.link(&name("eth0")).unwrap());
    assert_eq!(made.kind, ObservedKind::Vlan { id: 200, gvrp: false });
    assert_eq!(made.lower, Some(Lower { index: nic.index, seat: Seat::Here }));
    assert_eq!((made.mac, made.mtu, made.up), (nic.mac, nic.mtu, true));

    let kind_now = || ground.seen()[0].link(&name("eth0.200")).unwrap().kind.clone();
    ground.make(&[set_gvrp(true)]);
    assert_eq!(kind_now(), ObservedKind::Vlan { id: 200, gvrp: true });
    ground.make(&[set_gvrp(true).inverse().unwrap()]);
    assert_eq!(kind_now(), ObservedKind::Vlan { id: 200, gvrp: false });

    ground.make(&[Step::DelLink { place: Place::Host, link: name("eth0.200") }]);
    let bad = Step::SetUp { place: Place::Host, link: name("nothing"), up: true };
    let outcome = ground.kernel.apply(&[add, up, set_gvrp(true), bad], OnError::Undo);
    assert_eq!(outcome.errors.len(), 1, "{:?}", outcome.errors);
    assert_eq!(ground.seen(), before);
}

#[test]
fn ipvlan_is_made_in_a_container_in_every_mode_and_seen() {
    for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
        let ground = Ground::new();
        let child = link("eth0", LinkType::Ipvlan { parent: name("eth0"), mode });
        ground.make(&[
            Step::AddLink { place: ground.inside(), link: child },
            Step::SetUp { place: ground.inside(), link: name("eth0"), up: true },
        ]);
        let [host, inside] = &ground.seen()[..] else { unreachable!() };
        let (made, nic) = (inside.link(&name("eth0")).unwrap(), host.link(&name("eth0")).unwrap());
        assert_eq!(made.kind, ObservedKind::Ipvlan { mode });
        assert_eq!(made.lower, Some(Lower { index: nic.index, seat: Seat::Host }));
        assert_eq!(made.mac, nic.mac);
    }
}

/// Linux 6.1 checks a new link's name in the sender's namespace, where `eth0` is the NIC.
#[test]
fn a_container_gets_an_eth0_beside_the_hosts() {
    let ground = Ground::new();
    let kind = LinkType::Macvlan {
        parent: name("eth0"),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    ground.make(&[Step::AddLink { place: ground.inside(), link: link("eth0", kind) }]);
    let [host, inside] = &ground.seen()[..] else { unreachable!() };
    assert!(inside.link(&name("eth0")).is_some());
    assert_eq!(host.links.len(), 3, "lo, eth0 and its peer: {:?}", host.links);
}
