//! Networks of kind `bridge`: what their ports let through, and what the host's own firewall does to them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::net::kind::{MacvlanMode, PortOption};
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::untouched::{is_untouched, untouched};
use home::{HOST, Home, addresses, does_not_reach, eventually, ip, reaches, type_on};

const ON_BRIDGE: &str =
    "--parent br0 --kind bridge --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range";

fn name(text: &str) -> ashore_core::net::name::IfName {
    text.parse().unwrap()
}

fn attached(home: &Home, network: &str, container: &str) -> (Machine, IpAddr) {
    let container = home.world.container(container).unwrap();
    let at = addresses(&home.attach(network, &container, ""))[0];
    (container, at)
}

/// The NAS's ports that belong to endpoints, with their options.
fn ports(home: &Home) -> Vec<(String, BTreeSet<PortOption>)> {
    let links = home.nas.kernel().observe(&[]).unwrap().host.links;
    let ours = links.into_iter().filter(|link| link.tag().is_some());
    ours.map(|link| (link.name.to_string(), link.port)).collect()
}

#[test]
fn isolated_endpoints_reach_the_lan_and_the_host_and_not_each_other() {
    let home = Home::bridged();
    let before = untouched(&home);
    home.ok(&format!("network create apart --isolated {ON_BRIDGE} 192.168.88.192/28"));
    home.ok(&format!("network create open {ON_BRIDGE} 192.168.88.208/28"));
    let (web, at_web) = attached(&home, "apart", "web");
    let (db, at_db) = attached(&home, "apart", "db");
    let (media, at_media) = attached(&home, "open", "media");
    let (tv, at_tv) = attached(&home, "open", "tv");
    for (container, at) in [(&web, at_web), (&db, at_db), (&media, at_media), (&tv, at_tv)] {
        reaches(&home.laptop, at);
        reaches(&home.nas, at);
        reaches(container, ip("192.168.88.1"));
        reaches(container, ip(HOST));
    }
    does_not_reach(&web, at_db);
    does_not_reach(&db, at_web);
    // Isolation applies between isolated ports.
    reaches(&media, at_tv);
    reaches(&web, at_media);
    reaches(&tv, at_db);
    home.ok("detach apart web");
    home.ok("detach apart db");
    home.ok("detach open media");
    home.ok("detach open tv");
    assert_eq!(home.made_links(), ["br0"]);
    is_untouched(&home, &before);
}

/// A bridge without a configured MAC takes the lowest MAC of its ports.
#[test]
fn the_host_keeps_its_mac_on_the_lan() {
    let Ok(_engines) = Engines::find().inspect_err(|why| cannot_run("the bridge's MAC", why)) else { return };
    let home = Home::bridged();
    type_on(&home.nas, "ip link set dev eth0 address fc:00:00:00:00:09");
    let mac = || home.nas.kernel().observe(&[]).unwrap().host.link(&name("br0")).unwrap().mac;
    let before = mac();
    assert_eq!(before.unwrap().to_string(), "fc:00:00:00:00:09");
    home.ok(&format!("network create lan {ON_BRIDGE} 192.168.88.192/28"));
    // A container that is dropped takes its port with it.
    let mut there = Vec::new();
    for container in ["web", "db", "media"] {
        there.push(attached(&home, "lan", container));
        assert_eq!(ports(&home).len(), there.len());
        assert_eq!(mac(), before);
    }
}

/// A port with a lower MAC comes and goes, as a virtual machine's does. The bridge's MAC changes with it, and
/// so does the shim's.
#[test]
fn an_endpoint_does_not_lose_the_host_when_its_bridge_changes_its_mac() {
    let Ok(_engines) = Engines::find().inspect_err(|why| cannot_run("the shim's MAC", why)) else { return };
    let home = Home::bridged();
    home.ok("network create lan --parent br0 --kind macvlan --subnet 192.168.88.0/24 --ip-range 192.168.88.192/28");
    let (web, at) = attached(&home, "lan", "web");
    reaches(&web, ip(HOST));
    let mac = || home.nas.kernel().observe(&[]).unwrap().host.link(&name("br0")).unwrap().mac;
    let before = mac();
    type_on(&home.nas, "ip link add vnet1 address 02:00:00:00:00:01 type veth peer name guest");
    for change in ["ip link set dev vnet1 master br0", "ip link del dev vnet1"] {
        let pings = web.pings(ip(HOST));
        type_on(&home.nas, change);
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(mac() == before, change.contains("del"));
        let counted = pings.end();
        assert!(counted.lost <= 1 && counted.sent > 5, "{counted:?}");
        reaches(&home.nas, at);
        assert_eq!(home.ok("plan").trim(), "# nothing to change");
    }
}

