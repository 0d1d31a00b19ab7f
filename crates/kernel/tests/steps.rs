//! Steps on a real kernel: applied, observed, undone, and refused with the kernel's own error text.

mod ground;

use ashore_core::net::family::Family;
use ashore_core::net::kind::{LinkKind, MacvlanMode, PortOption};
use ashore_core::net::link::{Cookie, LinkSpec, LinkType, Netns, Place, Tag};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{ObservedKind, Seat, Standing};
use ashore_core::net::step::{Address, Route, Step, Sysctl, SysctlKey};
use ashore_kernel::{Found, Namespace, OnError};
use ashore_wire::Mac;
use ground::{Ground, link, name};

/// One step of every kind. Each one needs those before it.
fn all_kinds(ground: &Ground) -> Vec<Step> {
    let mode = MacvlanMode::Bridge;
    let child = |mac| LinkSpec {
        mac: Some(Mac([2, 0, 0, 0, 0, mac])),
        mtu: Some(1400),
        ..link(
            if mac == 1 { "shim" } else { "eth0" },
            LinkType::Macvlan { parent: name("eth0"), mode, bc_queue_len: Some(500), bc_limit: None },
        )
    };
    let (host, inside) = (Place::Host, ground.inside());
    let address = |text: &str| Address { net: text.parse().unwrap(), nodad: true };
    let route = |to: &str, via: Option<&str>, dev: &str| Route {
        to: to.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        dev: name(dev),
        src: None,
        metric: None,
    };
    let arp_filter = Sysctl { family: Family::Ipv4, link: name("shim"), key: SysctlKey::ArpFilter };
    vec![
        Step::AddLink { place: host.clone(), link: child(1) },
        Step::SetAlias { place: host.clone(), link: name("shim"), tag: Some(Tag::Shim(name("eth0"))) },
        Step::SetNoLinkLocal { place: host.clone(), link: name("shim") },
        Step::SetSysctl { place: host.clone(), sysctl: arp_filter, value: 1, was: Some(0) },
        Step::AddAddress { place: host.clone(), link: name("shim"), address: address("fe80::7/64") },
        Step::SetMode {
            place: host.clone(),
            link: name("shim"),
            kind: LinkKind::Macvlan(MacvlanMode::Vepa),
            was: Some(LinkKind::Macvlan(mode)),
        },
        Step::SetUp { place: host.clone(), link: name("shim"), up: true },
        Step::SetRoute {
            place: host.clone(),
            route: route("192.168.88.193/32", None, "shim"),
            instead_of: None,
        },
        Step::AddNeighbour {
            place: host.clone(),
            link: name("shim"),
            ip: "192.168.88.193".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
        },
        Step::SetMtu { place: host.clone(), link: name("eth0"), mtu: 1450, was: 1500 },
        Step::AddLink { place: host.clone(), link: link("br0", LinkType::Bridge) },
        Step::SetMaster { place: host.clone(), link: name("wire"), master: Some(name("br0")), was: None },
        Step::SetPort { place: host.clone(), link: name("wire"), option: PortOption::Isolated, on: true },
        Step::SetPort { place: host.clone(), link: name("wire"), option: PortOption::Hairpin, on: true },
        Step::SetPort { place: host, link: name("wire"), option: PortOption::Unlearning, on: true },
        Step::AddLink { place: inside.clone(), link: child(2) },
        Step::AddAddress { place: inside.clone(), link: name("eth0"), address: address("192.168.88.193/24") },
        Step::AddAddress { place: inside.clone(), link: name("eth0"), address: address("fd88::c1/64") },
        Step::SetDeprecated {
            place: inside.clone(),
            link: name("eth0"),
            net: "fd88::c1/64".parse().unwrap(),
            on: true,
        },
        Step::SetUp { place: inside.clone(), link: name("eth0"), up: true },
        Step::SetRoute {
            place: inside.clone(),
            route: route("0.0.0.0/0", Some("192.168.88.1"), "eth0"),
            instead_of: None,
        },
        Step::SetRoute { place: inside, route: route("::/0", Some("fd88::1"), "eth0"), instead_of: None },
    ]
}

