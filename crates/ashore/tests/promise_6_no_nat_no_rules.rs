//! Promise 6: Ashore adds no NAT and no rule to the host's filter tables, and changes no sysctl of the host.

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::untouched::{is_untouched, sysctls, untouched};
use home::{Home, addresses, ip, seen_as};

/// What `nft` shows of a machine's rules.
fn ruleset(engines: &Engines, machine: &Machine) -> String {
    let mut command = machine.command(engines.path("usr/sbin/nft")).unwrap();
    Ran::of(engines.equip(&mut command).args(["--stateless", "list", "ruleset"])).unwrap().expect_success()
}

#[test]
fn the_hosts_rules_are_as_they_were_and_the_containers_have_none() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("promise 6, nft", &why),
    };
    let home = Home::new();
    let own =
        "add table inet own { chain input { type filter hook input priority 0; policy accept; counter; }; }";
    let mut command = home.nas.command(engines.path("usr/sbin/nft")).unwrap();
    Ran::of(engines.equip(&mut command).arg(own)).unwrap().expect_success();
    let before = ruleset(&engines, &home.nas);
    let own = untouched(&home);
    assert!(before.contains("table inet own"), "{before}");

    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    assert_eq!(ruleset(&engines, &home.nas), before);
    assert_eq!(ruleset(&engines, &web), "");
    for names in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        let legacy = home.nas.inside(|| std::fs::read_to_string(names).unwrap_or_default()).unwrap();
        assert_eq!(legacy, "", "{names}");
    }
    home.ok("detach lan web");
    is_untouched(&home, &own);
    home.ok("network rm lan");
    assert_eq!(ruleset(&engines, &home.nas), before);
}

/// Creates a macvlan as a user does by hand, in its own namespace or on the host.
fn made_by_hand(home: &Home, name: &str, place: Place) {
    let kind = LinkType::Macvlan {
        parent: "eth0".parse().unwrap(),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    let name: ashore_core::net::name::IfName = name.parse().unwrap();
    let link = LinkSpec { name: name.clone(), kind, mac: None, mtu: None };
    home.nas
        .apply(&[Step::AddLink { place: place.clone(), link }, Step::SetUp { place, link: name, up: true }])
        .unwrap();
}

/// The sysctls of a link that differ from those of a link created by hand.
fn turned(
    of: &BTreeMap<String, String>,
    link: &str,
    by_hand: &BTreeMap<String, String>,
    other: &str,
) -> BTreeSet<String> {
    let mine = of.iter().filter(|(path, _)| path.contains(&format!("/{link}/")));
    let differ = mine.filter(|(path, value)| {
        let same = path.replace(&format!("/{link}/"), &format!("/{other}/"));
        by_hand.get(&same) != Some(value)
    });
    let key =
        |(path, _): (&String, &String)| path.replace("/proc/sys/net/", "").replace(&format!("{link}/"), "");
    differ.map(key).collect()
}

#[test]
fn no_switch_of_the_hosts_is_turned_and_of_a_container_those_of_its_link_alone() {
    let home = Home::new();
    let but_of = |link: &str| [link.to_owned()];
    let before = sysctls(&home.nas, &[]);
    assert_eq!(before["/proc/sys/net/ipv4/ip_forward"].trim(), "0");
    assert!(before.contains_key("/proc/sys/net/ipv4/conf/eth0/arp_filter"));
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1",
    );
    let (web, plain) = (home.world.container("web").unwrap(), home.world.container("plain").unwrap());
    let inside = sysctls(&web, &[]);
    home.attach("lan", &web, "");
    assert_eq!(sysctls(&home.nas, &but_of("shim-eth0")), before);
    assert_eq!(sysctls(&web, &but_of("eth0")), inside);
    made_by_hand(&home, "eth0", Place::Netns(plain.namespace().identity()));
    made_by_hand(&home, "by-hand", Place::Host);
    let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let host = sysctls(&home.nas, &[]);
    let of_shim = turned(&host, "shim-eth0", &host, "by-hand");
    assert_eq!(of_shim, set(&["ipv4/conf/arp_filter", "ipv6/conf/accept_ra", "ipv6/conf/addr_gen_mode"]));
    let of_link = turned(&sysctls(&web, &[]), "eth0", &sysctls(&plain, &[]), "eth0");
    assert!(of_link.iter().all(|key| key.starts_with("ipv6/conf/")), "{of_link:?}");
    home.nas.remove_link("by-hand").unwrap();
    home.ok("detach lan web");
    assert_eq!(sysctls(&web, &[]), inside);
    home.ok("network rm lan");
    assert_eq!(sysctls(&home.nas, &[]), before);
}

#[test]
fn both_ends_of_a_connection_see_the_same_addresses() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1",
    );
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""));
    assert_eq!(seen_as(&web, &home.laptop, ip("192.168.88.50")), at[0]);
    assert_eq!(seen_as(&home.laptop, &web, at[0]), ip("192.168.88.50"));
    assert_eq!(seen_as(&web, &home.laptop, ip("fd88::50")), at[1]);
    assert_eq!(seen_as(&web, &home.nas, ip(home::HOST)), at[0]);
    assert_eq!(seen_as(&home.nas, &web, at[0]), ip(home::HOST));
    assert_eq!(seen_as(&home.nas, &web, at[1]), ip(home::HOST6));
}