#[test]
fn what_a_port_does_is_mended_when_somebody_changes_it() {
    let home = Home::bridged();
    home.ok(&format!("network create lan --isolated --hairpin {ON_BRIDGE} 192.168.88.192/28"));
    let (_web, _) = attached(&home, "lan", "web");
    let wanted = ports(&home);
    assert!(matches!(&wanted[..], [(_, options)] if options.len() == 2), "{wanted:?}");
    let port = name(&wanted[0].0);
    let off = |option| Step::SetPort { place: Place::Host, link: port.clone(), option, on: false };
    home.nas.apply(&[off(PortOption::Isolated), off(PortOption::Hairpin)]).unwrap();
    eventually("the port is as before", || ports(&home) == wanted);

    home.ok("network create plain --parent br0 --kind bridge --subnet 192.168.88.0/24 --ip-range 192.168.88.208/28");
    let (_db, _) = attached(&home, "plain", "db");
    let (plain, _) = ports(&home).into_iter().find(|(port, _)| *port != wanted[0].0).unwrap();
    let (link, option) = (name(&plain), PortOption::Isolated);
    home.nas.apply(&[Step::SetPort { place: Place::Host, link, option, on: true }]).unwrap();
    eventually("no port does what nobody asked for", || ports(&home).iter().any(|(_, on)| on.is_empty()));
}

#[test]
fn the_planned_command_is_the_one_that_a_person_types() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("the options of bridge ports, typed", &why),
    };
    let mut home = Home::bridged();
    home.ok(&format!("network create lan --isolated --hairpin {ON_BRIDGE} 192.168.88.192/28"));
    let (web, _) = attached(&home, "lan", "web");
    let netns = web.namespace().path().display().to_string();
    let wanted = ports(&home);
    let port = wanted[0].0.clone();
    home.ok("detach lan web");
    let planned = home.ok(&format!("plan attach lan --netns {netns} --name web"));
    let lines = [
        format!("ip link set dev {port} master br0\n"),
        format!("bridge link set dev {port} isolated on\nbridge link set dev {port} hairpin on\n"),
    ];
    assert!(lines.iter().all(|line| planned.contains(line)), "{planned}");
    home.daemon = None;
    let typed = |line: &str| {
        let mut shell = home.nas.command("sh").unwrap();
        Ran::of(engines.equip(shell.args(["-ec", line]))).unwrap().expect_success()
    };
    typed(&planned);
    assert_eq!(ports(&home), wanted);
    typed(&format!("bridge link set dev {port} isolated off"));
    assert_ne!(ports(&home), wanted);
}

#[test]
fn what_an_endpoint_sends_to_itself_by_the_bridge_comes_back_through_a_hairpin() {
    for (options, comes_back) in [("--hairpin", true), ("", false)] {
        let home = Home::bridged();
        home.ok(&format!("network create lan {options} {ON_BRIDGE} 192.168.88.192/28"));
        let (web, _) = attached(&home, "lan", "web");
        // Machines behind one port, whose frames all leave by it: children of the container's link, in vepa
        // mode.
        let behind = [("one", "10.7.0.1"), ("two", "10.7.0.2")].map(|(guest, at)| {
            let machine = home.world.container(guest).unwrap();
            let kind = LinkType::Macvlan {
                parent: name("eth0"),
                mode: MacvlanMode::Vepa,
                bc_queue_len: None,
                bc_limit: None,
            };
            let place = Place::Netns(machine.namespace().identity());
            let link = LinkSpec { name: name("eth0"), kind, mac: None, mtu: None };
            web.apply(&[Step::AddLink { place, link }]).unwrap();
            machine.add_address("eth0", format!("{at}/24").parse().unwrap()).unwrap();
            machine.set_up("eth0", true).unwrap();
            machine
        });
        assert_eq!(behind[0].ping(ip("10.7.0.2")).is_some(), comes_back, "{options}");
    }
}