#[test]
fn what_was_made_is_seen() {
    let ground = Ground::new();
    ground.make(&all_kinds(&ground));
    let [host, inside] = &ground.seen()[..] else { unreachable!() };
    let shim = host.link(&name("shim")).unwrap();
    let kind = ObservedKind::Macvlan { mode: Some(MacvlanMode::Vepa), bc_queue_len: Some(500) };
    assert_eq!((shim.kind.clone(), shim.mtu, shim.up, shim.arp_filter), (kind, 1400, true, Some(1)));
    assert_eq!(shim.tag(), Some(Tag::Shim(name("eth0"))));
    assert_eq!(host.link(&name("eth0")).unwrap().mtu, 1450);
    assert_eq!(host.link(&name("wire")).unwrap().master, host.link(&name("br0")).map(|bridge| bridge.index));
    assert_eq!(host.link(&name("wire")).unwrap().port, PortOption::ALL.into());
    assert_eq!((host.routes.len(), host.neighbours.len()), (1, 1));
    let deprecated: Vec<_> =
        inside.addresses.iter().filter(|there| there.standing == Standing::Deprecated).collect();
    assert_eq!((deprecated.len(), deprecated[0].life), (1, None), "it stays for ever");
    let eth0 = inside.link(&name("eth0")).unwrap();
    assert_eq!((eth0.mac, eth0.mtu, eth0.up), (Some(Mac([2, 0, 0, 0, 0, 2])), 1400, true));
    assert!(eth0.lower.is_some_and(|lower| lower.seat == Seat::Host));
    assert_eq!(inside.addresses.iter().filter(|address| address.life.is_none()).count(), 2);
    assert_eq!(inside.routes.len(), 2);
}

#[test]
fn a_step_that_fails_undoes_all_before_it() {
    let ground = Ground::new();
    let before = ground.seen();
    let steps = all_kinds(&ground);
    let bad = Step::SetUp { place: Place::Host, link: name("nothing"), up: true };
    for after in 0..=steps.len() {
        let mut plan = steps[..after].to_vec();
        plan.push(bad.clone());
        let outcome = ground.kernel.apply(&plan, OnError::Undo);
        assert_eq!(outcome.errors.len(), 1, "after {after}: {:?}", outcome.errors);
        assert_eq!(outcome.errors[0].step, bad);
        assert!(outcome.done.is_empty());
        assert_eq!(ground.seen(), before, "after {after} steps, the last {:?}", steps[..after].last());
    }
}

#[test]
fn what_is_called_off_is_taken_back() {
    let ground = Ground::new();
    let before = ground.seen();
    let steps = all_kinds(&ground);
    for after in 0..=steps.len() {
        let waits = |step: &Step| steps.get(after) == Some(step);
        assert!(ground.kernel.apply_if(&steps, waits, || false).is_none());
        assert_eq!(ground.seen(), before, "after {after} steps, before {:?}", steps.get(after));
    }
    let comes_up = |step: &Step| matches!(step, Step::SetUp { place: Place::Netns(_), .. });
    let mut was_up = None;
    let may_go_on = || {
        was_up = ground.seen()[1].link(&name("eth0")).map(|link| link.up);
        true
    };
    let outcome = ground.kernel.apply_if(&steps, comes_up, may_go_on).unwrap();
    assert_eq!((outcome.done.len(), was_up), (steps.len(), Some(false)), "{:?}", outcome.errors);
}

#[test]
fn going_on_after_an_error_makes_all_that_can_be_made() {
    let ground = Ground::new();
    let mut steps = all_kinds(&ground);
    let missing = |link: &str| Step::SetUp { place: Place::Host, link: name(link), up: true };
    steps.insert(3, missing("one"));
    steps.insert(9, missing("two"));
    let outcome = ground.kernel.apply(&steps, OnError::GoOn);
    assert_eq!(outcome.errors.len(), 2, "{:?}", outcome.errors);
    assert_eq!(outcome.done.len(), steps.len() - 2);
}

#[test]
fn a_link_whose_name_somebody_else_was_quicker_to_take_is_left_alone() {
    let ground = Ground::new();
    let theirs = link("br9", LinkType::Bridge);
    let add = Step::AddLink { place: Place::Host, link: theirs };
    assert!(ground.kernel.apply(std::slice::from_ref(&add), OnError::Undo).errors.is_empty());
    let before = ground.kernel.observe(&[]).unwrap().host;
    let tag = Some(Tag::Vlan(name("br9")));
    let steps = [
        add,
        Step::SetAlias { place: Place::Host, link: name("br9"), tag },
        Step::SetUp { place: Place::Host, link: name("br9"), up: true },
        Step::AddAddress {
            place: Place::Host,
            link: name("br9"),
            address: Address { net: "10.7.0.1/24".parse().unwrap(), nodad: false },
        },
    ];
    for on_error in [OnError::GoOn, OnError::Undo] {
        let outcome = ground.kernel.apply(&steps, on_error);
        assert_eq!((outcome.errors.len(), outcome.done.len()), (1, 0), "{outcome:?}");
        let after = ground.kernel.observe(&[]).unwrap().host;
        assert_eq!(after.link(&name("br9")).unwrap().alias, before.link(&name("br9")).unwrap().alias);
        assert!(after.addresses.iter().all(|address| address.net.addr().is_ipv6()), "{:?}", after.addresses);
    }
}

