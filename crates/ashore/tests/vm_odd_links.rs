//! Every kind of link and route that a kernel can create, with names that are not text, in a container and on
//! the host. All of them belong to others, and must trouble nothing. Runs in the virtual machine, whose
//! kernel has nearly all of them.

use std::os::unix::ffi::OsStrExt;

use ashore_kernel::Namespace;
use ashore_lab::Machine;
use home::{HOST, Home, addresses, does_not_reach, ip, reaches, type_ip};

/// The words for `ip link add`. Each link has its own lower link, if it needs one.
const KINDS: [&str; 49] = [
    "amt mode gateway local 192.168.88.9 discovery 192.168.88.1",
    "bareudp dstport 6635 ethertype ip",
    "batadv",
    "bond",
    "bridge",
    "bridge vlan_filtering 1 vlan_default_pvid 0",
    "dummy",
    "erspan remote 10.0.0.1 local 10.0.0.2 seq key 1 erspan_ver 1",
    "geneve id 7 remote 10.0.0.9",
    "gre remote 10.0.0.1 local 10.0.0.2",
    "gretap remote 10.0.0.1 local 10.0.0.2",
    "gtp role sgsn",
    "hsr",
    "ifb",
    "ip6erspan remote fd00::1 local fd00::2 seq key 1 erspan_ver 1",
    "ip6gre remote fd00::1 local fd00::2",
    "ip6gretap remote fd00::1 local fd00::2",
    "ip6tnl remote fd00::1 local fd00::2",
    "ipip remote 10.0.0.3 local 10.0.0.4",
    "ipoib",
    "ipvlan mode l2",
    "ipvlan mode l3s private",
    "ipvtap mode l2",
    "lowpan",
    "macsec sci 1",
    "macvlan mode bridge",
    "macvlan mode passthru",
    "macvlan mode source",
    "macvtap mode bridge",
    "netdevsim",
    "netkit",
    "nlmon",
    "ovpn",
    "rmnet mux_id 1",
    "sit remote 10.0.0.5 local 10.0.0.6",
    "team",
    "vcan",
    "veth",
    "virt_wifi",
    "vlan id 7",
    "vlan protocol 802.1ad id 8",
    "vrf table 10",
    "vti remote 10.0.0.1 local 10.0.0.2 key 1",
    "vti6 remote fd00::1 local fd00::2 key 1",
    "vxcan",
    "vxlan id 7 dstport 4789",
    "vxlan external dstport 4790",
    "wireguard",
    "xfrm if_id 7",
];
/// On Debian's 6.1, this many of the 49 can be created.
const AT_LEAST: usize = 30;

/// Routes that are more than a next hop, and rules. `LINK` is a link that is up and has an address.
const ROUTES: [&str; 14] = [
    "route add 10.50.0.0/16 encap mpls 100 via 10.49.0.1 dev LINK",
    "-f mpls route add 100 via inet 10.49.0.1 dev LINK",
    "-6 route add fd50::/64 encap seg6 mode encap segs fd00::1,fd00::2 dev LINK",
    "-6 route add fd51::/64 encap seg6local action End dev LINK",
    "-6 route add fd52::/64 encap ioam6 trace prealloc type 0x800000 ns 1 size 12 dev LINK",
    "-6 route add fd53::/64 encap rpl segs fd00::1 dev LINK",
    "route add 10.51.0.0/16 encap ip id 7 dst 10.0.0.1 dev LINK",
    "nexthop add id 7 via 10.49.0.1 dev LINK",
    "nexthop add id 8 encap mpls 200 via 10.49.0.1 dev LINK",
    "nexthop add id 9 group 7,3/8,1",
    "route add 10.52.0.0/16 nhid 9",
    "route add 10.53.0.0/16 nexthop encap mpls 300 via 10.49.0.1 dev LINK nexthop via inet6 fe80::1 dev LINK",
    "route add 10.54.0.0/16 via 10.49.0.1 dev LINK table 10 metric 7 mtu 1300 rto_min 5ms",
    "rule add iif LINK lookup 10",
];