/// The daemon's report of a firewall that drops bridged packets.
fn troubles(home: &Home) -> String {
    home.troubles().to_string()
}

/// A FORWARD policy that drops is found and reported with a remedy. The report is true, and ends once the
/// remedy is applied.
fn firewall(test: &str, drop: &str, undo: &str, tree: Option<&str>) {
    let home = Home::bridged();
    let sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if home.nas.inside(|| std::fs::read_to_string(sysctl)).unwrap().is_err() {
        return cannot_run(test, "this kernel has no br_netfilter");
    }
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(test, &why),
    };
    let typed = |line: &str| {
        let mut command = match tree {
            None => {
                let mut shell = home.nas.command("sh").unwrap();
                engines.equip(shell.args(["-ec", line]));
                shell
            }
            Some(suite) => {
                let mut chroot = home.nas.command("chroot").unwrap();
                chroot.arg(engines.tree(suite)).args(line.split_whitespace());
                chroot
            }
        };
        Ran::of(&mut command).unwrap().expect_success();
    };
    let create = format!("network create lan {ON_BRIDGE} 192.168.88.192/28");
    let made = home.run(&create);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "a policy of ACCEPT cuts nothing");
    assert_eq!(troubles(&home), "[]");
    home.ok("network rm lan");

    typed(drop);
    let made = home.run(&create);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stderr.contains("sysctl -w net.bridge.bridge-nf-call-iptables=0"), "{}", made.stderr);
    assert!(troubles(&home).contains("drops bridged packets"), "{}", troubles(&home));
    let (web, at) = attached(&home, "lan", "web");
    does_not_reach(&home.laptop, at);
    reaches(&home.nas, at);

    let set = |value| home.nas.inside(|| std::fs::write(sysctl, value)).unwrap().unwrap();
    set("0");
    reaches(&home.laptop, at);
    reaches(&web, ip("192.168.88.1"));
    assert_eq!(troubles(&home), "[]");
    set("1");
    assert_ne!(troubles(&home), "[]");
    typed(undo);
    reaches(&home.laptop, at);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn a_policy_of_nftables_that_cuts_bridged_traffic_is_named() {
    firewall(
        "FORWARD of nftables",
        "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        "nft 'add chain ip filter FORWARD { policy accept; }'",
        None,
    );
}

#[test]
fn a_policy_of_legacy_iptables_that_cuts_bridged_traffic_is_named() {
    firewall(
        "FORWARD of iptables-legacy",
        "/usr/sbin/iptables-legacy -P FORWARD DROP",
        "/usr/sbin/iptables-legacy -P FORWARD ACCEPT",
        Some("sid"),
    );
}

#[test]
fn docker_hands_the_options_on() {
    home::site::on_an_engine("the options of bridge ports, by Docker", |site| {
        let refused = site.docker(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 -o parent=eth0 -o isolated=yes lan",
        );
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("`isolated` is for ports of a bridge"), "{}", refused.stderr);
        let (place, bridge) = (Place::Host, name("br0"));
        let spec = LinkSpec { name: bridge.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
        let up = Step::SetUp { place: place.clone(), link: bridge, up: true };
        site.home.nas.apply(&[Step::AddLink { place, link: spec }, up]).unwrap();
        site.ok(
            "network create -d ashore --ipam-driver ashore --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=br0 -o kind=bridge \
             -o isolated=true -o hairpin=true lan",
        );
        site.start("web", "");
        let there = ports(&site.home);
        assert!(matches!(&there[..], [(_, options)] if options.len() == 2), "{there:?}");
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.home.nas.remove_link("br0").unwrap();
        site.assert_nothing_left();
    });
}