#[test]
fn a_refusal_has_the_kernels_words_the_command_and_what_helps() {
    let ground = Ground::new();
    let route = Route {
        to: "10.7.0.0/24".parse().unwrap(),
        via: Some("10.9.9.9".parse().unwrap()),
        dev: name("eth0"),
        src: None,
        metric: None,
    };
    let outcome =
        ground.kernel.apply(&[Step::SetRoute { place: Place::Host, route, instead_of: None }], OnError::Undo);
    let said = outcome.errors[0].to_string();
    assert!(said.contains("`ip route add 10.7.0.0/24 via 10.9.9.9 dev eth0 proto 65`"), "{said}");
    assert!(said.contains("invalid gateway"), "{said}");

    let duplicate = |text: &str| Step::AddLink {
        place: Place::Host,
        link: LinkSpec {
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            ..link(
                text,
                LinkType::Macvlan {
                    parent: name("eth0"),
                    mode: MacvlanMode::Bridge,
                    bc_queue_len: None,
                    bc_limit: None,
                },
            )
        },
    };
    let up = |text: &str| Step::SetUp { place: Place::Host, link: name(text), up: true };
    let outcome = ground.kernel.apply(&[duplicate("a"), up("a"), duplicate("b"), up("b")], OnError::Undo);
    let error = &outcome.errors[0];
    assert!(error.hint().is_some_and(|hint| hint.contains("MAC")), "{error}: {:?}", error.hint());

    let ipvlan = LinkType::Ipvlan { parent: name("eth0"), mode: ashore_core::net::kind::IpvlanMode::L2 };
    let add = Step::AddLink { place: Place::Host, link: link("ipv", ipvlan) };
    let outcome = ground.kernel.apply(&[add], OnError::Undo);
    // If the kernel has the module, there is nothing to refuse.
    if let Some(error) = outcome.errors.first() {
        assert!(error.hint().is_some_and(|hint| hint.contains("modprobe ipvlan")), "{error}");
    }
}