/// The lines for `ip -batch` that create all of this. The links' names end with a byte that is not text.
fn all_of_it() -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line = |line: String, odd: bool| {
        let text = line.replace("ODD", if odd { "\u{1}" } else { "" });
        lines.extend(text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }));
        lines.push(b'\n');
    };
    for (n, kind) in KINDS.iter().enumerate() {
        line(format!("link add b{n} up type dummy"), false);
        // Either the link needs a lower link, or the kernel refuses one for it.
        line(format!("link add link b{n} name k{n}ODD type {kind}"), true);
        line(format!("link add name k{n}ODD type {kind}"), true);
        line(format!("link set k{n}ODD alias ashore:lan:web"), true);
        line(format!("link set k{n}ODD alias ODDODD up"), true);
        line(format!("link property add dev k{n}ODD altname another{n}ODD"), true);
    }
    line("link add routed up type dummy".into(), false);
    line("addr add 10.49.0.2/24 dev routed label routed:ODD".into(), true);
    line("-6 addr add fd49::2/64 dev routed nodad".into(), false);
    line("neigh add 10.49.0.1 lladdr 02:00:00:00:00:09 dev routed nud permanent".into(), false);
    for route in ROUTES {
        line(route.replace("LINK", "routed"), false);
    }
    lines
}

/// Creates what the kernel accepts in a namespace, and returns the number of links with odd names.
fn make_all(home: &Home, namespace: &Namespace, machine: &Machine) -> usize {
    let file = home.directory.path().join("odd");
    std::fs::write(&file, all_of_it()).unwrap();
    // Some of it fails, as expected.
    type_ip(namespace, &[b"-force", b"-batch", file.as_os_str().as_bytes()]);
    let view = machine.kernel().observe(&[]).unwrap().host;
    let odd = view.links.iter().filter(|link| !link.name.is_plain());
    let kinds: Vec<String> = odd.map(|link| format!("{:?}", link.kind)).collect();
    println!("{} links: {}; {} routes", kinds.len(), kinds.join(", "), view.routes.len());
    assert!(view.routes.iter().any(|there| there.route.to == "10.52.0.0/16".parse().unwrap()));
    kinds.len()
}

fn all_is_well(home: &Home, of_others: &Machine) {
    home.nudge();
    for command in ["status", "plan", "network ls"] {
        let said = home.ok(command);
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{command}: {said:?}");
    }
    let troubles = home.troubles().to_string();
    assert!(!troubles.contains("cannot"), "{troubles}");
    let log = home.daemon().log();
    assert!(!log.contains("could not reconcile"), "{log}");
    let at = addresses(&home.attach("lan", of_others, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    home.ok(&format!("detach lan {}", of_others.name()));
    does_not_reach(&home.laptop, at);
}

#[test]
fn a_container_full_of_them_is_attached_and_detached_as_any_other() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    assert!(make_all(&home, web.namespace(), &web) >= AT_LEAST);
    all_is_well(&home, &db);
    reaches(&home.laptop, at);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, at);
    // Once more, now that they exist.
    home.attach("lan", &web, "");
    reaches(&home.laptop, at);
    reaches(&web, ip(HOST));
    home.ok("detach lan web");
    assert!(web.kernel().observe(&[]).unwrap().host.link(&"eth0".parse().unwrap()).is_none());
}

#[test]
fn a_link_that_is_a_port_of_a_vrf_is_taken_off_and_no_sibling_notices() {
    let home = Home::new();
    home.create_lan();
    let [web, db, mail] = ["web", "db", "mail"].map(|name| home.world.container(name).unwrap());
    let [at, at_db] = [&web, &db].map(|container| addresses(&home.attach("lan", container, ""))[0]);
    reaches(&home.laptop, at);
    reaches(&home.laptop, at_db);
    let pings = home.laptop.pings(at_db);
    let vrf: &[&[u8]] = &[b"link", b"add", b"vrf7", b"up", b"type", b"vrf", b"table", b"7"];
    assert!(type_ip(web.namespace(), vrf));
    assert!(type_ip(web.namespace(), &[b"link", b"set", b"eth0", b"master", b"vrf7"]));
    all_is_well(&home, &mail);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, at);
    assert!(web.kernel().observe(&[]).unwrap().host.link(&"eth0".parse().unwrap()).is_none());
    let counted = pings.end();
    assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
}

#[test]
fn a_host_full_of_them_serves_its_containers_all_the_same() {
    let mut home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    assert!(make_all(&home, home.nas.namespace(), &home.nas) >= AT_LEAST);
    let there = home.made_links().len();
    all_is_well(&home, &db);
    reaches(&home.laptop, at);
    home.restart();
    all_is_well(&home, &db);
    reaches(&home.nas, at);
    home.ok("detach lan web");
    home.ok("network rm lan");
    // The shim is gone, and everything that belongs to others is still there.
    assert_eq!(home.made_links().len(), there - 1);
    reaches(&home.laptop, ip(HOST));
}
