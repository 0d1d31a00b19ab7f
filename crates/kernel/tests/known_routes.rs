//! The host's routes are read once, and then followed: whoever changes them, the next look has them as they
//! are.

mod ground;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::net::link::Place;
use ashore_core::net::step::{Address, Route, Step};
use ashore_kernel::{Kernel, OnError};
use ground::{Ground, name};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn route(to: &str) -> Route {
    Route { to: to.parse().unwrap(), via: None, dev: name("eth0"), src: None, metric: None }
}

fn set(to: &str) -> Step {
    Step::SetRoute { place: Place::Host, route: route(to), instead_of: None }
}

fn del(to: &str) -> Step {
    Step::DelRoute { place: Place::Host, route: route(to) }
}

/// The destinations of the host's routes by its NIC, with a look at these addresses alone.
fn seen(ground: &Ground, about: &[&str]) -> BTreeSet<String> {
    let about: BTreeSet<IpAddr> = about.iter().map(|text| ip(text)).collect();
    let observed = ground.kernel.observe_about(&[], about.clone()).unwrap();
    assert_eq!(observed.about, Some(about));
    let by_nic = observed.host.routes.iter().filter(|there| there.route.dev == name("eth0"));
    let own = by_nic.map(|there| there.route.to).filter(|to| !to.addr().to_string().starts_with("fe80"));
    own.filter(|to| !to.addr().is_multicast()).map(|to| to.to_string()).collect()
}

fn all(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn whoever_changes_a_route_it_is_seen_with_the_next_look() {
    let ground = Ground::new();
    let address = Address { net: "192.168.88.9/24".parse().unwrap(), nodad: true };
    ground.make(&[
        Step::AddAddress { place: Place::Host, link: name("eth0"), address },
        set("192.168.88.192/32"),
        set("192.168.88.193/32"),
        set("fd88::c1/128"),
        set("10.9.0.0/24"),
    ]);
    let (web, db, six, net, far) =
        ("192.168.88.192/32", "192.168.88.193/32", "fd88::c1/128", "192.168.88.0/24", "10.9.0.0/24");
    let (web_ip, db_ip, six_ip) = ("192.168.88.192", "192.168.88.193", "fd88::c1");
    assert_eq!(seen(&ground, &[]), all(&[net, far]));
    assert_eq!(seen(&ground, &[web_ip, six_ip]), all(&[net, far, web, six]));

    // This daemon, and another program, which makes routes like Ashore's.
    let other = Kernel::of(ground.kernel.host()).unwrap();
    let by_other = |step: Step| assert!(other.apply(&[step], OnError::Undo).errors.is_empty());
    ground.make(&[del(web)]);
    by_other(del(six));
    by_other(set("192.168.88.194/32"));
    assert_eq!(
        seen(&ground, &[web_ip, db_ip, six_ip, "192.168.88.194"]),
        all(&[net, far, db, "192.168.88.194/32"])
    );
    // Routes that are nobody's in particular.
    let foreign = Kernel::of(ground.kernel.host()).unwrap().with_route_protocol(4);
    assert!(foreign.apply(&[set("10.8.0.7/32")], OnError::Undo).errors.is_empty());
    assert_eq!(seen(&ground, &[]), all(&[net, far, "10.8.0.7/32"]));
    assert!(foreign.apply(&[del("10.8.0.7/32")], OnError::Undo).errors.is_empty());
    assert_eq!(seen(&ground, &[]), all(&[net, far]));

    // The kernel does not notify of the routes that go with a link.
    let up = |up| Step::SetUp { place: Place::Host, link: name("eth0"), up };
    by_other(up(false));
    assert_eq!(seen(&ground, &[db_ip]), all(&[]));
    by_other(up(true));
    assert_eq!(seen(&ground, &[db_ip]), all(&[net]));
    ground.make(&[set(db)]);
    assert_eq!(seen(&ground, &[db_ip]), all(&[net, db]));
    by_other(Step::DelAddress { place: Place::Host, link: name("eth0"), address });
    assert_eq!(seen(&ground, &[db_ip]), all(&[]), "they go with the last address");

    // More notifications than the kernel keeps.
    let many: Vec<Step> =
        (0..4000_u32).map(|n| set(&format!("10.{}.{}.1/32", 100 + n / 250, n % 250))).collect();
    ground.make(&many);
    assert_eq!(seen(&ground, &[db_ip, "10.107.9.1"]), all(&["10.107.9.1/32"]));
    let mut observed = ground.kernel.observe_about(&[], BTreeSet::new()).unwrap();
    ground.kernel.observe_also(&mut observed, &[ip("10.108.3.1")]).unwrap();
    assert_eq!(observed.about, Some([ip("10.108.3.1")].into()));
    assert!(observed.host.routes.iter().any(|there| there.route == route("10.108.3.1/32")));
}