#[test]
fn a_link_of_any_name_is_seen_and_taken_away() {
    let ground = Ground::new();
    let before = ground.seen();
    for bytes in [&b"x\xffy"[..], b"\x1b[2J", b"\xff\xff", br"a\b", b"a'b", b"-x", b"if2"] {
        let odd = IfName::seen(bytes).unwrap();
        for place in [Place::Host, ground.inside()] {
            let spec = LinkSpec { name: odd.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
            let address = Address { net: "10.7.0.1/24".parse().unwrap(), nodad: false };
            let route = Route {
                to: "10.8.0.0/24".parse().unwrap(),
                via: None,
                dev: odd.clone(),
                src: None,
                metric: None,
            };
            let (place, link) = (place.clone(), odd.clone());
            ground.make(&[
                Step::AddLink { place: place.clone(), link: spec },
                Step::AddAddress { place: place.clone(), link: link.clone(), address },
                Step::SetUp { place: place.clone(), link: link.clone(), up: true },
                Step::SetRoute { place: place.clone(), route: route.clone(), instead_of: None },
            ]);
            let seen = ground.seen();
            let view = &seen[usize::from(place != Place::Host)];
            let made = view.link(&odd).unwrap_or_else(|| panic!("{odd}: {:?}", view.links));
            assert_eq!((made.kind.clone(), &*made.name.bytes()), (ObservedKind::Bridge, bytes));
            assert!(view.routes.iter().any(|there| there.route == route), "{:?}", view.routes);
            ground.make(&[Step::DelLink { place, link }]);
        }
        assert_eq!(ground.seen(), before, "{odd}");
    }
}

#[test]
fn a_namespace_that_cannot_be_seen_is_neither_gone_nor_in_the_way() {
    let ground = Ground::new();
    let netns = ground.container.identity();
    let at = |path: &str| Netns { path: path.into(), ..netns.clone() };
    for nowhere in ["/proc/self/ns/nothing", "/proc/self/stat/net", "/proc/self/stat", "/proc/self/ns/net"] {
        assert!(matches!(Namespace::find(&at(nowhere)), Found::Gone), "{nowhere}");
    }
    // The system's error (`ENAMETOOLONG`) says neither that the namespace exists nor that it does not.
    let unclear = at(&format!("/run/{}", "x".repeat(300)));
    assert!(matches!(Namespace::find(&unclear), Found::Unclear(_)));

    let observed = ground.kernel.observe(std::slice::from_ref(&unclear)).unwrap();
    assert!(observed.netns.is_empty() && observed.unreadable.contains_key(&netns));
    // The same namespace is known by another path.
    let observed = ground.kernel.observe(&[unclear.clone(), netns.clone()]).unwrap();
    assert!(observed.netns.contains_key(&netns) && observed.unreadable.is_empty());

    // Nothing was deleted there, and the outcome does not claim that it was.
    let place = Place::Netns(unclear);
    let step = Step::DelLink { place, link: name("eth0") };
    let outcome = ground.kernel.apply(&[step], OnError::GoOn);
    assert_eq!((outcome.errors.len(), outcome.done.len()), (1, 0), "{:?}", outcome.errors);
}

#[test]
fn a_namespace_that_is_gone_is_not_seen_and_not_mistaken_for_another() {
    let ground = Ground::new();
    let gone = Namespace::new().unwrap();
    let identity = gone.identity();
    drop(gone);
    // Another file takes the descriptor's number at once.
    let _other = Namespace::new().unwrap();
    let observed = ground.kernel.observe(std::slice::from_ref(&identity)).unwrap();
    assert!(!observed.netns.contains_key(&identity) && observed.unreadable.is_empty());
    let place = Place::Netns(identity);
    let outcome = ground.kernel.apply(&[Step::SetUp { place, link: name("lo"), up: true }], OnError::Undo);
    assert_eq!(outcome.errors.len(), 1);
}

#[test]
fn a_namespace_that_has_the_number_of_the_one_that_is_meant_is_another() {
    let ground = Ground::new();
    let meant = ground.kernel.identify(&ground.container).unwrap();
    let Some(cookie) = meant.cookie.clone() else {
        return eprintln!(
            "cannot-run: reuse of a namespace's number: this kernel has no cookies for namespaces"
        );
    };
    assert!(ground.kernel.observe(std::slice::from_ref(&meant)).unwrap().netns.contains_key(&meant));
    let cookie = Some(Box::new(Cookie { number: cookie.number + 1, ..*cookie }));
    let other = Netns { cookie, ..meant.clone() };
    for stays in [false, true] {
        if stays {
            ground.kernel.stay();
        }
        let observed = ground.kernel.observe(&[other.clone(), meant.clone()]).unwrap();
        assert_eq!(observed.netns.keys().collect::<Vec<_>>(), [&meant]);
        assert!(observed.unreadable.is_empty());
        let step = Step::AddLink { place: Place::Netns(other.clone()), link: link("eth0", LinkType::Bridge) };
        assert_eq!(ground.kernel.apply(&[step], OnError::Undo).errors.len(), 1);
    }
    ground.kernel.leave();
    // Each namespace is read once, whatever paths lead to it.
    let unnamed = ground.container.identity();
    let observed = ground.kernel.observe(&[unnamed, meant.clone()]).unwrap();
    assert_eq!(observed.netns.keys().collect::<Vec<_>>(), [&meant]);
}

#[test]
fn a_link_takes_in_the_macs_of_its_children_that_are_up_wherever_they_are() {
    let ground = Ground::new();
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let parent = ground.kernel.observe(&[]).unwrap().host.link(&name("eth0")).unwrap().index;
    let taken_in = || ground.kernel.taken_in(parent).unwrap().expect("a veth tells").contains(&mac);
    for mode in [MacvlanMode::Bridge, MacvlanMode::Private, MacvlanMode::Vepa] {
        let kind = LinkType::Macvlan { parent: name("eth0"), mode, bc_queue_len: None, bc_limit: None };
        let (place, child) = (ground.inside(), name("child"));
        ground.make(&[Step::AddLink { place, link: LinkSpec { mac: Some(mac), ..link("child", kind) } }]);
        assert!(!taken_in());
        for up in [true, false, true] {
            ground.make(&[Step::SetUp { place: ground.inside(), link: child.clone(), up }]);
            assert_eq!(taken_in(), up);
        }
        ground.make(&[Step::DelLink { place: ground.inside(), link: child }]);
        assert!(!taken_in());
    }
    ground.make(&[Step::SetUp { place: Place::Host, link: name("eth0"), up: false }]);
    assert_eq!(ground.kernel.taken_in(parent).unwrap(), None);
}
